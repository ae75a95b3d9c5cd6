"""The decisions about pointers, boundaries and intervals, without any state around them."""

import pytest

from grove import _core
from grove.window import (
    Boundary,
    Interval,
    NewestFirst,
    OldestFirst,
    decode_intervals,
    encode_intervals,
    later,
    merge,
)


def remembered(seen, pointers, salt=""):
    entries = [{"p": pointer, "n": f"{salt}{index}"} for index, pointer in enumerate(pointers)]
    seen.remember(pointers, _core.encode(entries, None))
    return {_core.hash_entry(entry) for entry in entries}


def oldest_first(pointer=None, boundary=None):
    seen = _core.Seen()
    return OldestFirst(pointer, boundary or Boundary(), seen), seen


def newest_first(pointer=None, intervals=(), boundary=None):
    seen = _core.Seen()
    for span in intervals:
        seen.add(span.high, span.high_hashes)
        seen.add(span.low, span.low_hashes)
    return NewestFirst(pointer, boundary or Boundary(), list(intervals), seen), seen


def take(progress, seen, pointers, salt=""):
    remembered(seen, pointers, salt)
    return progress.advance(pointers, pointers)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("9", "10", "10"),
        ("10", "9", "10"),
        ("2025-01-01T00:00:00Z", "2025-01-01T01:00:00+02:00", "2025-01-01T00:00:00Z"),
        ("2025-01-01", "2024-12-31", "2025-01-01"),
        ("opaque-a", "opaque-b", "opaque-b"),
        (None, "1", "1"),
        ("1", None, "1"),
    ],
)
def test_later_compares_values_and_not_text(first, second, expected):
    assert later(first, second) == expected


def test_oldest_first_follows_the_newest_entry():
    progress, seen = oldest_first("1")
    change = take(progress, seen, ["1", "2", "3"])
    assert (change.pointer, progress.shown) == ("3", "3")
    assert change.boundary is not None
    assert len(change.boundary.hashes) == 1


def test_oldest_first_never_moves_back():
    progress, seen = oldest_first("5")
    change = take(progress, seen, ["2", "3"])
    assert change.pointer is None
    assert progress.shown == "5"


def test_a_page_out_of_order_holds_the_committed_pointer_until_the_end():
    progress, seen = oldest_first("1")
    assert take(progress, seen, ["2", "5"]).pointer == "5"
    broken = take(progress, seen, ["4", "9"], "b")
    assert broken.mismatch
    assert broken.pointer is None
    assert progress.shown == "9"
    assert not take(progress, seen, ["10"], "c").mismatch
    assert progress.finish(complete=False) is None
    closing = progress.finish(complete=True)
    assert closing is not None
    assert closing.pointer == "10"


def test_ties_across_pages_share_one_boundary():
    progress, seen = oldest_first()
    first = take(progress, seen, ["1", "2", "2"])
    second = take(progress, seen, ["2", "2"], "b")
    assert second.pointer is None
    assert len(first.boundary.hashes) == 2
    assert len(second.boundary.hashes) == 4


def test_a_boundary_of_an_earlier_run_is_merged_with_new_ties():
    old = Boundary("2", {"0" * 32})
    progress, seen = oldest_first("2", old)
    seen.add("2", old.hashes)
    change = take(progress, seen, ["2"])
    assert "0" * 32 in change.boundary.hashes
    assert len(change.boundary.hashes) == 2


def test_an_opaque_pointer_is_the_last_entry_oldest_first():
    progress, seen = oldest_first("tok-9")
    assert take(progress, seen, ["tok-b", "tok-a"]).pointer == "tok-a"


def test_an_opaque_pointer_is_the_first_entry_newest_first():
    progress, seen = newest_first("tok-0")
    assert take(progress, seen, ["tok-9", "tok-8"]).pointer is None
    assert take(progress, seen, ["tok-7"], "b").intervals is None
    assert progress.finish(complete=True).pointer == "tok-9"


def test_newest_first_keeps_the_pointer_until_the_collection_is_complete():
    progress, seen = newest_first("1")
    change = take(progress, seen, ["9", "8"])
    assert change.pointer is None
    assert [(span.high, span.low) for span in change.intervals] == [("9", "8")]
    assert progress.shown == "1"
    assert progress.finish(complete=False) is None
    closing = progress.finish(complete=True)
    assert (closing.pointer, closing.intervals) == ("9", [])


def test_an_interrupted_collection_is_skipped_strictly_inside():
    span = Interval("9", "5", {"a" * 32}, {"b" * 32})
    progress, _ = newest_first("1", [span])
    pointers = ["12", "9", "8", "6", "5", "4"]
    kept = progress.covered(pointers, list(range(len(pointers))), 0)
    assert [pointers[index] for index in kept] == ["12", "9", "5", "4"]


def test_lookback_keeps_intervals_out_of_the_newest_part():
    progress, _ = newest_first("1", [Interval("9", "5")])
    pointers = ["10", "8", "7", "6"]
    kept = progress.covered(pointers, [0, 1, 2, 3], 3)
    assert [pointers[index] for index in kept] == ["10", "8", "7"]


def test_touching_intervals_stay_apart_and_overlapping_ones_join():
    older = Interval("5", "2", {"h"}, {"l"})
    assert len(merge(Interval("9", "5"), [older])) == 2
    joined = merge(Interval("9", "4"), [older])
    assert [(span.high, span.low) for span in joined] == [("9", "2")]
    assert joined[0].low_hashes == {"l"}


def test_a_page_that_ascends_withdraws_the_interval_of_its_run():
    progress, seen = newest_first("1")
    assert take(progress, seen, ["9", "8"]).intervals
    change = take(progress, seen, ["6", "7"], "b")
    assert change.mismatch
    assert change.intervals == []
    assert take(progress, seen, ["5"], "c").intervals is None
    assert progress.finish(complete=True).pointer == "9"


def test_completion_reaches_the_newest_interval_of_an_earlier_run():
    progress, seen = newest_first("1", [Interval("20", "15", {"c" * 32}, {"d" * 32})])
    take(progress, seen, ["18", "17"])
    closing = progress.finish(complete=True)
    assert closing.pointer == "20"
    assert closing.boundary.hashes == {"c" * 32}


def test_intervals_survive_storing():
    spans = [Interval("9", "5", {"a", "b"}, {"c"}), Interval("3", "2")]
    assert decode_intervals(encode_intervals(spans)) == spans
    assert encode_intervals([]) is None


def test_a_boundary_survives_storing():
    boundary = Boundary("2025-01-01", {"a", "b"})
    assert Boundary.decode(boundary.encode()) == boundary
