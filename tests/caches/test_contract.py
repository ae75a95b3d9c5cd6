"""Every cache of this package, and two as others write them, keep to the contract."""

import inspect
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from grove.caches import BaseCache, Key, local_file, local_lmdb, local_memory
from grove.exceptions import DataFormatException, NotFoundException
from grove.testing.cache_contract import CacheContract


class _PlainCache(BaseCache):
    """What a plugin offers that was written for `get`, `set` and `delete`."""

    SCOPE: ClassVar[str] = "process"
    stores: ClassVar[dict[Path, dict[Key, str]]] = {}

    def __init__(self, path: Path) -> None:
        self.values = self.stores.setdefault(path, {})
        self.guard = threading.Lock()

    def get(self, pk: str, sk: str) -> str:
        with self.guard:
            if Key(pk, sk) not in self.values:
                raise NotFoundException("nothing there")
            return self.values[Key(pk, sk)]

    def set(self, pk: str, sk: str, value: str, not_set: bool | None = False, constraint: str | None = None) -> None:
        if not_set and constraint is not None:
            raise ValueError("both")
        with self.guard:
            found = self.values.get(Key(pk, sk))
            if (not_set and found is not None) or (constraint is not None and found != constraint):
                raise DataFormatException("not so")
            self.values[Key(pk, sk)] = value

    def delete(self, pk: str, sk: str, constraint: str | None = None) -> None:
        with self.guard:
            found = self.values.get(Key(pk, sk))
            if found is None:
                raise NotFoundException("nothing there")
            if constraint is not None and found != constraint:
                raise DataFormatException("not so")
            del self.values[Key(pk, sk)]


class _UnconditionalCache(_PlainCache):
    """The same, from before there were constraints."""

    def set(self, pk: str, sk: str, value: str, not_set: bool | None = False) -> None:  # type: ignore[override]
        super().set(pk, sk, value, not_set)


class TestLmdb(CacheContract):
    def make_cache(self, tmp_path: Path) -> BaseCache:
        return local_lmdb.Handler(tmp_path / "cache")


class TestFile(CacheContract):
    def make_cache(self, tmp_path: Path) -> BaseCache:
        return local_file.Handler(tmp_path / "cache")


class TestMemory(CacheContract):
    def make_cache(self, tmp_path: Path) -> BaseCache:
        handler = local_memory.Handler()
        handler._data = _memories.setdefault(tmp_path, {})
        return handler


_memories: dict[Path, dict[str, dict[str, str]]] = {}


class TestPlain(CacheContract):
    def make_cache(self, tmp_path: Path) -> BaseCache:
        return _PlainCache(tmp_path)


class TestUnconditional(CacheContract):
    def make_cache(self, tmp_path: Path) -> BaseCache:
        return _UnconditionalCache(tmp_path)

    @pytest.fixture(autouse=True)
    def _without_constraint(self, request: pytest.FixtureRequest) -> None:
        source = inspect.getsource(request.function)
        if ("constraint=" in source and ".set(" in source) or "_applies_its_batch" in request.node.name:
            pytest.skip("its set() takes no constraint, so nothing is fenced")

    def test_it_is_not_fenced(self, cache: BaseCache) -> None:
        assert not cache.fenced


@pytest.mark.parametrize("kind", [TestLmdb, TestFile, TestMemory, TestPlain])
def test_conditions_are_said_to_hold(kind: type[CacheContract], tmp_path: Path) -> None:
    assert kind().make_cache(tmp_path).fenced


@pytest.mark.parametrize("kind", [TestLmdb, TestFile, TestMemory])
def test_what_is_no_text_is_refused(kind: type[CacheContract], tmp_path: Path) -> None:
    cache = kind().make_cache(tmp_path)
    cache.setup()
    with pytest.raises(TypeError):
        cache.set("pointer.a", "all", 5)  # type: ignore[arg-type]
    assert cache.read([Key("pointer.a", "all")]) == [None]
