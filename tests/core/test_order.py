"""Ranks and the order of a page: integers, instants in every form of time zone, dates; all else is opaque."""

from typing import Any

import pytest
from hypothesis import example, given, settings

from grove import _core
from tests import reference
from tests.strategies import pointer_lists, pointer_texts

NOON = 1_741_089_600_000_000_000  # 2025-03-04T12:00:00Z in nanoseconds


@settings(max_examples=500)
@given(pointer_texts)
@example("-" + "9" * 640)
@example("9" * 641)
@example("9223372036854775807")
@example("9223372036854775808")
@example("18446744073709551616")
@example("-9223372036854775808")
@example("Mon, 31 Feb 2025 10:00:00 GMT")
def test_rank_is_that_of_the_reference(pointer: str) -> None:
    assert _core.rank(pointer) == reference.rank(pointer)


@settings(max_examples=500)
@given(pointer_lists)
@example(["5", "05", "5"])
@example(["1", "9" * 30, "2"])
@example(["2025-03-04T12:00:00Z", "2025-03-04T13:00:00+01:00"])
@example(["2025-03-04T12:00:00.1Z", "2025-03-04T12:00:00.10Z"])
def test_order_is_that_of_the_reference(pointers: list[str]) -> None:
    assert _core.order(pointers) == reference.order(pointers)


@pytest.mark.parametrize(
    "pointer",
    [
        "2025-03-04T12:00:00Z",
        "2025-03-04t12:00:00z",
        "2025-03-04 12:00:00",
        "2025-03-04T12:00:00",
        "2025-03-04T12:00Z",
        "2025-03-04T12:00:00+00:00",
        "2025-03-04T12:00:00-00:00",
        "2025-03-04T12:00:00+0000",
        "2025-03-04T12:00:00+00",
        "2025-03-04T13:30:00+01:30",
        "2025-03-04T06:30:00-0530",
        "2025-03-05T02:00:00+14",
        "2025-03-04 04:00:00.000 -0800",
        "2025-03-04 12:00:00 UTC",
        "2025-03-04 12:00:00.000000UTC",
        "2025-03-04T12:00:00,000GMT",
        "2025-03-04T11:59:60Z",
        "Tue, 04 Mar 2025 12:00:00 GMT",
        "Tue, 4 Mar 2025 12:00:00 +0000",
        "4 Mar 2025 12:00 -0000",
        "Tue, 04 Mar 2025 07:00:00 EST",
    ],
)
def test_one_instant_in_every_form(pointer: str) -> None:
    assert _core.rank(pointer) == (2, NOON)


@pytest.mark.parametrize(
    ("pointer", "rank"),
    [
        ("0", (1, 0)),
        ("-0", (1, 0)),
        ("007", (1, 7)),
        ("-12", (1, -12)),
        ("1741083072345678901", (1, 1741083072345678901)),
        ("20250304", (1, 20250304)),
        ("1970-01-01", (3, 0)),
        ("2025-03-04", (3, 20151)),
        ("2025-03-04T12:00:00.123456789Z", (2, NOON + 123456789)),
        ("2025-03-04T12:00:00.1234567899Z", (2, NOON + 123456789)),
        ("2025-03-04T12:00:00.5Z", (2, NOON + 500_000_000)),
        ("1969-12-31T23:59:59.5Z", (2, -500_000_000)),
        ("0001-01-01T00:00:00Z", (2, -62_135_596_800 * 10**9)),
        ("9999-12-31T23:59:59Z", (2, 253_402_300_799 * 10**9)),
    ],
)
def test_ranks(pointer: str, rank: tuple[int, int]) -> None:
    assert _core.rank(pointer) == rank


@pytest.mark.parametrize(
    "pointer",
    [
        "",
        "-",
        "+5",
        "1.5",
        "1e5",
        " 5",
        "5 ",
        "\u0665",
        "abc",
        "2025-02-30",
        "2025-3-4",
        "2025-03-04T",
        "2025-03-04T12",
        "2025-03-04T12:00:",
        "2025-03-04T12:00:0",
        "2025-03-04T24:00:00Z",
        "2025-03-04T12:00:61Z",
        "2025-03-04T12:00:00.Z",
        "2025-03-04T12:00:00+24:00",
        "2025-03-04T12:00:00+1",
        "2025-03-04T12:00:00+020",
        "2025-03-04T12:00:00+02-00",
        "2025-03-04T12:00:00 ",
        "2025-03-04_12:00:00",
        "20250304T120000Z",
        "0000-01-01",
        "Tue, 04 Mar 2025 12:00:00 CEST",
        "Tue, 04 Mar 2025 12:00:00",
        "Tue Mar  4 12:00:00 2025",
        "None",
        "True",
    ],
)
def test_opaque_pointers(pointer: str) -> None:
    assert _core.rank(pointer) is None
    assert _core.order([pointer]) is None


@pytest.mark.parametrize("mixed", [[], ["1", "2025-03-04"], ["1", "x"], [None, None], [1], ["9" * 700, "1"]])
def test_nothing_is_said_of_no_or_mixed_pointers(mixed: list[Any]) -> None:
    assert _core.order(mixed) is None


def test_none_is_left_out() -> None:
    assert _core.order([None, "3", None, "5", None]) == _core.order(["3", "5"]) is not None


def test_low_and_high_are_the_first_of_their_equals() -> None:
    first, second = "2025-03-04T12:00:00Z", "2025-03-04T13:00:00+01:00"
    found = _core.order([first, second])
    assert found is not None
    assert (found.low, found.high, found.ascending, found.descending) == (first, first, True, True)
