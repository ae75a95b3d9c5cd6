"""Many texts are found as by looking for each of them."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grove.helpers.needles import SHORTEST, Needles

# Few letters, so that needles overlap, repeat and contain each other.
TEXTS = st.text("ab", min_size=SHORTEST, max_size=8)
HAYSTACKS = st.text("ab-", max_size=60)
MANY = [f"needle-{number:03}" for number in range(200)]


def needles(*texts: str) -> Needles:
    made = Needles()
    made.add(texts)
    return made


@given(st.lists(TEXTS, max_size=8), HAYSTACKS, st.booleans())
def test_what_is_found_is_what_is_there(texts: list[str], haystack: str, many: bool) -> None:
    made = needles(*texts, *(MANY if many else ()))
    assert made.within(haystack) == any(text in haystack for text in texts)
    covered = {
        index
        for text in texts
        for start in range(len(haystack))
        if haystack.startswith(text, start)
        for index in range(start, start + len(text))
    }
    spans = made.spans(haystack)
    assert {index for start, end in spans for index in range(start, end)} == covered
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


@given(st.lists(TEXTS, max_size=8), st.lists(TEXTS, max_size=8), HAYSTACKS)
def test_what_was_discarded_is_not_looked_for(kept: list[str], gone: list[str], haystack: str) -> None:
    made = needles(*kept, *gone)
    made.discard(gone)
    assert made.spans(haystack) == needles(*kept).spans(haystack)
    assert made.within(haystack) == needles(*kept).within(haystack)
    made.discard(kept)
    assert (made._counts, made._lengths) == ({}, {})


def test_neighbours_stay_two() -> None:
    assert needles("abcd").spans("-abcdabcd-") == [(1, 5), (5, 9)]


def test_of_those_that_begin_alike_the_longest_counts() -> None:
    assert needles("abcd", "abcdefgh", "abcdef").spans("abcdefghi") == [(0, 8)]


def test_a_longer_one_that_does_not_fit_any_more_is_not_there() -> None:
    assert needles("abcde", "abcdefgh").spans("-abcde") == [(1, 6)]


def test_those_that_overlap_leave_nothing_of_either() -> None:
    assert needles("abcd", "cdefghij").spans("abcdefghij-") == [(0, 10)]


@pytest.mark.parametrize("text", ["", "a", "abc"])
def test_what_is_too_short_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="too short"):
        needles(text)


def test_it_may_change_while_it_is_searched() -> None:
    made = needles(*MANY, "always-there")
    done = threading.Event()
    changes: list[int] = []

    def change() -> None:
        while not done.is_set():
            made.discard(MANY)
            made.add(MANY)
            changes.append(1)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        while len(changes) < 50:
            assert made.within("it is always-there, needle-007")
            assert made.spans("always-there") == [(0, 12)]
    finally:
        done.set()
        thread.join()
    assert made.spans("needle-007") == [(0, 10)]
