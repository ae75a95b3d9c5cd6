"""Programs of their own that work on a cache of this host, and file systems that are full."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from grove.caches import BaseCache, Key

ROOT = Path(__file__).parents[2]
LIBC = ctypes.CDLL(None, use_errno=True)

KINDS = ("local_lmdb", "local_file")
A, B, C = (Key(f"pointer.test.{letter * 32}", "all") for letter in "abc")

# What each program begins with: its first two arguments are the kind of cache and where it lies.
START = """
import sys
from grove.caches import Batch, Key
from grove.exceptions import AccessException, ConflictError, CorruptStateError, GroveException
from tests.caches.programs import A, B, C, make
kind, path, *arguments = sys.argv[1:]
cache = make(kind, path)
"""


def make(kind: str, path: str | os.PathLike[str]) -> BaseCache:
    """A handler of that kind, which has its directory; not opened yet."""
    cache: BaseCache = importlib.import_module(f"grove.caches.{kind}").Handler(path)
    if kind == "local_file":
        cache.setup()
    return cache


def start(text: str, *arguments: object, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start a program, as an argument of the command `before` if any; its input and output are pipes of text."""
    command = [*before, sys.executable, "-c", START + textwrap.dedent(text), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def run(text: str, *arguments: object, before: Sequence[str] = (), said: str = "") -> str:
    """What a program prints to whom `said` is its input. It has to end by itself, without an error."""
    with start(text, *arguments, before=before) as process:
        try:
            out, err = process.communicate(said, timeout=500)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0, f"ended with {process.returncode}\n{out[-2000:]}\n{err[-4000:]}"
    return out


def seeded() -> random.Random:
    """What chooses; GROVE_TEST_SEED makes it choose the same again."""
    seed = os.environ.get("GROVE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    return random.Random(seed)


@contextlib.contextmanager
def small_disk(root: Path, size: str = "1m") -> Iterator[Path]:
    """A file system in memory, mounted at `root`. The test is skipped where nothing can be mounted."""
    root.mkdir()
    if LIBC.mount(b"tmpfs", os.fsencode(root), b"tmpfs", 0, f"size={size},mode=700".encode()):
        pytest.skip(f"NOT TESTED: full disks need a file system to be mounted: {os.strerror(ctypes.get_errno())}")
    try:
        yield root
    finally:
        LIBC.umount2(os.fsencode(root), 2)


def make_read_only(disk: Path) -> None:
    """Let nobody write to a small disk any more; nobody has a file open on it."""
    remount_read_only = 0x20 | 0x01
    assert LIBC.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", remount_read_only, None) == 0, ctypes.get_errno()


def fill(disk: Path, leave: int = 0) -> Callable[[], None]:
    """Use a file system up but for `leave` bytes. What it returns frees the space again."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        space = os.statvfs(disk)
        file.write(bytes(max(space.f_bavail * space.f_frsize - leave, 0)))
    return filler.unlink
