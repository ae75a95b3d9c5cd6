"""Codecs: what they make can be read by anybody, and what they are given comes back."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading

import pytest

from grove.exceptions import ConfigurationException
from grove.helpers.codecs import Codec, Gzip, Plain, Zstd


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("data", [b"", b"x", b"line\n" * 100_000], ids=len)
def test_gzip_is_one_plain_member(data: bytes, level: int) -> None:
    packed = Gzip(level).pack(data)
    assert gzip.decompress(packed) == data
    assert packed[:4] == b"\x1f\x8b\x08\x00"  # no name
    assert packed[4:8] == bytes(4)  # no time
    assert Gzip(level).pack(data) == packed


@pytest.mark.parametrize("level", [-1, 4, 9])
def test_gzip_has_four_levels(level: int) -> None:
    with pytest.raises(ValueError, match=str(level)):
        Gzip(level)


def test_gzip_needs_no_isal() -> None:
    code = """
import gzip, sys
sys.modules["isal"] = None
from grove.helpers.codecs import GZIP, Gzip
from grove import _core
data = b"line\\n" * 10_000
sizes = [len(Gzip(level).pack(data)) for level in range(4)]
assert all(gzip.decompress(Gzip(level).pack(data)) == data for level in range(4))
page = _core.encode([{"n": 1}, {"n": 2}] * 100, None, GZIP)
lines = page.data
page.shrink()
assert page.data == lines
print(len(data) > sizes[0] >= sizes[3])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_gzip_leaves_the_interpreter_free() -> None:
    data = json.dumps([{"id": index} for index in range(800_000)]).encode()
    done = threading.Event()
    worker = threading.Thread(target=lambda: (Gzip(3).pack(data), done.set()))
    turns = 0
    worker.start()
    while not done.is_set():
        turns += 1
    worker.join()
    # Were it held, this thread would get a turn or two.
    assert turns > 100


@pytest.mark.parametrize("codec", [Gzip(0), Gzip(3), Zstd(), Zstd(1), Plain()], ids=lambda codec: type(codec).__name__)
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_what_is_packed_comes_back(codec: Codec, size: int) -> None:
    data = (json.dumps({"id": 123, "text": "é"}) * (size // 20 + 1)).encode()[:size]
    compressor = codec.compressor()
    pieces = [compressor.compress(memoryview(data)[at : at + 70_001]) for at in range(0, size, 70_001)]
    in_pieces = b"".join([*pieces, compressor.flush()])
    assert codec.decompress(in_pieces) == codec.decompress(codec.pack(data)) == data


def test_zstd_frames_have_a_checksum() -> None:
    packed = bytearray(Zstd().pack(b"x" * 1000))
    assert packed[:4] == b"\x28\xb5\x2f\xfd"
    packed[-1] ^= 1
    with pytest.raises(Exception, match=r"[Cc]hecksum"):
        Zstd().decompress(bytes(packed))


@pytest.mark.parametrize("level", [0, 20, -1])
def test_zstd_has_19_levels(level: int) -> None:
    with pytest.raises(ValueError, match=str(level)):
        Zstd(level)


def test_zstd_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression", None)
    monkeypatch.setitem(sys.modules, "backports", None)
    with pytest.raises(ConfigurationException, match=r"pip install 'grove\[zstd\]'"):
        Zstd()
