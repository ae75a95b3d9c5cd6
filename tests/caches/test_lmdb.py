"""LMDB as the place of state: what several processes, damaged files and full disks may not do to it."""

import ctypes
import json
import os
import random
import re
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import lmdb
import pytest

import grove
from grove.caches import Batch, Key, _lmdb_opening, local_lmdb
from grove.exceptions import AccessException, ConfigurationException, ConflictError, CorruptStateError

ROOT = Path(grove.__file__).parent.parent
LIBC = ctypes.CDLL(None, use_errno=True)
A, B, C = (Key(f"pointer.test.{letter * 32}", "all") for letter in "abc")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def cache(path):
    cache = local_lmdb.Handler(path)
    cache.setup()
    return cache


def command(text, *arguments):
    """A Python program of its own, with the same Grove."""
    program = "from grove.caches import Batch, Key, local_lmdb\nimport sys\n" + textwrap.dedent(text)
    return [sys.executable, "-c", program, *map(str, arguments)]


def run(text, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command(text, *arguments), env=environment, capture_output=True, text=True, timeout=50, **options
    )


def raw(path, change):
    """Work on the records themselves, while no handler has the cache open."""
    with lmdb.open(os.fspath(path), map_size=1 << 28) as env, env.begin(write=True) as txn:
        return change(txn)


def modes(path):
    return {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.rglob("*")}


# --- modes ---


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nobody_else_can_enter(tmp_path, umask):
    before = os.umask(umask)
    try:
        cache = local_lmdb.Handler(tmp_path / "state" / "grove" / "cache")
        cache.setup()
        cache.apply(Batch().set(A, "1").set(B, "2"))
        cache.reopen()
    finally:
        os.umask(before)
    found = modes(tmp_path)
    assert {found.pop(name) for name in ("state", "grove", "cache")} == {0o700}
    assert "data.mdb" in found and set(found.values()) == {0o600}


def test_a_directory_others_can_write_to_is_refused(path):
    path.mkdir()
    path.chmod(0o770)
    with pytest.raises(AccessException, match=re.escape(str(path))):
        local_lmdb.Handler(path).setup()


# --- threads ---


def test_each_of_many_threads_has_its_own_outcome(cache):
    outcomes = {}
    start = threading.Barrier(8)

    def work(number):
        mine = Key(A.pk, str(number))
        for step in range(20):
            start.wait(timeout=30)
            # Every other thread asks for what is not so.
            wanted = str(step - 1) if step else None
            batch = Batch().require(mine, wanted if number % 2 == 0 else "never").set(mine, str(step))
            try:
                cache.apply(batch)
                outcomes[number, step] = "done"
            except ConflictError as err:
                outcomes[number, step] = str(err)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 160
    for (number, _), outcome in outcomes.items():
        assert outcome == "done" if number % 2 == 0 else f"({number})" in outcome
    assert cache.read([Key(A.pk, str(number)) for number in range(8)]) == ["19", None] * 4


def test_a_value_of_the_wrong_kind_spoils_no_other_batch(cache):
    failures = []
    start = threading.Barrier(4)

    def work(number):
        for step in range(20):
            start.wait(timeout=30)
            try:
                cache.set(A.pk, f"{number} {step}", 5 if number == 0 else "text")
            except TypeError:
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [0] * 20
    assert len(list(cache.scan(A.pk))) == 60


# --- the map ---


@pytest.fixture
def small_map(monkeypatch):
    monkeypatch.setattr(_lmdb_opening, "MAP_SIZE", 1 << 16)


@pytest.mark.usefixtures("small_map")
def test_the_map_grows(path):
    cache = local_lmdb.Handler(path)
    for number in range(40):
        cache.set(A.pk, str(number), "x" * 20_000)
    cache.reopen()
    assert all(cache.get(A.pk, str(number)) == "x" * 20_000 for number in range(40))


@pytest.mark.usefixtures("small_map")
def test_the_map_grows_among_readers_and_writers(path):
    cache = local_lmdb.Handler(path)
    cache.set(*A, "1")
    failures = []

    def write(number):
        try:
            for step in range(15):
                cache.set(A.pk, f"{number} {step}", "x" * 30_000)
        except Exception as err:
            failures.append(err)

    def read():
        try:
            for _ in range(300):
                assert cache.get(*A) == "1"
        except Exception as err:
            failures.append(err)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(cache.scan(A.pk))) == 31


