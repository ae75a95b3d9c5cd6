"""R26, and names: what earlier versions have stored is read for ever, and no two keys are one.

`golden/` holds both caches of this host as version 1 of their formats has them: what CONTENT says, written in two
batches (`write`). The LMDB environment is its data file, gzip, in base64; the files are a JSON object of paths and
texts, whose signatures follow from them. A later format adds a file of its own; these are never made anew.
"""

import base64
import contextlib
import gzip
import json
import os
import re
import struct
import sys
import tempfile
from pathlib import Path

import lmdb
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from grove.caches import BaseCache, Batch, Key, _lmdb_environment, local_lmdb
from grove.exceptions import CorruptStateError
from tests.caches.programs import KINDS, A, B, make

GOLDEN = Path(__file__).parent / "golden"
LMDB_1 = GOLDEN / "local_lmdb-1.txt"
FILES_1 = GOLDEN / "local_file-1.json"

CONTENT = {
    Key("pointer.test.d41d8cd98f00b204e9800998ecf8427e", "all"): "2024-02-29T23:59:59Z",
    Key("intervals.test.d41d8cd98f00b204e9800998ecf8427e", "all"): '[["1", "9", ["0f"]]]',
    Key("pointer.test.d41d8cd98f00b204e9800998ecf8427e", "événements, all"): "Zürich, 東京",
    Key("pointer.test.d41d8cd98f00b204e9800998ecf8427e", "o" * 600): "of a long key",
    Key("boundary.test.d41d8cd98f00b204e9800998ecf8427e", ""): "0123456789abcdef" * 160,
}
GONE = Key("window_start.test.d41d8cd98f00b204e9800998ecf8427e", "all")

on_this_machine = pytest.mark.skipif(
    sys.byteorder != "little" or struct.calcsize("P") != 8 or os.sysconf("SC_PAGE_SIZE") != 4096,
    reason="NOT TESTED: LMDB's files are those of the kind of machine that wrote them",
)


def write(cache: BaseCache) -> None:
    """Give a new cache what is in `golden/`."""
    older = Batch().set(GONE, "1")
    for key in CONTENT:
        older.set(key, "older")
    cache.apply(older)
    newer = Batch().delete(GONE)
    for key, value in CONTENT.items():
        newer.set(key, value)
    cache.apply(newer)


def lay_out(kind: str, path: Path) -> None:
    """What is in `golden/`, as a cache in the directory `path`."""
    path.mkdir(mode=0o700)
    if kind == "local_lmdb":
        (path / "data.mdb").write_bytes(gzip.decompress(base64.b64decode(LMDB_1.read_text())))
        return
    for name, text in json.loads(FILES_1.read_text()).items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
        with contextlib.suppress(OSError):  # There is none on this file system.
            os.setxattr(path / name, "user.grove.blake3", blake3(text.encode()).hexdigest(16).encode())


kinds = pytest.mark.parametrize("kind", [pytest.param("local_lmdb", marks=on_this_machine), "local_file"])


@kinds
def test_version_1_is_read_and_goes_on(kind: str, tmp_path: Path) -> None:
    lay_out(kind, tmp_path / "cache")
    cache = make(kind, tmp_path / "cache")
    assert cache.read([*CONTENT, GONE]) == [*CONTENT.values(), None]
    batch = Batch()
    for key, value in CONTENT.items():
        batch.require(key, value).set(key, f"{value} again")
    cache.apply(batch)
    cache.reopen()
    assert cache.read([*CONTENT, GONE]) == [*(f"{value} again" for value in CONTENT.values()), None]


@kinds
def test_version_1_is_still_what_is_written(kind: str, tmp_path: Path) -> None:
    """What changes here can be read by no older version: it needs a new number, and a golden file of its own."""
    lay_out(kind, tmp_path / "golden")
    cache = make(kind, tmp_path / "cache")
    write(cache)
    if kind == "local_lmdb":
        _lmdb_environment.close(cache._environment())
        assert _records(tmp_path / "cache") == _records(tmp_path / "golden")
    else:
        assert _texts(tmp_path / "cache") == _texts(tmp_path / "golden")


