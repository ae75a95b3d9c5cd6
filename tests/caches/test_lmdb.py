"""LMDB as the place of state: threads, the map that grows, readers that die, and where a cache may lie."""

import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from grove.caches import Batch, Key, _lmdb_environment, _lmdb_opening, local_lmdb
from grove.exceptions import AccessException, ConfigurationException, ConflictError
from tests.caches.programs import A, B, C, run, start

LARGE = "x" * 20_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(path: Path) -> local_lmdb.Handler:
    cache = local_lmdb.Handler(path)
    cache.setup()
    return cache


def in_threads(*works) -> list[BaseException]:
    """Run every (function, arguments) in a thread of its own, to its end; what they have raised."""
    raised = []

    def guarded(work, arguments):
        try:
            work(*arguments)
        except BaseException as err:
            raised.append(err)

    threads = [threading.Thread(target=guarded, args=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_what_is_committed_is_on_the_disk(cache: local_lmdb.Handler) -> None:
    cache.set(*A, "1")
    flags = cache._environment()._env.flags()
    assert (flags["sync"], flags["metasync"], flags["writemap"], flags["lock"]) == (True, True, False, True)


def test_two_handlers_share_one_environment(path: Path, cache: local_lmdb.Handler) -> None:
    (path.parent / "link").symlink_to(path)
    other = local_lmdb.Handler(path.parent / "link")
    other.set(*A, "1")
    cache.reopen()
    assert (cache.get(*A), other.get(*A)) == ("1", "1")


# --- threads ---


def test_each_of_many_threads_has_its_own_outcome(cache: local_lmdb.Handler) -> None:
    outcomes = {}
    start_together = threading.Barrier(8)

    def work(number):
        mine = Key(A.pk, str(number))
        for step in range(20):
            start_together.wait(timeout=30)
            # Every other thread asks for what is not so.
            wanted = str(step - 1) if step else None
            batch = Batch().require(mine, wanted if number % 2 == 0 else "never").set(mine, str(step))
            try:
                cache.apply(batch)
                outcomes[number, step] = "done"
            except ConflictError as err:
                outcomes[number, step] = str(err)

    assert in_threads(*((work, (number,)) for number in range(8))) == []
    assert len(outcomes) == 160
    for (number, _), outcome in outcomes.items():
        assert outcome == "done" if number % 2 == 0 else f"({number})" in outcome
    assert cache.read([Key(A.pk, str(number)) for number in range(8)]) == ["19", None] * 4


def test_a_value_of_the_wrong_kind_spoils_no_other_batch(cache: local_lmdb.Handler) -> None:
    start_together = threading.Barrier(4)

    def work(number):
        for step in range(20):
            start_together.wait(timeout=30)
            if number:
                cache.set(A.pk, f"{number} {step}", "text")
            else:
                with pytest.raises(TypeError):
                    cache.set(A.pk, f"{number} {step}", 5)

    assert in_threads(*((work, (number,)) for number in range(4))) == []
    assert len(list(cache.scan(A.pk))) == 60


@pytest.mark.parametrize("together", [2_000, pytest.param(8_000, marks=pytest.mark.long)])
def test_concurrent_reads(cache: local_lmdb.Handler, together: int) -> None:
    """More than LMDB has room for, and none ends before all of them have begun."""
    cache.set(*A, "1")
    begun, inside, go = [], [], threading.Event()

    def work(txn):
        inside.append(1)
        assert go.wait(timeout=60)
        return cache._value(txn, A)

    def read():
        begun.append(1)
        assert cache._in_snapshot(work) == "1"

    def let_go():
        try:
            _wait_until(lambda: len(begun) == together and len(inside) >= _lmdb_environment.READERS)
        finally:
            go.set()

    size = threading.stack_size(1 << 18)
    try:
        assert in_threads((let_go, ()), *((read, ()) for _ in range(together))) == []
    finally:
        threading.stack_size(size)
    assert len(inside) == together > _lmdb_opening.MAX_READERS


class _Held(str):
    """A text that is in the middle of being written until it is let go."""

    def __new__(cls, text: str) -> "_Held":
        made = super().__new__(cls, text)
        made.begun, made.go = threading.Event(), threading.Event()
        return made

    def encode(self, *arguments: str) -> bytes:
        self.begun.set()
        assert self.go.wait(timeout=30)
        return super().encode(*arguments)


class _Interrupted(str):
    def encode(self, *arguments: str) -> bytes:
        raise KeyboardInterrupt


def test_an_interrupted_commit_is_nobody_elses_interrupt(cache: local_lmdb.Handler) -> None:
    first = _Held("1")
    failures = {}

    def write(key, value):
        try:
            cache.set(*key, value)
        except BaseException as err:
            failures[key] = type(err)

    works = [(write, (A, first)), (write, (B, _Interrupted("2"))), (write, (C, "3"))]
    threads = [threading.Thread(target=target, args=arguments) for target, arguments in works]
    for thread in threads:
        thread.start()
        assert first.begun.wait(timeout=30)
    _wait_until(lambda: len(cache._environment()._queue) == 2)
    first.go.set()
    for thread in threads:
        thread.join()
    # One transaction carried both; the one whose thread led it was interrupted, and the other learns that it failed.
    assert sorted(failures) == [B, C] and set(failures.values()) == {KeyboardInterrupt, AccessException}
    assert cache.read([A, B, C]) == ["1", None, None]
    cache.set(*C, "4")
    assert cache.get(*C) == "4"


def test_who_is_interrupted_while_waiting_has_changed_nothing(cache: local_lmdb.Handler) -> None:
    first = _Held("1")
    thread = threading.Thread(target=cache.set, args=(*A, first))

    def interrupt(*_):
        raise TimeoutError

    def disturb():
        _wait_until(lambda: len(cache._environment()._queue) == 1)
        os.kill(os.getpid(), signal.SIGUSR1)

    disturber = threading.Thread(target=disturb)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        thread.start()
        assert first.begun.wait(timeout=30)
        disturber.start()
        with pytest.raises(TimeoutError):
            cache.set(*B, "2")
    finally:
        signal.signal(signal.SIGUSR1, before)
        first.go.set()
    thread.join()
    disturber.join()
    cache.set(*C, "3")
    assert cache.read([A, B, C]) == ["1", None, "3"]


def _wait_until(met) -> None:
    for _ in range(100_000):
        if met():
            return
        os.sched_yield()
        threading.Event().wait(0.0001)
    raise AssertionError("it never came to that")


# --- the map ---


@pytest.fixture
def small_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lmdb_opening, "MAP_SIZE", 1 << 16)


@pytest.mark.usefixtures("small_map")
def test_the_map_grows(path: Path) -> None:
    cache = local_lmdb.Handler(path)
    for number in range(60):
        cache.set(A.pk, str(number), LARGE)
    cache.reopen()
    assert all(cache.get(A.pk, str(number)) == LARGE for number in range(60))


@pytest.mark.usefixtures("small_map")
def test_the_map_grows_among_readers_and_writers(path: Path) -> None:
    cache = local_lmdb.Handler(path)
    cache.set(*A, "1")

    def write(number):
        for step in range(25):
            cache.set(A.pk, f"{number} {step}", LARGE)

    def read():
        for _ in range(300):
            assert cache.get(*A) == "1"

    assert in_threads((write, (1,)), (write, (2,)), (read, ()), (read, ())) == []
    assert len(list(cache.scan(A.pk))) == 51


GROW = """
    from grove.caches import _lmdb_opening

    _lmdb_opening.MAP_SIZE = 1 << 16
    for number in range(60):
        cache.set(A.pk, f"{arguments[0]} {number}", arguments[0] * 20_000)
        assert cache.get(A.pk, f"{arguments[0]} {number}") == arguments[0] * 20_000
"""


@pytest.mark.usefixtures("small_map")
@pytest.mark.parametrize("first", ["read", "write"])
def test_another_process_enlarges_the_map(path: Path, first: str) -> None:
    cache = local_lmdb.Handler(path)
    cache.set(*A, "1")
    run(GROW, "local_lmdb", path, "x")
    if first == "write":
        cache.set(*A, "2", constraint="1")
    assert cache.get(A.pk, "x 59") == LARGE
    assert cache.get(*A) == ("2" if first == "write" else "1")


def test_two_processes_enlarge_the_map_at_once(path: Path) -> None:
    both = [start(GROW, "local_lmdb", path, letter) for letter in "xy"]
    assert [process.communicate()[1] for process in both] == ["", ""]
    found = dict(local_lmdb.Handler(path).scan(A.pk))
    assert found == {Key(A.pk, f"{letter} {number}"): letter * 20_000 for letter in "xy" for number in range(60)}


def test_a_map_that_the_system_refuses_to_enlarge(path: Path) -> None:
    program = """
        import resource
        from grove.caches import _lmdb_opening

        _lmdb_opening.MAP_SIZE = 1 << 24
        cache.set(*A, "1")
        now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 23), resource.RLIM_INFINITY))
        try:
            for number in range(20):
                cache.set(A.pk, str(number), "x" * (1 << 20))
        except AccessException as err:
            print(path in str(err), cache.get(*A))
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for number in range(20):
            cache.set(A.pk, str(number), "x" * (1 << 20))
        print(cache.get(*A))
    """
    assert run(program, "local_lmdb", path) == "True 1\n1\n"


# --- readers ---

READING = """
    import time

    with cache._environment().snapshot() as txn:
        print("reading", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("looks", ["on opening", "later"])
def test_a_reader_that_was_killed_is_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch, looks: str) -> None:
    cache = local_lmdb.Handler(path)
    cache.set(*A, "1")
    with start(READING, "local_lmdb", path) as killed, start(READING, "local_lmdb", path) as alive:
        for reader in (killed, alive):
            assert reader.stdout.readline() == "reading\n"
        killed.kill()
        killed.wait()
        assert {str(killed.pid), str(alive.pid)} <= set(cache._environment()._env.readers().split())
        if looks == "on opening":
            cache.reopen()
        else:
            monkeypatch.setattr(_lmdb_environment, "LOOK_FOR_DEAD_READERS", 0.0)
            cache.set(*A, "2")
        found = cache._environment()._env.readers().split()
        assert str(alive.pid) in found and str(killed.pid) not in found
        alive.stdin.close()


def test_pages_are_used_again(path: Path) -> None:
    cache = local_lmdb.Handler(path)
    for number in range(200):
        cache.set(*A, f"{number}" * 1000)
    assert (path / "data.mdb").stat().st_size < 200_000


# --- forks ---


def test_an_environment_that_could_not_be_closed_is_not_used_by_the_child(path: Path) -> None:
    program = """
        import os

        cache.set(*A, "1")
        opened = cache._environment()
        close, opened.close = opened.close, None
        child = os.fork()
        if not child:
            code = 1
            try:
                cache.get(*A)
            except AccessException as err:
                code = path not in str(err)
            finally:
                os._exit(code)
        print(os.wait()[1])
        cache.set(*A, "2", constraint="1")
        opened.close = close
        child = os.fork()
        if not child:
            os._exit(cache.get(*A) != "2")
        print(os.wait()[1])
    """
    assert run(program, "local_lmdb", path) == "0\n0\n"


# --- where it may lie ---


def test_a_directory_others_can_write_to_is_refused(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)
    with pytest.raises(AccessException, match=re.escape(f"chmod 700 {path}")):
        local_lmdb.Handler(path).setup()


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can give a directory to somebody else")
def test_the_directory_of_somebody_else_is_refused(path: Path) -> None:
    path.mkdir(mode=0o700)
    os.chown(path, 12345, 12345)
    with pytest.raises(AccessException, match="another user"):
        local_lmdb.Handler(path).setup()


def _mounts(tmp_path: Path, kind: str) -> str:
    file = tmp_path / "mountinfo"
    file.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"30 22 0:40 / {tmp_path} rw,relatime shared:7 - {kind} server:/export rw,vers=4.2\n"
        f"31 22 0:41 / {tmp_path}-elsewhere rw - tmpfs tmpfs rw\n"
    )
    return str(file)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(_lmdb_opening, "MOUNTS", _mounts(path.parent, kind))
    with pytest.raises(ConfigurationException, match=re.escape(str(path))):
        local_lmdb.Handler(path).setup()
    assert not (path / "data.mdb").exists()


@pytest.mark.parametrize(("kind", "force"), [("nfs4", "1"), ("xfs", "")])
def test_a_network_file_system_can_be_insisted_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, force: str
) -> None:
    monkeypatch.setattr(_lmdb_opening, "MOUNTS", _mounts(path.parent, kind))
    monkeypatch.setenv("GROVE_CACHE_LOCAL_LMDB_FORCE", force)
    cache = local_lmdb.Handler(path)
    cache.set(*A, "1")
    assert cache.get(*A) == "1"


def test_processes_that_cannot_see_each_other_are_told_so(path: Path) -> None:
    """Two containers, whose processes have the same number, at one cache."""
    unshare = shutil.which("unshare")
    apart = [unshare or "unshare", "--pid", "--fork", "--kill-child"]
    if unshare is None or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("NOT TESTED: processes of two containers at one cache need unshare(1) and the right to use it")
    with start(READING, "local_lmdb", path, before=apart) as one:
        assert one.stdout.readline() == "reading\n"
        refused = "try: cache.get(*A)\nexcept AccessException as err: print(err)"
        assert "container" in run(refused, "local_lmdb", path, before=apart)
        one.stdin.close()
        assert one.wait() == 0
