"""R8, and what dies: several processes at one cache, of which some are stopped, killed or forked."""

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from grove.caches import Batch, Key
from grove.exceptions import ConflictError
from tests.caches.programs import KINDS, A, B, make, run, start

pytestmark = [
    pytest.mark.parametrize("kind", KINDS),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

EPOCH, POINTER = Key("epoch.test.a", "all"), Key("pointer.test.a", "all")


# --- who holds it ---


@pytest.mark.parametrize("times", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_record_has_one_holder(kind: str, shm: Path, times: int) -> None:
    """Four processes take and give back one record; a file that must be new shows two holders at once."""
    program = """
        import os

        marker, name, times = arguments[0], arguments[1], int(arguments[2])
        held = 0
        while held < times:
            try:
                cache.set(*A, name, not_set=True)
            except ConflictError:
                continue
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            os.unlink(marker)
            held += 1
            cache.delete(*A, constraint=name)
        print(held)
    """
    path, marker = shm / "cache", shm / "held"
    make(kind, path).setup()
    fighters = [start(program, kind, path, marker, name, times) for name in "abcd"]
    ends = [fighter.communicate() for fighter in fighters]
    assert [out for out, _ in ends] == [f"{times}\n"] * 4, [err[-2000:] for _, err in ends]
    assert make(kind, path).read([A]) == [None]


HOLDER = """
    import os, signal

    EPOCH, POINTER = Key("epoch.test.a", "all"), Key("pointer.test.a", "all")

    for line in sys.stdin:
        pages = int(line)
        while True:
            epoch, pointer = cache.read([EPOCH, POINTER])
            mine = str(int(epoch or 0) + 1)
            try:
                cache.apply(Batch().require(EPOCH, epoch).set(EPOCH, mine).set(POINTER, pointer or "0"))
                break
            except ConflictError:
                continue
        pointer = int(pointer or 0)
        for page in range(pages + 1):
            if page == pages:
                print("stopping", mine, pointer, flush=True)
                os.kill(os.getpid(), signal.SIGSTOP)
            try:
                cache.apply(Batch().require(EPOCH, mine).set(POINTER, str(pointer + 1)))
                pointer += 1
            except ConflictError:
                print("refused", flush=True)
                break
        else:
            print("not refused", flush=True)
"""


@pytest.mark.parametrize("trials", [50, pytest.param(1_000, marks=pytest.mark.long)])
def test_a_holder_that_was_paused_is_refused(kind: str, shm: Path, trials: int) -> None:
    choose = random.Random(11)
    with start(HOLDER, kind, shm / "cache") as one, start(HOLDER, kind, shm / "cache") as two:
        holders, committed = [one, two], 0
        try:
            for trial in range(trials):
                paused, other = holders if trial % 2 else reversed(holders)
                for holder in (paused, other):
                    pages = choose.randrange(4)
                    print(pages, file=holder.stdin, flush=True)
                    committed += pages
                    assert holder.stdout.readline().split()[::2] == ["stopping", str(committed)]
                    assert os.WIFSTOPPED(os.waitpid(holder.pid, os.WUNTRACED)[1])
                # The one that took over has not been refused; the one before has, whoever goes on first.
                paused.send_signal(signal.SIGCONT)
                assert paused.stdout.readline() == "refused\n"
                other.send_signal(signal.SIGCONT)
                assert other.stdout.readline() == "not refused\n"
                committed += 1
        finally:
            for holder in holders:
                holder.kill()
    assert make(kind, shm / "cache").read([EPOCH, POINTER]) == [str(2 * trials), str(committed)]


# --- who dies, or stands still, in the middle ---

# A text that stops the process while it is being written, which is under the lock of both caches.
MIDDLE = """
    import os, signal

    class Text(str):
        def encode(self, *arguments):
            print("in the middle", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
            return super().encode(*arguments)

    cache.apply(Batch().set(A, "first"))
    cache.apply(Batch().require(A, "first").set(A, Text("second")))
    print(cache.get(*A))
"""


def _stand_still(kind: str, path: Path):
    process = start(MIDDLE, kind, path)
    assert process.stdout.readline() == "in the middle\n"
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    return process


def test_the_next_waits_for_who_stands_still(kind: str, shm: Path) -> None:
    with _stand_still(kind, shm / "cache") as still:
        following = start("print('ready', flush=True); cache.set(*B, 'x'); print(cache.get(*A))", kind, shm / "cache")
        assert following.stdout.readline() == "ready\n"
        still.send_signal(signal.SIGCONT)
        # Under a lock of its own a file is written after its text was taken.
        while still.stdout.readline() == "in the middle\n":
            still.send_signal(signal.SIGCONT)
        assert following.communicate(timeout=50)[0] == "second\n"


def test_the_next_goes_on_where_somebody_died(kind: str, shm: Path) -> None:
    path = shm / "cache"
    with _stand_still(kind, path) as still:
        still.kill()
    cache = make(kind, path)
    cache.set(*A, "third", constraint="first")
    assert cache.get(*A) == "third"


def test_a_kill_leaves_whole_batches(kind: str, shm: Path) -> None:
    path = shm / "cache"
    program = """
        number = int(arguments[0])
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
    for _ in range(8):
        with start(program, kind, path, last) as process:
            told = [process.stdout.readline() for _ in range(choose.randrange(2, 12))]
            process.kill()
            told += process.stdout.readlines()
        last = max(int(line) for line in told[1:] if line.endswith("\n"))
        values = make(kind, path).read([Key("pointer.test.a", str(part)) for part in range(5)])
        found = int(values[0])
        assert found in (last, last + 1)
        assert values == [f"{found} " * (part * 1000 + 1) for part in range(5)]
        last = found


# --- forks ---


def test_parent_and_child_see_each_others_writes(kind: str, shm: Path) -> None:
    cache = make(kind, shm / "cache")
    cache.set(*A, "parent")
    asked, answer = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(30)
            cache.set(*B, f"child saw {cache.get(*A)}")
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


@pytest.mark.parametrize("forks", [4, pytest.param(100, marks=pytest.mark.long)])
def test_forks_among_threads_that_read_and_commit(kind: str, shm: Path, forks: int) -> None:
    """Everybody counts on, on condition of what they have read: nobody's step may get lost."""
    cache = make(kind, shm / "cache")
    cache.apply(Batch().set(A, "0").set(B, "0"))
    steps = 15
    failures: list[str] = []

    def count(key: Key) -> None:
        done = 0
        while done < steps:
            found = dict(zip((A, B), cache.read([A, B]), strict=True))
            try:
                cache.apply(Batch().require(key, found[key]).set(key, str(int(found[key]) + 1)).delete(Key("x", "y")))
            except ConflictError:
                continue
            done += 1

    def fork(key: Key) -> None:
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

    def guarded(work, key: Key) -> None:
        try:
            work(key)
        except BaseException as err:
            failures.append(repr(err))

    works = [(count, A), (count, A), (count, B), (count, B), (fork, A), (fork, B)]
    threads = [threading.Thread(target=guarded, args=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    # Of each key: two threads, and of each fork a child and its own child.
    assert cache.read([A, B]) == [str(steps * (2 + 2 * forks))] * 2


def test_a_child_that_never_touches_the_cache_holds_nobody_up(kind: str, shm: Path) -> None:
    cache = make(kind, shm / "cache")
    cache.set(*A, "0")
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            cache.set(*B, "busy")

    thread = threading.Thread(target=work)
    thread.start()
    ends = os.pipe()
    children = []
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os.close(ends[1])
            os.read(ends[0], 1)
            os._exit(0)
        children.append(child)
    stop.set()
    thread.join()
    assert run("cache.set(*A, '1', constraint='0'); print(cache.get(*A))", kind, shm / "cache") == "1\n"
    os.close(ends[1])
    os.close(ends[0])
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 10
