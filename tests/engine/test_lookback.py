"""Hashes of late arrivals: kept in buckets, read as needed, expired in bulk."""

import pytest

from grove.caches import Batch, Key
from grove.caches.local_memory import Handler as MemoryCache
from grove.lookback import Lookback, earlier_pointer, span_of


@pytest.fixture
def cache():
    handler = MemoryCache()
    handler.setup()
    handler.reset()
    yield handler
    handler.reset()


def lookback(cache, seconds=3600.0, head=None):
    return Lookback(cache, lambda kind: Key(kind, "all"), seconds, head)


def digest(number):
    return f"{number:032x}"


def store(cache, book, pointer):
    _, records = book.changes(pointer)
    batch = Batch()
    for key, value in records.items():
        if value is None:
            batch.delete(key)
        else:
            batch.set(key, value)
    cache.apply(batch)
    return records


@pytest.mark.parametrize(
    ("pointer", "seconds", "expected"),
    [
        ("2025-03-04T10:11:12.345Z", 60, "2025-03-04T10:10:12.345Z"),
        ("2025-03-04T00:00:30+02:00", 60, "2025-03-03T23:59:30+02:00"),
        ("2025-03-04 10:11:12", 3600, "2025-03-04 09:11:12"),
        ("2025-03-04", 3600, "2025-03-03"),
        ("1741083072", 60, "1741083012"),
        ("1741083072345", 60, "1741083012345"),
        ("Tue, 04 Mar 2025 10:11:12 +0000", 60, "Tue, 04 Mar 2025 10:10:12 +0000"),
        ("an-opaque-cursor", 60, "an-opaque-cursor"),
        ("2025-03-04T10:11:12Z", 0, "2025-03-04T10:11:12Z"),
    ],
)
def test_a_pointer_is_moved_back_in_its_own_format(pointer, seconds, expected):
    assert earlier_pointer(pointer, seconds) == expected


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("1741083072", 2),
        ("1741083072345", 2_000),
        ("1741083072345678", 2_000_000),
        ("1741083072345678901", 2_000_000_000),
        ("2025-01-01T00:00:00Z", 2_000_000_000),
        ("2025-01-01", 1),
        ("opaque", None),
    ],
)
def test_seconds_are_counted_in_the_unit_of_the_pointer(pointer, expected):
    assert span_of(pointer, 2) == expected


def test_what_a_page_delivered_is_known_to_the_next_run(cache):
    book = lookback(cache)
    book.note("1741083072", digest(1))
    store(cache, book, "1741083072")
    again = lookback(cache, head=book.head)
    assert again.known("1741083072", digest(1))
    assert not again.known("1741083072", digest(2))
    assert not again.known("1741083073", digest(3))


def test_whole_buckets_expire_below_the_pointer_minus_lookback(cache):
    book = lookback(cache, seconds=640)
    book.note("1000000", digest(1))
    book.note("1000600", digest(2))
    store(cache, book, "1000600")
    removed = store(cache, book, "1000800")
    assert list(removed.values()) == [None]
    assert not lookback(cache, 640, book.head).known("1000000", digest(1))
    assert lookback(cache, 640, book.head).known("1000600", digest(2))


def test_many_expired_records_leave_in_bounded_portions(cache):
    book = lookback(cache, seconds=640)
    for number in range(200):
        book.note("1000000", digest(number))
        store(cache, book, "1000000")
    rounds = 0
    while book.head is not None:
        assert len(store(cache, book, "2000000")) <= 64
        rounds += 1
        assert rounds < 10
    assert not list(cache.scan("lookback-"))


def test_all_that_is_kept_is_listed(cache):
    book = lookback(cache, seconds=640)
    for pointer, number in (("1000000", 1), ("1000000", 2), ("1000600", 3)):
        book.note(pointer, digest(number))
        store(cache, book, "1000600")
    kept = [key for key, _ in cache.scan("lookback-")]
    assert sorted(book.records()) == sorted(kept)
    assert len(kept) == 3


def test_an_opaque_pointer_is_neither_kept_nor_known(cache):
    book = lookback(cache)
    book.note("opaque", digest(1))
    assert not book.known("opaque", digest(1))
    assert book.changes("opaque") == (None, {})
