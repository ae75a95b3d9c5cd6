"""Salesforce's event log files: which ones, how far within them, what is in them, and how much of them is held."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grove.connectors.rest import times
from grove.connectors.sf import _files
from grove.exceptions import RequestFailedException
from grove.testing.practice import read_delivered

from .conftest import Stream
from .event_log_memory import LargeFile
from .vendor import NOW, SECOND, Answered, Asked, moment
from .vendors.salesforce import WRITTEN, EventLogVendor, refused

vendor_only = pytest.mark.parametrize("vendor", ["sf_event_log"], indirect=True)
HEADER = '"EVENT_TYPE","TIMESTAMP","REQUEST_ID","MESSAGE","TIMESTAMP_DERIVED"\n'


def files_asked(vendor: EventLogVendor, since: int = 0) -> list[str]:
    return [asked.path.split("/")[-2] for asked in vendor.asked[since:] if asked.path.endswith("/LogFile")]


# --- which files ---


@vendor_only
def test_hourly_files_in_place_of_daily_ones(stream: Stream, vendor: EventLogVendor) -> None:
    assert stream.run(interval="Hourly").outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert {vendor.files[name]["Interval"] for name in files_asked(vendor)} == {"Hourly"}
    assert stream.connector(interval="Hourly").cache_key() != stream.connector().cache_key()


@vendor_only
def test_one_type_of_event(stream: Stream, vendor: EventLogVendor) -> None:
    assert stream.run(operation="Login").outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert "AND EventType = 'Login'" in vendor.asked[0].query["q"]


@vendor_only
def test_the_first_run_asks_by_days_and_later_ones_by_when_files_were_generated(
    stream: Stream, vendor: EventLogVendor
) -> None:
    assert stream.run().outcome == "succeeded"
    assert "WHERE LogDate >= 2026-11-17T00:00:00.000Z" in vendor.asked[0].query["q"]
    before = len(vendor.asked)
    # Of days ago, and generated just now.
    late = vendor.add(vendor.content([(moment("2026-11-20T08:00:00Z"), vendor.first)]), LogDate="2026-11-20T00:00:00Z")
    assert stream.run().outcome == "succeeded"
    assert "WHERE CreatedDate >= 2026-11-24T0" in vendor.asked[before].query["q"]
    assert files_asked(vendor, before) == [late["Id"]]
    assert stream.delivered() == list(range(vendor.first + 1))


@vendor_only
def test_a_file_that_turns_up_after_one_that_was_generated_later(stream: Stream, vendor: EventLogVendor) -> None:
    assert stream.run().outcome == "succeeded"
    at = times.written(vendor.generated - 1800 * SECOND, WRITTEN)
    vendor.add(vendor.content([(moment("2026-11-24T01:00:00Z"), vendor.first)]), CreatedDate=at)
    assert stream.run().outcome == "succeeded"
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 1))


@vendor_only
@pytest.mark.parametrize(("lookback", "expected"), [(3 * 86_400, 1), (0, 1001)])
def test_a_file_that_is_generated_once_more(
    stream: Stream, vendor: EventLogVendor, lookback: int, expected: int
) -> None:
    assert stream.run(lookback=lookback).outcome == "succeeded"
    late = (vendor.entries[500][0], len(vendor.entries))
    vendor.entries.append(late)
    vendor.add(vendor.content([*vendor.entries[:1000], late]))
    assert stream.run(lookback=lookback).outcome == "succeeded"
    assert len(stream.delivered()) == vendor.first + expected
    assert set(stream.delivered()) == set(range(vendor.first + 1))


@vendor_only
def test_what_is_remembered_does_not_grow_for_ever(stream: Stream, vendor: EventLogVendor) -> None:
    for _ in range(100):
        vendor.offer(1)
    assert stream.run().outcome == "succeeded"
    done = json.loads(stream.connector().cursor or "")["done"]
    # One a minute, daily and hourly in turn; those of an hour.
    assert len(done) <= 32
    assert stream.delivered() == list(range(vendor.first + 100))


@vendor_only
@pytest.mark.parametrize(("operation", "skipped"), [("Login", 1200), ("all", 0)])
def test_a_pointer_of_an_earlier_deployment(
    stream: Stream, vendor: EventLogVendor, operation: str, skipped: int
) -> None:
    at = vendor.entries[1200][0]
    skipped = next(number for moment, number in vendor.entries if moment == at) if skipped else 0
    stream.connector(operation=operation).pointer = str(times.written(at, "iso_ms"))

    class Crashing(stream.kind):  # type: ignore[name-defined, misc]
        def save(self, entries: list[Any], cursor: str | None = None) -> None:
            super().save(entries, cursor)
            raise SystemExit

    with pytest.raises(SystemExit):
        stream.run(Crashing, operation=operation)
    assert stream.run(operation=operation).outcome == "succeeded"
    assert "WHERE LogDate >= 2026-11-23T00:00:00.000Z" in vendor.asked[0].query["q"]
    assert stream.delivered() == list(range(skipped, vendor.first))


@vendor_only
def test_there_is_no_span_of_the_past(stream: Stream, vendor: EventLogVendor) -> None:
    assert "generated" in stream.connector().no_past()


@vendor_only
def test_a_file_without_an_address(stream: Stream, vendor: EventLogVendor) -> None:
    vendor.add(b"", LogFile=None)
    assert "without its id, address or date" in str(stream.run().failure)


# --- how far within them ---


@vendor_only
def test_a_file_is_gone_on_with_where_it_was_left(stream: Stream, vendor: EventLogVendor) -> None:
    vendor.compact()
    vendor.page_size = 9_000
    vendor.offer(9_000)
    large = next(name for name, file in vendor.files.items() if file["Interval"] == "Daily")

    class Crashing(stream.kind):  # type: ignore[name-defined, misc]
        def save(self, entries: list[Any], cursor: str | None = None) -> None:
            super().save(entries, cursor)
            raise SystemExit

    sizes = []
    for _ in range(3):
        with pytest.raises(SystemExit):
            stream.run(Crashing)
        sizes.append(len(stream.delivered()))
    assert 0 < sizes[0] < sizes[1] < sizes[2] < 9_000
    vendor.offer(10)
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(9_010))
    assert files_asked(vendor).count(large) == 4


@vendor_only
def test_a_download_that_breaks_off_keeps_what_came(
    stream: Stream, vendor: EventLogVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.compact()
    vendor.page_size = 9_000
    vendor.offer(9_000)
    stream_of = _files.rows

    def broken(pieces: Any) -> Any:
        for number, row in enumerate(stream_of(pieces)):
            if number == 5_000:
                raise RequestFailedException("GET host/path failed: its answer was cut off.")
            yield row

    monkeypatch.setattr("grove.connectors.sf.event_log.rows", broken)
    assert "cut off" in str(stream.run().failure)
    assert 0 < len(stream.delivered()) <= 5_000
    monkeypatch.undo()
    assert stream.run().outcome == "succeeded"


# --- what is in them ---


@vendor_only
def test_rows_without_a_derived_time(stream: Stream, vendor: EventLogVendor) -> None:
    vendor.files.clear()
    rows = '"API","20260304101112.345","7","",""\n"API","soon","9","",""\n'
    vendor.add((HEADER + rows).encode(), LogDate="2026-11-23T00:00:00.000+0000")
    plain = '"EVENT_TYPE","TIMESTAMP","REQUEST_ID","MESSAGE"\n"Older","20260304101112.345","8",""\n'
    vendor.add(plain.encode())
    assert stream.run().outcome == "succeeded"
    found = {entry["REQUEST_ID"]: entry["TIMESTAMP_DERIVED"] for entry in read_delivered(stream.path)}
    assert found == {
        "7": "2026-03-04T10:11:12.345Z",
        "8": "2026-03-04T10:11:12.345Z",
        "9": "2026-11-23T00:00:00.000+0000",
    }


@vendor_only
def test_a_file_of_nothing_is_done(stream: Stream, vendor: EventLogVendor) -> None:
    vendor.files.clear()
    for content in (b"", HEADER.encode(), b"\n"):
        vendor.add(content)
    assert stream.run().outcome == "succeeded"
    before = len(vendor.asked)
    assert stream.run().outcome == "succeeded"
    assert files_asked(vendor, before) == []


@vendor_only
def test_a_file_that_is_shorter_than_it_should_be_is_told(
    stream: Stream, vendor: EventLogVendor, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.files["0AT0"]["LogFileLength"] += 1
    assert stream.run().outcome == "succeeded"
    assert [record.file for record in caplog.records if record.msg.startswith("An event log file is shorter")] == [
        "0AT0"
    ]


@vendor_only
def test_a_page_in_place_of_a_file(stream: Stream, vendor: EventLogVendor) -> None:
    vendor.contents["0AT0"] = b"<html><body>Sign in</body></html>"
    assert "something else came" in str(stream.run().failure)
    assert stream.delivered() == []


@vendor_only
def test_a_file_that_the_user_may_not_read(stream: Stream, vendor: EventLogVendor) -> None:
    hidden = refused(403, "INSUFFICIENT_ACCESS", "no access").answer

    def answer(asked: Asked) -> Answered | None:
        return hidden if asked.path.endswith("/LogFile") else None

    vendor.intercept = answer
    assert "View Event Log Files" in str(stream.run().failure)


def rows(*pieces: str) -> list[dict[str, str]]:
    return list(_files.rows(piece.encode() for piece in pieces))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (('a,b\n1,"x\ny"\n',), [{"a": "1", "b": "x\ny"}]),
        (('\ufeff"a","b"\r\n"1","2"\r\n',), [{"a": "1", "b": "2"}]),
        (('a\n"x', 'y""', '"\n'), [{"a": 'xy"'}]),
        (("a,b\n1\n",), [{"a": "1", "b": ""}]),
        (("a\n1,2\n",), [{"a": "1"}]),
        (("a\n1\n\n2",), [{"a": "1"}, {"a": "2"}]),
        (("a\n", '"' + "x" * 200_000 + '"\n'), [{"a": "x" * 200_000}]),
    ],
)
def test_csv(pieces: tuple[str, ...], expected: list[dict[str, str]]) -> None:
    assert rows(*pieces) == expected
    assert rows(*"".join(pieces)) == expected, "a character at a time"


def test_a_character_that_is_cut_in_two() -> None:
    whole = "a\nü\n".encode()
    assert list(_files.rows([whole[:3], whole[3:]])) == [{"a": "ü"}]


@pytest.mark.parametrize("text", ['"' + "x" * 300, "x" * 300])
def test_a_line_that_never_ends(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "_LONGEST_LINE", 1_000)
    with pytest.raises(RequestFailedException, match="longer than"):
        rows("a\n", *[text] * 10)


def test_batches_are_small_in_rows_and_in_characters() -> None:
    assert [len(batch) for batch in _files.batches({"a": "1"} for _ in range(4_500))] == [2_000, 2_000, 500]
    large = [{"a": "x" * 1_500_000} for _ in range(7)]
    assert [len(batch) for batch in _files.batches(large)] == [3, 3, 1]


def test_a_place_among_files() -> None:
    place = _files.Place(7)
    assert place.since is None
    first = times.nanoseconds(NOW)
    place.after("old", first - 7200 * SECOND)
    stored = place.after("new", first)
    again = _files.Place.decode(stored)
    assert (again.begin, again.done) == (7, {"new": first})
    assert again.since == first - 3600 * SECOND
    assert _files.Place.decode(again.at("next", 20)).rows_of("next") == 20
    assert _files.Place.decode(again.at("next", 20)).rows_of("new") == 0
    for text in ("", "[]", "{}", '{"begin":1,"done":[],"current":["",0]}', '{"begin":1,"done":{},"current":0}'):
        with pytest.raises(ValueError):
            _files.Place.decode(text)


# --- how much of them is held ---


@pytest.mark.parametrize("count", [50_000, pytest.param(200_000, marks=pytest.mark.long)])
def test_a_large_file_is_not_held(tmp_path: Path, count: int) -> None:
    (tmp_path / "out").mkdir()
    environment = {
        **os.environ,
        "GROVE_CACHE_LOCAL_LMDB_PATH": str(tmp_path / "cache"),
        "GROVE_OUTPUT_LOCAL_FILE_PATH": str(tmp_path / "out"),
    }
    with LargeFile(count) as org:
        done = subprocess.run(
            [sys.executable, "-m", "tests.sources.event_log_memory", org.url],
            capture_output=True,
            text=True,
            env=environment,
        )
    assert done.returncode == 0, done.stderr
    delivered, grown = map(int, done.stdout.split())
    assert delivered == count
    assert org.sent > 100_000_000
    assert grown * 1024 < 48 * 1024 * 1024, f"{grown} KiB for a file of {org.sent} bytes"
