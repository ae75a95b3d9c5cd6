"""A full disk: nothing half, nothing left behind, an error that says so, and on it goes once there is room."""

import ctypes
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from grove.exceptions import AccessException
from grove.outputs import local_file
from grove.outputs.local_file import MARKER, Handler
from grove.testing.output_contract import object_name

SIZE = 512 * 1024
BLOCK = 4096
PAYLOAD = os.urandom(10 * BLOCK + 1)
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(path, options):
    if LIBC.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, options.encode()):
        pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A file system of 512 KiB in memory, with a handler that writes to it."""
    root = tmp_path / "small"
    root.mkdir()
    mount(root, f"size={SIZE},mode=700")
    try:
        yield from _handler(root, monkeypatch)
    finally:
        LIBC.umount2(os.fsencode(root), 2)


def _handler(root, monkeypatch):
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(root))
    local_file._durable.clear()
    yield Handler()


def fill(root, leave):
    """Take all room but `leave` bytes."""
    filler = root / "filler"
    with open(filler, "wb", buffering=0) as file:
        space = os.statvfs(root)
        file.write(bytes(max(space.f_bavail * space.f_frsize - leave, 0)))
    return filler


def objects(root):
    return [path.read_bytes() for path in root.rglob("*.json.gz")]


def hidden(root):
    return [path for path in root.rglob(".*") if path.name != MARKER]


def test_every_level_of_a_disk_that_fills_up(small):
    root = Path(small.config.path)
    small.setup()
    outcomes = []
    for level in range(64):
        filler = fill(root, level * BLOCK)
        try:
            staged = small.stage(object_name(part=level, descriptor=f"level{level}"), PAYLOAD)
        except AccessException as err:
            outcomes.append(False)
            assert str(root) in str(err)
            assert re.search(rf"the disk is full \({level * BLOCK} bytes free\)", str(err))
            assert hidden(root) == []
        else:
            outcomes.append(True)
            small.publish(staged)
            small.settle([staged], [])
        assert set(objects(root)) <= {PAYLOAD}
        filler.unlink()
        # There is room again: the next attempt goes through without anybody's help.
        again = small.stage(object_name(part=1000 + level, attempt="store-stream-2-2"), PAYLOAD)
        small.publish(again)
        assert objects(root).count(PAYLOAD) == 1 + outcomes[-1]
        for path in root.rglob("*.json.gz"):
            path.unlink()
    assert outcomes == sorted(outcomes), "less room was enough where more was not"
    assert (outcomes[0], outcomes[-1]) == (False, True)


def test_publishing_needs_no_room(small):
    root = Path(small.config.path)
    small.setup()
    staged = small.stage(object_name(), PAYLOAD)
    fill(root, 0)
    small.publish(staged)
    small.settle([staged], [])
    assert objects(root) == [PAYLOAD]


def test_a_disk_that_is_full_at_the_start(small):
    root = Path(small.config.path)
    filler = fill(root, 0)
    with pytest.raises(AccessException, match=r"the disk is full \(0 bytes free\)"):
        small.setup()
    filler.unlink()
    assert os.listdir(root) == []
    small.setup()
    assert os.listdir(root) == [MARKER]


def test_a_disk_without_inodes(tmp_path, monkeypatch):
    root = tmp_path / "few"
    root.mkdir()
    mount(root, "nr_inodes=6,size=1m,mode=700")
    try:
        (handler,) = _handler(root, monkeypatch)
        handler.setup()
        with pytest.raises(AccessException, match="no inode free"):
            handler.stage(object_name(), PAYLOAD)
        assert hidden(root) == []
    finally:
        LIBC.umount2(os.fsencode(root), 2)


def test_a_read_only_disk(small):
    root = Path(small.config.path)
    small.setup()
    readonly, remount = 1, 32
    assert LIBC.mount(b"tmpfs", os.fsencode(root), b"tmpfs", readonly | remount, b"") == 0
    with pytest.raises(AccessException, match="read-only") as caught:
        small.stage(object_name(), PAYLOAD)
    assert str(root) in str(caught.value)


def test_a_limit_on_the_size_of_files(tmp_path):
    """The same without a file system of one's own: what is written stops in the middle."""
    code = f"""
        import os, resource
        os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"] = {str(tmp_path)!r}
        from grove.exceptions import AccessException
        from grove.outputs.local_file import Handler
        handler = Handler()
        handler.setup()
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        for size in (9_999, 10_000, 10_001, 40_000):
            try:
                handler.submit(bytes(size), "c", "i", "o")
                print(size, "ok")
            except AccessException as err:
                print(size, "ulimit -f" in str(err))
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["9999 ok", "10000 ok", "10001 True", "40000 True"]
    assert sorted(path.stat().st_size for path in tmp_path.rglob("*.json.gz")) == [9_999, 10_000]
    assert hidden(tmp_path) == []
