"""Entries that JSON hardly allows arrive all the same, once, and as what they say."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from grove.testing.practice import PracticeAPI
from grove.testing.practice_bodies import Verbatim, substituted

from .streams import Stream

ORDERS = ["oldest_first", "newest_first"]

AT = "2025-03-04T10:11:11.500Z"


def entry(text: str | bytes, value: Any) -> Verbatim:
    """An entry with `text` as one of its values, which is to be delivered as `value`."""
    data = text if isinstance(text, bytes) else text.encode()
    return Verbatim({"id": "odd", "at": AT, "value": value}, b'{"id":"odd","at":"%b","value":%b}' % (AT.encode(), data))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ENTRIES = {
    "2**63": entry(str(2**63), 2**63),
    "2**64": entry(str(2**64), 2**64),
    "-(2**63)-1": entry(str(-(2**63) - 1), -(2**63) - 1),
    "30 digits": entry("123456789012345678901234567890", 123456789012345678901234567890),
    "4,000 digits": entry("7" * 4_000, int("7" * 4_000)),
    "30 digits in a text": entry('"123456789012345678901234567890"', "123456789012345678901234567890"),
    "a long fraction": entry("0.1234567890123456789012345", 0.1234567890123456789012345),
    "a tiny number": entry("1e-400", 0.0),
    "an exponent": entry("1E+2", 100.0),
    "minus zero": entry("-0.0", -0.0),
    "NaN": entry("NaN", "NaN"),
    "Infinity": entry("Infinity", "Infinity"),
    "-Infinity": entry("-Infinity", "-Infinity"),
    "too large a number": entry("1e400", float("inf")),
    "too long a number": entry("7" * 5_000, "7" * 5_000),
    "NaN within": entry('{"a":[NaN,1]}', {"a": ["NaN", 1]}),
    "half a surrogate pair": entry(r'"\ud83d"', "\ud83d"),
    "an escaped pair": entry(r'"\ud83d\ude00"', "😀"),
    "a zero": entry(r'"a\u0000b"', "a\0b"),
    "line separators": entry('"a\u2028b\u2029c\u0085d"', "a\u2028b\u2029c\u0085d"),
    "an escaped line": entry(r'"a\r\nb"', "a\r\nb"),
    "blanks": entry("[ 1 ,\n\t2\r ]", [1, 2]),
    "a key twice": entry('1,"value":2,"value":3', 3),
    "an empty key": entry('{"":{"":1}}', {"": {"": 1}}),
    "a key with a dot": entry('{"a.b":1,"@c":2,"\'":3}', {"a.b": 1, "@c": 2, "'": 3}),
    "its own _grove": Verbatim({"id": "odd", "at": AT}, b'{"id":"odd","at":"%b","_grove":{"mine":1}}' % AT.encode()),
    "100 levels": entry("[" * 100 + "1" + "]" * 100, nested(100)),
    "254 levels": entry("[" * 254 + "1" + "]" * 254, nested(254)),
    "500 levels": entry("[" * 500 + "1" + "]" * 500, nested(500)),
    "900 levels": entry("[" * 900 + "1" + "]" * 900, nested(900)),
    "a megabyte": entry('"' + "x" * 10**6 + '"', "x" * 10**6),
    "bytes that are no UTF-8": entry(b'"caf\xe9 \xff\xfe"', "caf\ufffd \ufffd\ufffd"),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ENTRIES)
def test_it_arrives_as_what_it_says(stream: Stream, order: Any, name: str) -> None:
    odd = ENTRIES[name]
    with PracticeAPI(8, order=order, page_size=5) as api:
        api.offer([odd])
        assert stream.run(api, lookback=30).outcome == "succeeded"
        # It lies on the boundary in the next runs, and is known by its hash.
        api.offer([{"id": "plain", "at": AT}])
        for _ in range(2):
            run = stream.run(api, lookback=30)
            assert run.outcome == "succeeded", run.failure
            api.offer(3)
        assert stream.run(api, lookback=30).outcome == "succeeded"
        report = stream.compare(api)
        assert report.exact, name


@pytest.mark.parametrize("order", ORDERS)
def test_all_of_them_in_one_page(stream: Stream, order: Any) -> None:
    with PracticeAPI(3, order=order) as api:
        api.offer(ENTRIES.values())
        for _ in range(2):
            run = stream.run(api, lookback=30)
            assert run.outcome == "succeeded", run.failure
            assert stream.compare(api).exact


@pytest.mark.parametrize("order", ORDERS)
def test_entries_that_differ_only_in_what_json_cannot_say(stream: Stream, order: Any) -> None:
    texts = {
        "null": None,
        '"NaN "': "NaN ",
        "NaN": "NaN",
        str(10**20): 10**20,
        str(10**20 + 1): 10**20 + 1,
        "1e20": 1e20,
    }
    with PracticeAPI(order=order, page_size=2, paging="cursor") as api:
        api.offer([Verbatim({"at": AT, "value": value}, _text(text)) for text, value in texts.items()])
        for _ in range(2):
            assert stream.run(api).outcome == "succeeded"
            assert stream.compare(api).exact


def _text(value: str) -> bytes:
    return json.dumps({"at": AT, "value": 0}).replace(": 0", f": {value}").encode()


def test_bytes_that_are_no_utf_8_are_told(stream: Stream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with PracticeAPI(3) as api:
        api.offer([ENTRIES["bytes that are no UTF-8"]])
        assert stream.run(api).outcome == "succeeded"
    assert "invalid_bytes" in [record.event for record in caplog.records if hasattr(record, "event")]


@pytest.mark.parametrize("order", ORDERS)
def test_null_among_the_entries(stream: Stream, order: Any) -> None:
    with PracticeAPI(20, order=order, page_size=5) as api:
        api.fault([2, 3], substituted(b'"entries":[', b'"entries":[null,'))
        assert stream.run(api).outcome == "succeeded"
        assert stream.compare(api).exact


@pytest.mark.parametrize("order", ORDERS)
def test_twins_in_one_page_are_two(stream: Stream, order: Any) -> None:
    twin = {"id": "twin", "at": AT}
    with PracticeAPI(7, order=order, page_size=50) as api:
        api.offer([dict(twin), dict(twin)])
        for _ in range(2):
            assert stream.run(api, lookback=30).outcome == "succeeded"
            assert stream.compare(api).exact
            api.offer(3)
