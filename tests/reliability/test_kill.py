"""R2: real processes, killed at random moments and started again; in the end each entry is there exactly once.

Run as a program this is the parent of those processes: it has everything loaded, and never opens LMDB itself.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest

from grove.caches.local_lmdb import Handler as LmdbCache

from .workload import collect, delivered, left_behind, offered, settle_in

ROUND = 25
"""Kills before a stream is brought to its end and judged."""


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_killed(order: str, shm: Path) -> None:
    _kill_some(250, order, shm)


@pytest.mark.long
@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_killed_often(order: str, shm: Path) -> None:
    _kill_some(5000, order, shm)


def _kill_some(kills: int, order: str, folder: Path) -> None:
    seed = os.environ.get("GROVE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    parent = [sys.executable, "-m", __name__, str(kills), order, str(folder), seed]
    done = subprocess.run(parent, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["killed", str(kills)]


# --- the parent ---


def main(kills: int, newest_first: bool, folder: Path, draw: random.Random) -> int:
    done = number = 0
    while done < kills:
        number += 1
        root = folder / f"{number}"
        root.mkdir()
        done += _one_stream(root, min(ROUND, kills - done), newest_first, draw)
    return done


def _one_stream(root: Path, kills: int, newest_first: bool, draw: random.Random) -> int:
    moments, done, whole = 10, 0, _worker_time(root, 10, newest_first)
    while done < kills:
        moments += draw.randint(0, 8)
        worker = _fork(root, moments, newest_first)
        time.sleep(draw.uniform(0, whole))
        os.kill(worker, signal.SIGKILL)
        _, status = os.waitpid(worker, 0)
        if os.WIFSIGNALED(status):
            done += 1
        else:
            assert os.WEXITSTATUS(status) == 0
    moments += 1
    worker = _fork(root, moments, newest_first)
    assert os.waitpid(worker, 0)[1] == 0
    assert delivered(root) == offered(moments)
    assert not left_behind(root)
    return done


def _worker_time(root: Path, moments: int, newest_first: bool) -> float:
    """How long a worker takes that nobody kills, in another folder than the stream's."""
    other = root / "other"
    other.mkdir()
    start = time.monotonic()
    worker = _fork(other, moments, newest_first)
    assert os.waitpid(worker, 0)[1] == 0
    return time.monotonic() - start


def _fork(root: Path, moments: int, newest_first: bool) -> int:
    worker = os.fork()
    if worker:
        return worker
    # LMDB is opened here, and never in the parent; nothing of the test's own ends with this process.
    code = 1
    try:
        settle_in(root)
        # Every record that was left there has to be whole.
        assert all(value for _, value in LmdbCache().scan(""))
        code = 0 if collect(moments, newest_first).outcome == "succeeded" else 2
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _kills, _order, _folder, _seed = sys.argv[1:]
    print("killed", main(int(_kills), _order == "newest_first", Path(_folder), random.Random(_seed)))