@pytest.mark.usefixtures("small_map")
@pytest.mark.parametrize("first", ["read", "write"])
def test_another_process_enlarges_the_map(path, first):
    cache = local_lmdb.Handler(path)
    cache.set(*A, "1")
    done = run(
        """
        cache = local_lmdb.Handler(sys.argv[1])
        for number in range(40):
            cache.set(sys.argv[2], f"large {number}", "x" * 20_000)
        """,
        path,
        A.pk,
    )
    assert done.returncode == 0, done.stderr
    if first == "write":
        cache.set(*A, "2", constraint="1")
    assert cache.get(A.pk, "large 39") == "x" * 20_000
    assert cache.get(*A) == ("2" if first == "write" else "1")


# --- fork ---


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_parent_and_child_see_each_others_writes(cache):
    cache.set(*A, "parent")
    asked, answer = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(30)
            seen = cache.get(*A)
            cache.set(*B, f"child saw {seen}")
            os.write(answer[1], b".")
            os.read(asked[0], 1)
            cache.set(*B, f"then {cache.get(*A)}")
            code = 0
        finally:
            os._exit(code)
    os.read(answer[0], 1)
    assert cache.get(*B) == "child saw parent"
    cache.set(*A, "parent again")
    os.write(asked[1], b".")
    _, status = os.waitpid(child, 0)
    for end in (*asked, *answer):
        os.close(end)
    assert os.waitstatus_to_exitcode(status) == 0
    assert cache.get(*B) == "then parent again"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_among_threads_that_read_and_commit(cache):
    """Everybody counts on, on condition of what they have read: nobody's step may get lost."""
    cache.apply(Batch().set(A, "0").set(B, "0"))
    steps, forks = 25, 6
    failures = []

    def count(key):
        done = 0
        while done < steps:
            one, two = cache.read([A, B])
            assert one is not None and two is not None
            try:
                cache.set(*key, str(int(one if key == A else two) + 1), constraint=one if key == A else two)
            except ConflictError:
                continue
            done += 1

    def guarded(work, *arguments):
        try:
            work(*arguments)
        except BaseException as err:
            failures.append(repr(err))

    def fork(key):
        for _ in range(forks):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    signal.alarm(40)
                    count(key)
                    if not os.fork():
                        count(key)
                        os._exit(0)
                    code = os.waitstatus_to_exitcode(os.wait()[1])
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            if status:
                failures.append(f"a child ended with {os.waitstatus_to_exitcode(status)}")

    threads = [threading.Thread(target=guarded, args=(count, key)) for key in (A, A, B, B)]
    threads += [threading.Thread(target=guarded, args=(fork, key)) for key in (A, B)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    # Of each key: two threads, and of each fork a child and its own child.
    assert cache.read([A, B]) == [str(steps * (2 + 2 * forks))] * 2


def test_an_environment_that_could_not_be_closed_is_not_used_by_the_child(path):
    done = run(
        """
        import os
        from grove.exceptions import AccessException

        cache = local_lmdb.Handler(sys.argv[1])
        cache.set("pointer.test.a", "all", "1")
        opened = cache._opened
        close, opened.close = opened.close, None
        child = os.fork()
        if not child:
            code = 1
            try:
                cache.get("pointer.test.a", "all")
            except AccessException as err:
                code = sys.argv[1] not in str(err)
            finally:
                os._exit(code)
        assert os.wait()[1] == 0
        cache.set("pointer.test.a", "all", "2", constraint="1")
        opened.close = close
        child = os.fork()
        if not child:
            os._exit(cache.get("pointer.test.a", "all") != "2")
        assert os.wait()[1] == 0
        """,
        path,
    )
    assert done.returncode == 0, done.stderr


def test_two_handlers_share_one_environment(path, cache):
    other = local_lmdb.Handler(path)
    other.set(*A, "1")
    cache.reopen()
    assert (cache.get(*A), other.get(*A)) == ("1", "1")


# --- damage ---

DAMAGE = """
    import json, random, shutil
    from pathlib import Path
    from grove.exceptions import GroveException

    root, seed = Path(sys.argv[1]), int(sys.argv[2])
    expected = {Key(*key): value for key, value in json.loads((root / "expected").read_text())}
    whole = (root / "whole" / "data.mdb").read_bytes()
    for number in range(100):
        choose = random.Random(f"{seed} {number}")
        data = bytearray(whole)
        if number % 4 == 0:
            del data[choose.randrange(1, len(data)):]
        elif number % 4 == 1:  # where the newest states are described
            data[choose.choice((0, 4096)) + choose.randrange(152)] ^= 1 << choose.randrange(8)
        elif number % 4 == 2:  # where a page describes itself
            data[choose.randrange(len(data) // 4096) * 4096 + choose.randrange(64)] ^= 1 << choose.randrange(8)
        else:
            for _ in range(20):
                data[choose.randrange(len(data))] = choose.randrange(256)
        print(number, end=" ", flush=True)
        path = root / str(number)
        path.mkdir(mode=0o700)
        (path / "data.mdb").write_bytes(data)
        cache = local_lmdb.Handler(path)
        try:
            before = dict(zip(expected, cache.read(list(expected))))
            listed = dict(cache.scan(""))
            changed = {key: "new" for key in list(expected)[::2]}
            batch = Batch()
            for key in changed:
                batch.set(key, "new")
            cache.apply(batch)
            after = dict(zip(expected, cache.read(list(expected))))
            right = before == listed == expected and after == {**expected, **changed}
            print("right" if right else "WRONG", flush=True)
        except GroveException as err:
            named = str(path) in str(err) or "record" in str(err)
            print(type(err).__name__ if named else f"NAMELESS {err}", flush=True)
"""


def test_damaged_files_are_refused_or_harmless(tmp_path):
    seed = random.SystemRandom().randrange(1 << 32)
    expected = {
        Key(f"pointer.test.{number:032x}", "all" if number % 3 else "o" * 600): f"{number} " * (number**2 % 700 + 1)
        for number in range(60)
    }
    whole = local_lmdb.Handler(tmp_path / "whole")
    for key in expected:
        whole.set(*key, "older")
    batch = Batch()
    for key, value in expected.items():
        batch.set(key, value)
    whole.apply(batch)
    (tmp_path / "expected").write_text(json.dumps(list(expected.items())))
    done = run(DAMAGE, tmp_path, seed)
    outcomes = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"seed {seed}: {done.stdout[-200:]} {done.stderr[-2000:]}"
    assert len(outcomes) == 100
    strange = [item for item in outcomes if item[1] not in ("right", "CorruptStateError", "AccessException")]
    assert strange == [], f"seed {seed}"
    assert {what for _, what in outcomes} >= {"right", "CorruptStateError"}, f"seed {seed}"


def _stored(path, key):
    wanted = f"{key.pk}\0{key.sk}".encode()
    return raw(path, lambda txn: txn.get(wanted))


def test_a_record_of_a_later_format_is_refused(path):
    run("local_lmdb.Handler(sys.argv[1]).set(sys.argv[2], 'all', '1')", path, A.pk)
    record = _stored(path, A)
    raw(path, lambda txn: txn.put(f"{A.pk}\0all".encode(), bytes((77,)) + record[1:]))
    cache = local_lmdb.Handler(path)
    with pytest.raises(CorruptStateError, match=re.escape(A.pk)):
        cache.get(*A)
    with pytest.raises(CorruptStateError):
        cache.set(*A, "2", constraint="1")


@pytest.mark.parametrize("record", [b"", b"\1", b"\1" * 9, b"\1" * 40])
def test_a_record_that_is_none_is_refused(path, record):
    run("local_lmdb.Handler(sys.argv[1]).set(sys.argv[2], 'all', '1')", path, A.pk)
    raw(path, lambda txn: txn.put(f"{A.pk}\0all".encode(), record))
    with pytest.raises(CorruptStateError, match=re.escape(A.pk)):
        local_lmdb.Handler(path).get(*A)


def test_a_store_of_a_later_format_is_refused(path):
    run("local_lmdb.Handler(sys.argv[1]).setup()", path)

    def raise_format(txn):
        ((key, value),) = list(txn.cursor())
        assert b"format" in key and value == b"1"
        txn.put(key, b"2")

    raw(path, raise_format)
    with pytest.raises(CorruptStateError, match="newer Grove"):
        local_lmdb.Handler(path).setup()


# --- sudden death ---


def test_a_kill_leaves_whole_batches(path):
    program = """
        cache = local_lmdb.Handler(sys.argv[1])
        number = int(sys.argv[2])
        print("ready", flush=True)
        while True:
            number += 1
            batch = Batch()
            for part in range(5):
                batch.set(Key("pointer.test.a", str(part)), f"{number} " * (part * 1000 + 1))
            cache.apply(batch)
            print(number, flush=True)
    """
    choose = random.Random(7)
    last = 0
    for _ in range(6):
        with subprocess.Popen(
            command(program, path, last), env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
        ) as process:
            told = [process.stdout.readline() for _ in range(choose.randrange(2, 12))]
            process.kill()
            told += process.stdout.readlines()
        last = max(int(line) for line in told[1:] if line.endswith("\n"))
        cache = local_lmdb.Handler(path)
        values = cache.read([Key("pointer.test.a", str(part)) for part in range(5)])
        found = int(values[0])
        assert found in (last, last + 1)
        assert values == [f"{found} " * (part * 1000 + 1) for part in range(5)]
        last = found


# --- full disks ---


@pytest.fixture
def disk(tmp_path):
    """A file system of one MiB in memory."""
    root = tmp_path / "disk"
    root.mkdir()
    if LIBC.mount(b"tmpfs", os.fsencode(root), b"tmpfs", 0, b"size=1m,mode=700"):
        pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield root
    finally:
        LIBC.umount2(os.fsencode(root), 2)


def fill(disk, leave=0):
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        space = os.statvfs(disk)
        file.write(bytes(max(space.f_bavail * space.f_frsize - leave, 0)))
    return filler


@pytest.mark.parametrize("leave", [0, 4096, 8192, 32768])
def test_a_full_disk_is_named_and_changes_nothing(disk, leave):
    path = disk / "cache"
    cache = local_lmdb.Handler(path)
    cache.apply(Batch().set(A, "old").set(B, "old"))
    filler = fill(disk, leave)
    with pytest.raises(AccessException, match=r"\d+ bytes free") as caught:
        cache.apply(Batch().set(A, "new").set(B, "n" * 200_000))
    assert str(path) in str(caught.value)
    assert cache.read([A, B]) == ["old", "old"]
    cache.reopen()
    assert cache.read([A, B]) == ["old", "old"]
    filler.unlink()
    cache.apply(Batch().set(A, "new").set(B, "n" * 200_000))
    cache.reopen()
    assert cache.read([A, B]) == ["new", "n" * 200_000]


@pytest.mark.parametrize("leave", [0, 4096, 16384, 65536, 98304])
def test_a_full_disk_where_the_cache_is_made(disk, leave):
    path = disk / "cache"
    filler = fill(disk, leave)
    cache = local_lmdb.Handler(path)
    try:
        cache.set(*A, "1")
    except AccessException as err:
        assert str(path) in str(err) and "bytes free" in str(err)
        filler.unlink()
        cache.set(*A, "1")
    assert cache.get(*A) == "1"


def test_an_old_cache_opens_on_a_full_disk(disk):
    path = disk / "cache"
    cache = local_lmdb.Handler(path)
    cache.set(*A, "1")
    fill(disk)
    cache.reopen()
    assert cache.get(*A) == "1"


def test_a_file_that_may_not_grow(path):
    done = run(
        """
        from grove.exceptions import AccessException
        cache = local_lmdb.Handler(sys.argv[1])
        cache.set("pointer.test.a", "all", "old")
        try:
            cache.apply(Batch().set(Key("pointer.test.a", "all"), "n" * 500_000))
        except AccessException as err:
            assert sys.argv[1] in str(err) and "larger than allowed" in str(err), err
            print("refused", cache.get("pointer.test.a", "all"))
        """,
        path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )
    assert done.stdout.split() == ["refused", "old"], done.stderr


# --- network file systems ---


def _mountinfo(tmp_path, kind):
    file = tmp_path / "mountinfo"
    file.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"30 22 0:40 / {tmp_path} rw,relatime shared:7 - {kind} server:/export rw,vers=4.2\n"
        f"31 22 0:41 / {tmp_path}-elsewhere rw - tmpfs tmpfs rw\n"
    )
    return str(file)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(path, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(_lmdb_opening, "MOUNTS", _mountinfo(tmp_path, kind))
    with pytest.raises(ConfigurationException, match=re.escape(str(path))):
        local_lmdb.Handler(path).setup()
    assert not (path / "data.mdb").exists()


@pytest.mark.parametrize(("kind", "force"), [("nfs4", "1"), ("xfs", "")])
def test_a_network_file_system_can_be_insisted_on(path, tmp_path, monkeypatch, kind, force):
    monkeypatch.setattr(_lmdb_opening, "MOUNTS", _mountinfo(tmp_path, kind))
    monkeypatch.setenv("GROVE_CACHE_LOCAL_LMDB_FORCE", force)
    cache = local_lmdb.Handler(path)
    cache.set(*A, "1")
    assert cache.get(*A) == "1"
