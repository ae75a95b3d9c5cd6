"""R9: a full disk is named, changes nothing, and is forgotten once there is room again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from grove.caches import Batch
from grove.exceptions import AccessException
from tests.caches.programs import KINDS, A, B, fill, make, make_read_only, run, small_disk

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as root:
        yield root


# How much room is left on the disk, in bytes.
LEVELS = pytest.mark.parametrize(
    "levels", [range(0, 64 * 12288, 12288), pytest.param(range(0, 1 << 20, 4096), marks=pytest.mark.long)], ids=len
)


@LEVELS
def test_in_a_commit(kind: str, tmp_path: Path, levels: range) -> None:
    refused = 0
    for level in levels:
        with small_disk(tmp_path / str(level)) as disk:
            cache = make(kind, disk / "cache")
            cache.apply(Batch().set(A, "old").set(B, "old"))
            more_room = fill(disk, level)
            new = Batch().require(A, "old").set(A, "new").set(B, "n" * 200_000)
            try:
                cache.apply(new)
            except AccessException as err:
                refused += 1
                assert str(disk / "cache") in str(err) and "bytes free" in str(err), level
                more_room()
                cache.reopen()
                # A journal is carried out as soon as there is room: then nothing is left to do.
                if cache.read([A, B]) != ["new", "n" * 200_000]:
                    assert cache.read([A, B]) == ["old", "old"], level
                    cache.apply(new)
            else:
                more_room()
            cache.reopen()
            assert cache.read([A, B]) == ["new", "n" * 200_000], level
    assert 0 < refused < len(levels)


@LEVELS
def test_where_the_cache_is_made(kind: str, tmp_path: Path, levels: range) -> None:
    refused = 0
    for level in levels:
        with small_disk(tmp_path / str(level)) as disk:
            more_room = fill(disk, level)
            try:
                cache = make(kind, disk / "cache")
                cache.setup()
                cache.apply(Batch().set(A, "1").set(B, "2"))
            except AccessException as err:
                refused += 1
                assert str(disk / "cache") in str(err) and "bytes free" in str(err), level
            more_room()
            cache = make(kind, disk / "cache")
            if cache.read([A]) == [None]:
                cache.apply(Batch().set(A, "1").set(B, "2"))
            assert cache.read([A, B]) == ["1", "2"], level
    assert 0 < refused < len(levels)


def test_what_is_there_can_be_read(kind: str, disk: Path) -> None:
    path = disk / "cache"
    make(kind, path).apply(Batch().set(A, "1").set(B, "2"))
    fill(disk)
    assert run("print(*cache.read([A, B]))", kind, path) == "1 2\n"


def test_a_read_only_file_system_is_named(kind: str, disk: Path) -> None:
    path = disk / "cache"
    run("cache.set(*A, '1')", kind, path)
    make_read_only(disk)
    for work in ("cache.set(*A, '2')", "cache.get(*A)"):
        refusal = run(f"try: {work}\nexcept AccessException as err: print(err)", kind, path)
        assert str(path) in refusal and "read-only" in refusal


def test_a_file_that_may_not_grow(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    program = """
        import resource

        cache.apply(Batch().set(A, "old").set(B, "old"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        for _ in range(3):
            try:
                cache.apply(Batch().set(A, "new").set(B, "n" * 500_000))
            except AccessException as err:
                print("larger than allowed" in str(err) and path in str(err), *cache.read([A, B]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        cache.apply(Batch().set(A, "new").set(B, "n" * 500_000))
        print(cache.read([A, B]) == ["new", "n" * 500_000])
    """
    assert run(program, kind, path).splitlines() == [*["True old old"] * 3, "True"]
