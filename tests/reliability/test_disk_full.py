"""R9: a disk that is full at any of many levels, under the output, the cache or both; it goes on once there is room.

Run as a program this is the parent of the collecting processes: it has everything loaded, and never opens LMDB itself.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from .workload import collect, delivered, left_behind, offered

SIZE = 2 << 20
BLOCK = 4096
LIBC = ctypes.CDLL(None, use_errno=True)

# More entries than a first run of a stream has brought already.
EARLIER, NOW = 4, 12


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    root = tmp_path / "small"
    root.mkdir()
    if LIBC.mount(b"tmpfs", os.fsencode(root), b"tmpfs", 0, f"size={SIZE},mode=700".encode()):
        pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield root
    finally:
        LIBC.umount2(os.fsencode(root), 2)


@pytest.mark.parametrize("where", ["output", "cache", "both"])
def test_every_level(where: str, small: Path, tmp_path: Path) -> None:
    _fill_up(where, small, tmp_path, step=1)


@pytest.mark.long
@pytest.mark.parametrize("where", ["output", "cache", "both"])
def test_every_level_of_new_and_known_streams(where: str, small: Path, tmp_path: Path) -> None:
    _fill_up(where, small, tmp_path, step=0)


def _fill_up(where: str, small: Path, folder: Path, step: int) -> None:
    parent = [sys.executable, "-m", __name__, where, str(small), str(folder / "roomy"), str(step)]
    done = subprocess.run(parent, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    stopped, went_on = map(int, done.stdout.split()[-2:])
    assert stopped, "no level was full"
    assert went_on, "no level had room enough"


# --- the parent ---


def main(where: str, small: Path, roomy: Path, step: int) -> str:
    """Try 64 levels, each with a new stream or (in turn, or as well) with one that has collected before."""
    stopped = went_on = 0
    for level in range(64):
        for known in (False, True) if step == 0 else (level % 2 == 0,):
            if _one_level(level, known, where, small, roomy):
                went_on += 1
            else:
                stopped += 1
    return f"{stopped} {went_on}"


def _one_level(level: int, known: bool, where: str, small: Path, roomy: Path) -> bool:
    """Whether there was room enough; everything that has to hold either way is asserted."""
    told = f"level {level}, {where}, {'known' if known else 'new'} stream"
    for folder in (small, roomy):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    for name, here in (("out", where != "cache"), ("cache", where != "output")):
        (small if here else roomy).joinpath(name).mkdir(mode=0o700)
        if not here:
            (small / name).symlink_to(roomy / name)
    if known:
        assert _collect(small, EARLIER) == "", told
    filler = small / "filler"
    with open(filler, "wb", buffering=0) as file:
        space = os.statvfs(small)
        file.write(bytes(max(space.f_bavail * space.f_frsize - level * BLOCK, 0)))
    problem = _collect(small, NOW)
    found = delivered(small)
    if problem:
        assert re.search(r"\(\d+ bytes free\)", problem), f"{told}: {problem}"
        assert str(small) in problem or str(roomy) in problem, f"{told}: {problem}"
        assert not found - offered(NOW), told
        assert max(found.values(), default=1) == 1, told
    filler.unlink()
    problem, first = _collect(small, NOW), problem
    assert problem == "", f"{told}: {first!r}, then {problem!r}"
    assert delivered(small) == offered(NOW), told
    assert not left_behind(small), told
    return not first


def _collect(root: Path, moments: int) -> str:
    """Collect in a process of its own; the error it ended with."""
    reader, writer = os.pipe()
    worker = os.fork()
    if not worker:
        code = 1
        try:
            os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"] = str(root / "out")
            os.environ["GROVE_CACHE_LOCAL_LMDB_PATH"] = str((root / "cache").resolve())
            try:
                run = collect(moments, newest_first=False)
                problem = "" if run.outcome == "succeeded" else str(run.failure)
            except Exception as err:
                problem = str(err)
            os.write(writer, problem.encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as answers:
        problem = answers.read().decode()
    status = os.waitpid(worker, 0)[1]
    assert status == 0, f"the process ended with {os.waitstatus_to_exitcode(status)}"
    return problem


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
