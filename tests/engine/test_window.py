"""The decisions about pointers, boundaries and intervals, without any state around them."""

import pytest

from grove import _core, window
from grove.window import (
    Boundary,
    Interval,
    NewestFirst,
    OldestFirst,
    boundary_at,
    capped,
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
    closing = progress.finish()
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
    assert progress.finish().pointer == "tok-9"


def test_newest_first_keeps_the_pointer_until_the_collection_is_complete():
    progress, seen = newest_first("1")
    change = take(progress, seen, ["9", "8"])
    assert change.pointer is None
    assert [(span.high, span.low) for span in change.intervals] == [("9", "8")]
    assert progress.shown == "1"
    closing = progress.finish()
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
    assert progress.finish().pointer == "9"


def test_completion_reaches_the_newest_interval_of_an_earlier_run():
    progress, seen = newest_first("1", [Interval("20", "15", {"c" * 32}, {"d" * 32})])
    take(progress, seen, ["18", "17"])
    closing = progress.finish()
    assert closing.pointer == "20"
    assert closing.boundary.hashes == {"c" * 32}


def test_intervals_survive_storing():
    spans = [Interval("9", "5", {"a", "b"}, {"c"}), Interval("3", "2")]
    assert decode_intervals(encode_intervals(spans)) == spans
    assert encode_intervals([]) is None


def test_a_boundary_survives_storing():
    boundary = Boundary("2025-01-01", {"a", "b"})
    assert Boundary.decode(boundary.encode()) == boundary


# --- pointers that do not compare ---


def test_a_window_whose_ends_do_not_compare_hides_nothing_and_is_kept():
    strange = Interval("tok-9", "tok-1")
    progress, seen = newest_first("1", [strange])
    pointers = ["9", "8"]
    assert progress.covered(pointers, [0, 1], 0) == [0, 1]
    change = take(progress, seen, pointers)
    assert [(span.high, span.low) for span in change.intervals] == [("9", "8"), ("tok-9", "tok-1")]


def test_intervals_of_another_kind_hide_nothing_and_stay_apart():
    dates = Interval("2025-03-04", "2025-03-01")
    progress, seen = newest_first("1", [dates])
    # The rank of one of these lies between those of the dates.
    pointers = [str(_core.rank("2025-03-03")[1]), "8"]
    assert progress.covered(pointers, [0, 1], 0) == [0, 1]
    change = take(progress, seen, pointers)
    assert dates in change.intervals
    assert len(change.intervals) == 2


def test_of_intervals_of_two_kinds_those_like_the_newest_are_used():
    progress, _ = newest_first("1", [Interval("9", "5"), Interval("2025-03-04", "2025-03-01")])
    pointers = ["8", "2025-03-02"]
    assert progress.covered(pointers, [0, 1], 0) == [1]


def test_within_the_lookback_a_page_of_mixed_pointers_is_not_skipped():
    progress, _ = newest_first("1", [Interval("9", "5")])
    pointers = ["8", "tok", "7"]
    assert progress.covered(pointers, [0, 1, 2], 1) == [0, 1, 2]
    assert progress.covered(pointers, [0, 1, 2], 0) == [1]


def test_the_lookback_counts_from_the_newest_entry_of_the_run():
    progress, seen = newest_first("1", [Interval("9", "5")])
    take(progress, seen, ["20"])
    pointers = ["8", "7"]
    assert progress.covered(pointers, [0, 1], 3) == []
    assert progress.covered(pointers, [0, 1], 13) == [0, 1]


def test_the_lookback_does_not_count_from_a_pointer_of_another_kind():
    progress, seen = newest_first("1", [Interval("9", "5")])
    take(progress, seen, ["2025-03-04T00:00:00Z"])
    assert progress.covered(["8", "6"], [0, 1], 1) == [0]


def test_pages_whose_pointers_change_their_kind_withdraw_the_interval():
    progress, seen = newest_first("1")
    take(progress, seen, ["9", "8"])
    change = progress.advance(["2025-03-04"], [])
    assert change.mismatch
    assert change.intervals == []


def test_an_opaque_page_withdraws_the_interval_of_its_run():
    progress, seen = newest_first("1")
    take(progress, seen, ["9", "8"])
    assert take(progress, seen, ["tok"], "b").intervals == []
    assert progress.newest == "9"


# --- pages that come again ---


def test_a_page_that_comes_again_changes_nothing():
    progress, seen = newest_first("1")
    first = take(progress, seen, ["9", "8", "7"])
    assert [(span.high, span.low) for span in first.intervals] == [("9", "7")]
    again = progress.advance(["9", "8"], [])
    assert (again.mismatch, again.intervals) == (False, None)
    # What is older than all of it still counts on.
    change = take(progress, seen, ["6"], "b")
    assert [(span.high, span.low) for span in change.intervals] == [("9", "6")]


def test_new_entries_above_the_last_page_break_the_order():
    progress, seen = newest_first("1")
    take(progress, seen, ["9", "5"])
    assert take(progress, seen, ["7"], "b").mismatch
    assert not take(progress, seen, ["8"], "c").mismatch


def test_ties_with_the_end_of_the_last_page_do_not_break_the_order():
    progress, seen = newest_first("1")
    take(progress, seen, ["9", "5"])
    change = take(progress, seen, ["5", "4"], "b")
    assert not change.mismatch
    (span,) = change.intervals
    assert (span.high, span.low) == ("9", "4")


def test_both_ends_of_an_interval_keep_the_hashes_of_all_their_ties():
    progress, seen = newest_first("1")
    take(progress, seen, ["9", "9", "5"])
    (span,) = take(progress, seen, ["5"], "b").intervals
    assert (len(span.high_hashes), len(span.low_hashes)) == (2, 2)


# --- merging ---


@pytest.mark.parametrize(
    ("active", "earlier", "expected"),
    [
        (("9", "4"), [("5", "2")], [("9", "2")]),
        (("9", "1"), [("5", "2")], [("9", "1")]),
        (("9", "4"), [("12", "2")], [("12", "2")]),
        (("9", "4"), [("12", "8")], [("12", "4")]),
        (("9", "4"), [("12", "9")], [("12", "9"), ("9", "4")]),
        (("9", "4"), [("4", "2")], [("9", "4"), ("4", "2")]),
        (("9", "4"), [("6", "3"), ("3", "1")], [("9", "3"), ("3", "1")]),
        (("9", "4"), [("6", "2"), ("3", "1")], [("9", "1")]),
        (("9", "9"), [("20", "15"), ("5", "2")], [("20", "15"), ("9", "9"), ("5", "2")]),
    ],
)
def test_merging(active, earlier, expected):
    found = merge(Interval(*active), [Interval(*span) for span in earlier])
    assert [(span.high, span.low) for span in found] == expected


def test_a_merged_interval_has_the_hashes_of_its_own_ends():
    active = Interval("9", "4", {"a"}, {"b"})
    (lower,) = merge(active, [Interval("5", "2", {"c"}, {"d"})])
    assert (lower.high_hashes, lower.low_hashes) == ({"a"}, {"d"})
    (upper,) = merge(active, [Interval("12", "5", {"c"}, {"d"})])
    assert (upper.high_hashes, upper.low_hashes) == ({"c"}, {"b"})
    assert (active.high, active.low) == ("9", "4")


# --- the end ---


def test_completing_a_collection_of_nothing_changes_nothing():
    progress, _ = newest_first("5", boundary=Boundary("5", {"a" * 32}))
    change = progress.finish()
    assert (change.pointer, change.boundary, change.intervals) == (None, None, None)


def test_a_collection_of_nothing_newer_keeps_the_pointer_and_adds_to_its_boundary():
    progress, seen = newest_first("9", boundary=Boundary("9", {"a" * 32}))
    seen.add("9", {"a" * 32})
    take(progress, seen, ["9", "8"])
    change = progress.finish()
    assert change.pointer is None
    assert len(change.boundary.hashes) == 2
    assert change.intervals == []


def test_a_collection_of_what_is_known_already_changes_nothing():
    progress, seen = newest_first("9", boundary=Boundary("9", {"a" * 32}))
    seen.add("9", {"a" * 32})
    progress.advance(["9", "8"], [])
    assert progress.finish() == window.Change(intervals=[])
    assert progress.pointer == "9"


def test_a_pointer_that_was_set_has_no_boundary():
    for progress, seen in (oldest_first("5", Boundary("5", {"a" * 32})), newest_first("5")):
        progress.moved("3")
        assert (progress.pointer, progress.shown) == ("3", "3")
        change = take(progress, seen, ["3"])
        closing = progress.finish()
        boundary = change.boundary or closing.boundary
        assert (boundary.pointer, len(boundary.hashes)) == ("3", 1)


def test_nothing_that_was_held_is_nothing_to_let_go():
    progress, seen = oldest_first("1")
    take(progress, seen, ["2"])
    assert progress.finish() is None


# --- oldest first ---


def test_a_page_below_the_last_one_breaks_the_order_and_one_that_ties_does_not():
    progress, seen = oldest_first()
    take(progress, seen, ["1", "5"])
    assert not take(progress, seen, ["5", "6"], "b").mismatch
    assert take(progress, seen, ["4"], "c").mismatch


def test_what_was_delivered_before_may_come_again_in_any_order():
    progress, seen = oldest_first()
    take(progress, seen, ["1", "5"])
    assert not progress.advance(["5", "1"], []).mismatch
    assert not progress.advance(["1", "6"], ["6"]).mismatch


def test_pointers_may_change_their_kind_oldest_first():
    progress, seen = oldest_first("2025-03-04")
    take(progress, seen, ["2025-03-05"])
    change = take(progress, seen, ["7"], "b")
    assert (change.pointer, change.mismatch) == ("7", False)
    assert take(progress, seen, ["6"], "c").mismatch


# --- bounds ---


def test_a_boundary_outlives_the_pages_it_came_with():
    seen = _core.Seen(max_bytes=2)
    progress = OldestFirst(None, Boundary(), seen)
    first = remembered(seen, ["7"])
    progress.advance(["7"], ["7"])
    for number in range(4):
        remembered(seen, ["3"], f"late {number}")
    assert not first <= seen.hashes("7")
    change = take(progress, seen, ["7"], "b")
    assert change.boundary.hashes > first


def test_what_is_kept_of_too_many_hashes_is_always_the_same(monkeypatch):
    monkeypatch.setattr(window, "BOUNDARY_LIMIT", 2)
    assert capped({"c", "a", "b"}) == capped({"b", "c", "a"}) == {"a", "b"}
    assert capped({"c", "a"}) == {"c", "a"}
    assert boundary_at("7", _core.Seen(), Boundary("7", {"c", "a", "b"})).hashes == {"a", "b"}
    assert boundary_at("8", _core.Seen(), Boundary("7", {"c"})) == Boundary("8")
