"""R3 and R10: the process is killed, or the disk fails, at exactly the n-th system call of a kind.

Run as a program this is the parent of the disturbed processes: strace is attached to each of them before it begins.
"""

from __future__ import annotations

import collections
import ctypes
import errno
import itertools
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

from grove import lease
from grove.exceptions import GroveException

from .workload import collect, delivered, left_behind, offered, settle_in

STRACE = shutil.which("strace")
CALLS = ("openat", "mkdirat,mkdir", "write", "pwrite64", "fsync", "fdatasync", "renameat2,rename", "unlink,unlinkat")
KILL, EIO, ENOSPC = "signal=SIGKILL", "error=EIO", "error=ENOSPC"
DONE, REFUSED, UNEXPECTED = 0, 2, 3

pytestmark = pytest.mark.skipif(
    STRACE is None, reason="NOT TESTED: kills and disk errors at exact system calls need strace; install it"
)


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize(("fault", "points"), [(KILL, 120), (EIO, 70), (ENOSPC, 45)])
def test_every_part_of_a_run(fault: str, points: int, order: str, shm: Path) -> None:
    _disturb(fault, order, [4], points, shm)


@pytest.mark.long
@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize("fault", [KILL, EIO, ENOSPC])
def test_every_call(fault: str, order: str, shm: Path) -> None:
    _disturb(fault, order, [1, 2, 5], sys.maxsize, shm)


def test_the_lock_file_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, shm: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(owner: lease.Owner, folder: Path) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    settings = {"GROVE_OUTPUT_LOCAL_FILE_PATH": str(shm / "out"), "GROVE_CACHE_LOCAL_LMDB_PATH": str(shm / "cache")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (shm / "out").mkdir()
    monkeypatch.setattr(lease.Owner, "_hold", fail)
    assert collect(3, newest_first=False).outcome == "failed"
    assert any("owners" in str(getattr(record, "exception", "")) for record in caplog.records)


def _disturb(fault: str, order: str, page_sizes: list[int], points: int, folder: Path) -> None:
    seed = os.environ.get("GROVE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    for page_size in page_sizes:
        order_of = {"fault": fault, "newest_first": order == "newest_first", "page_size": page_size}
        work = json.dumps({**order_of, "points": points, "seed": seed, "folder": str(folder)})
        done = subprocess.run(
            [sys.executable, "-m", __name__, work], cwd=Path(__file__).parents[2], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        print(result, done.stderr)
        assert not result["problems"], "\n".join(result["problems"][:5])
        assert result["hit"] >= min(points, result["calls"]) * 0.9


# --- the parent ---


class Parent:
    """Tries one kind of fault on one kind of stream."""

    def __init__(self, fault: str, newest_first: bool, page_size: int, folder: str) -> None:
        self.fault = fault
        self.newest_first = newest_first
        self.page_size = page_size
        self.folder = Path(folder)
        self.problems: list[str] = []
        self.hit = 0

    def points(self) -> list[tuple[int, str, int]]:
        """Every call of the clean runs, as (moments collected before, kind, number)."""
        found = []
        for before in (0, 3):
            with tempfile.TemporaryDirectory(dir=self.folder) as root:
                trace = Path(root) / "trace"
                self._prepare(Path(root), before)
                status = self._run(Path(root), before + 4, ["-o", str(trace), "-e", f"trace={','.join(CALLS)}"])
                assert os.waitstatus_to_exitcode(status) == DONE
                text = trace.read_text()
                counts = collections.Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", text, re.MULTILINE))
            for kinds in CALLS:
                for kind in kinds.split(","):
                    found.extend((before, kind, number + 1) for number in range(counts[kind]))
        return found

    def disturb(self, before: int, kind: str, number: int) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            root = Path(name)
            self._prepare(root, before)
            inject = ["-o", "/dev/null", "-e", f"trace={kind}", "-e", f"inject={kind}:{self.fault}:when={number}"]
            status = self._run(root, before + 4, inject)
            code = os.waitstatus_to_exitcode(status)
            expected = (-signal.SIGKILL,) if self.fault == KILL else (DONE, REFUSED)
            self.hit += code != DONE or self.fault != KILL
            what = f"{self.fault} at {kind} {number}, {before} before"
            if code not in (*expected, DONE):
                self.problems.append(f"{what}: ended with {code}")
            moments = before + 5
            if (code := os.waitstatus_to_exitcode(self._run(root, moments))) != DONE:
                self.problems.append(f"{what}: the next run ended with {code}")
            found, wanted = delivered(root), offered(moments)
            if found != wanted:
                self.problems.append(f"{what}: lost {dict(wanted - found)}, twice {dict(found - wanted)}")
            if left := left_behind(root):
                self.problems.append(f"{what}: left behind {left}")

    def _prepare(self, root: Path, moments: int) -> None:
        if moments:
            assert os.waitstatus_to_exitcode(self._run(root, moments)) == DONE

    def _run(self, root: Path, moments: int, strace: list[str] | None = None) -> int:
        """One run in a process of its own, with strace attached to it if there is something to do for it."""
        ready, go = os.pipe()
        worker = os.fork()
        if not worker:
            os.close(go)
            self._work(root, moments, ready)
        os.close(ready)
        if strace is None:
            os.close(go)
            return os.waitpid(worker, 0)[1]
        tracer = subprocess.Popen(
            [STRACE or "strace", "-f", "-p", str(worker), *strace], stderr=subprocess.PIPE, text=True
        )
        assert tracer.stderr is not None
        attached = tracer.stderr.readline()
        os.close(go)
        status = os.waitpid(worker, 0)[1]
        rest = tracer.communicate()[1]
        assert "attached" in attached, attached + rest
        return status

    def _work(self, root: Path, moments: int, ready: int) -> None:
        code = UNEXPECTED
        try:
            # Where only descendants may be traced, this one asks for it.
            ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
            unexpected = Unexpected()
            logging.basicConfig(handlers=[unexpected], force=True)
            settle_in(root)
            os.read(ready, 1)
            try:
                outcome = collect(moments, self.newest_first, self.page_size).outcome
                code = DONE if outcome == "succeeded" else REFUSED
            except GroveException as err:
                print(repr(err), file=sys.stderr)
                code = REFUSED
            except OSError as err:
                # Judged by a test of its own.
                if all(frame.name != "prove" for frame in traceback.extract_tb(err.__traceback__)):
                    raise
                code = REFUSED
            if unexpected.records:
                code = UNEXPECTED
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)


class Unexpected(logging.Handler):
    """Keeps what was logged with a traceback, an error that nobody had foreseen; shows everything."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[str] = []
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), record.__dict__.get("exception", ""), file=sys.stderr)
        if record.exc_info:
            self.records.append(self.format(record))


def main(fault: str, newest_first: bool, page_size: int, points: int, seed: str, folder: str) -> dict[str, object]:
    parent = Parent(fault, newest_first, page_size, folder)
    every = parent.points()
    chosen = every if points >= len(every) else spread(every, points, random.Random(seed))
    for point in chosen:
        parent.disturb(*point)
    return {"calls": len(every), "hit": parent.hit, "problems": parent.problems}


def spread(every: list[tuple[int, str, int]], points: int, draw: random.Random) -> list[tuple[int, str, int]]:
    """That many of them, one from each of as many equal parts."""
    edges = [len(every) * number // points for number in range(points + 1)]
    return [every[draw.randrange(low, high)] for low, high in itertools.pairwise(edges)]


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
