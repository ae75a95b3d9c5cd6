"""Moments as vendors write them, and the spans that are asked for."""

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grove.connectors.rest import times

MOMENT = times.nanoseconds(datetime(2026, 3, 4, 5, 6, 7, 891_234, tzinfo=UTC)) + 567


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("iso", "2026-03-04T05:06:07Z"),
        ("iso_ms", "2026-03-04T05:06:07.891Z"),
        ("iso_us", "2026-03-04T05:06:07.891234Z"),
        ("epoch", 1772600767),
        ("epoch_ms", 1772600767891),
        ("epoch_us", 1772600767891234),
        ("date", "2026-03-04"),
        ("%m/%d/%Y", "03/04/2026"),
        ("%Y-%m-%dT%H:%M:%S.%f+0000", "2026-03-04T05:06:07.891234+0000"),
    ],
)
def test_formats_round_down(form: str, text: str | int) -> None:
    assert times.written(MOMENT, form) == text
    assert times.check_format(form) == form


def test_what_is_no_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'rfc3339' is no format of time; use epoch, .*iso"):
        times.check_format("rfc3339")


@pytest.mark.parametrize(
    ("pointer", "seconds"),
    [
        ("1772600767", 1772600767),
        ("1772600767891", 1772600767.891),
        ("1772600767891234", 1772600767.891234),
        ("2026-03-04T05:06:07Z", 1772600767),
        ("2026-03-04 07:06:07+02:00", 1772600767),
        ("Wed, 04 Mar 2026 05:06:07 -0000", 1772600767),
        ("2026-03-04", 1772582400),
    ],
)
def test_what_a_pointer_says(pointer: str, seconds: float) -> None:
    assert times.moment_of(pointer) == pytest.approx(seconds * 10**9, abs=100)


@pytest.mark.parametrize(
    ("form", "finest"),
    [
        ("iso", times.SECOND),
        ("iso_ms", 10**6),
        ("iso_us", 10**3),
        ("epoch", times.SECOND),
        ("epoch_ms", 10**6),
        ("date", 86_400 * times.SECOND),
        ("%m/%d/%Y", 86_400 * times.SECOND),
        ("%Y-%m-%dT%H:%M:%S+0000", times.SECOND),
    ],
)
def test_which_moments_a_format_can_say(form: str, finest: int) -> None:
    rounded = MOMENT // finest * finest
    assert times.is_exact(rounded, form)
    assert not times.is_exact(rounded + 1, form)
    assert not times.is_exact(rounded + finest // 10 + 1, form)


def test_an_opaque_pointer_says_nothing() -> None:
    assert times.moment_of("Q1VSU09S") is None


@given(st.integers(0, 2 * 10**18))
def test_what_is_written_is_read_again(moment: int) -> None:
    for form, unit in (("iso", 10**9), ("iso_ms", 10**6), ("iso_us", 10**3)):
        assert times.moment_of(str(times.written(moment, form))) == moment // unit * unit


@given(st.integers(0, 10**15), st.integers(0, 10**13), st.floats(1, 10**5), st.booleans())
def test_spans_cover_everything_in_order(since: int, length: int, longest: float, newest_first: bool) -> None:
    found = list(times.spans(since, since + length, longest, newest_first=newest_first))
    assert all(end - begin <= longest * 10**9 for begin, end in found if begin is not None)
    rising = found[::-1] if newest_first else found
    assert (rising[0][0], rising[-1][1]) == (since, since + length)
    assert all(one[1] == next_one[0] for one, next_one in itertools.pairwise(rising))


def test_nothing_is_split_without_a_beginning_or_a_limit() -> None:
    assert list(times.spans(None, 5, 1.0, newest_first=False)) == [(None, 5)]
    assert list(times.spans(1, 5, None, newest_first=True)) == [(1, 5)]