def _records(path: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(os.fspath(path), readonly=True, lock=False) as env, env.begin() as txn:
        return list(txn.cursor())


def _texts(path: Path) -> dict[str, tuple[str, bytes]]:
    files = [file for file in path.rglob("*") if file.is_file() and file.name != ".lock"]
    return {str(file.relative_to(path)): (file.read_text(), _signature(file)) for file in files}


def _signature(file: Path) -> bytes:
    with contextlib.suppress(OSError):
        return os.getxattr(file, "user.grove.blake3")
    return b""


def test_the_journal_of_version_1_is_carried_out(tmp_path: Path) -> None:
    cache = make("local_file", tmp_path / "cache")
    cache.apply(Batch().set(A, "old").set(B, "old"))
    rest = f'[["{A.pk}", "all", "n\\u00e9w"], ["{B.pk}", "all", null]]'
    # 32 hex digits of BLAKE3 over the second line.
    (tmp_path / "cache" / ".journal").write_text(f"grove-journal-1 c2273201322a05046c6114bad57304ce\n{rest}")
    assert cache.read([A, B]) == ["néw", None]


# --- newer formats ---


def test_a_newer_cache_is_refused_untouched(tmp_path: Path) -> None:
    """Whatever its records are like: they come after the format."""
    path = tmp_path / "cache"
    local_lmdb.Handler(path).set(*A, "1")
    _lmdb_environment.close(local_lmdb.Handler(path)._environment())
    with lmdb.open(os.fspath(path), map_size=1 << 28) as env, env.begin(write=True) as txn:
        assert txn.get(b"\0format") == b"1"
        txn.put(b"\0format", b"2")
        txn.put(f"{A.pk}\0all".encode(), b"\x09 as only version 2 understands")
    before = (path / "data.mdb").read_bytes()
    for _ in range(2):
        with pytest.raises(CorruptStateError, match=f"{re.escape(str(path))}.*newer Grove"):
            local_lmdb.Handler(path).setup()
    assert (path / "data.mdb").read_bytes() == before


def test_a_record_of_a_newer_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    cache = local_lmdb.Handler(path)
    cache.apply(Batch().set(A, "1").set(B, "2"))
    stored, kind, body = f"{A.pk}\0all".encode(), b"\x4d", b"?"
    with cache._environment()._env.begin(write=True) as txn:
        txn.put(stored, kind + blake3(kind + stored + b"\0" + body).digest(8) + body)
    cache.reopen()
    for work in (lambda: cache.get(*A), lambda: cache.set(*A, "2", constraint="1"), lambda: cache.scan("")):
        with pytest.raises(CorruptStateError, match=f"{re.escape(A.pk)}.*{re.escape(str(path))}.*newer Grove"):
            work()
    assert cache.get(*B) == "2"


# --- names ---

# Up to 4 KiB, and what caches are likely to stumble over.
PARTS = st.one_of(
    st.text(max_size=12),
    st.text(alphabet=st.characters(), max_size=8),
    st.text(alphabet="ab./%~\0 \ud800é", max_size=12),
    st.builds(lambda text, times: (text * times)[:4096], st.text(min_size=1, max_size=3), st.integers(1, 4096)),
)
KEYS = st.builds(Key, PARTS, PARTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("examples", [60, pytest.param(3_000, marks=pytest.mark.long)])
def test_no_two_keys_are_one(kind: str, shm: Path, examples: int) -> None:
    @settings(max_examples=examples)
    @given(st.dictionaries(KEYS, st.text(min_size=1, max_size=20), max_size=6))
    def check(values: dict[Key, str]) -> None:
        cache = make(kind, tempfile.mkdtemp(dir=shm))
        kept = {}
        for key, value in values.items():
            try:
                cache.set(*key, value, not_set=True)
                kept[key] = value
            except ValueError:
                # Refused by name, not cut or confused.
                assert not key.pk or "\0" in key.pk
        assert cache.read(list(kept)) == list(kept.values())
        found = dict(cache.scan(""))
        if kind == "local_lmdb":
            assert found == kept
        for key, value in kept.items():
            assert found.get(key, value) == value
            cache.delete(*key, constraint=value)
        assert dict(cache.scan("")) == {}
        if kind == "local_lmdb":
            _lmdb_environment.close(cache._environment())

    check()


def test_a_key_that_looks_like_a_hashed_one_is_hashed(tmp_path: Path) -> None:
    """What stands for a long key in LMDB is its beginning, two NULs and a hash: no short key may lie there."""
    path = tmp_path / "cache"
    key = Key("p" * 250, "s" * 5 + "\0\0" + "x" * 32)
    cache = local_lmdb.Handler(path)
    cache.set(*key, "1")
    assert cache.get(*key) == "1"
    assert dict(cache.scan("p")) == {key: "1"}
    _lmdb_environment.close(cache._environment())
    assert f"{key.pk}\0{key.sk}".encode() not in dict(_records(path))
