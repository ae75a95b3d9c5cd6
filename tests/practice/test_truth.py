"""A lost, a doubled, a foreign entry and a damaged file are found."""

import gzip
import json

import pytest

from grove.exceptions import DataFormatException
from grove.testing.practice import PracticeAPI, compare, read_delivered

ENTRIES = PracticeAPI(5).offered


def test_what_is_equal_is_exact():
    delivered = [{**entry, "_grove": {"pointer": None}} for entry in reversed(ENTRIES)]
    report = compare(ENTRIES, delivered)
    assert report.exact
    assert (report.offered, report.delivered) == (5, 5)
    assert str(report) == "offered 5, delivered 5"


def test_what_is_lost_twice_or_foreign_is_found():
    delivered = [*ENTRIES[1:], ENTRIES[2], ENTRIES[2], {**ENTRIES[3], "actor": "somebody else"}]
    report = compare(ENTRIES, delivered)
    assert not report.exact
    assert report.lost == ENTRIES[:1]
    assert report.twice == [ENTRIES[2], ENTRIES[2]]
    assert report.foreign == [{**ENTRIES[3], "actor": "somebody else"}]
    assert report.expired == []
    assert "lost 1" in str(report)
    assert "e-0000000" in str(report)


@pytest.mark.parametrize(("copies", "lost", "twice"), [(1, 1, 0), (2, 0, 0), (3, 0, 1)])
def test_equal_entries_are_counted(copies, lost, twice):
    twin = {"at": "2025-01-01"}
    report = compare([twin, dict(twin)], [twin] * copies)
    assert (len(report.lost), len(report.twice)) == (lost, twice)


def test_what_the_source_dropped_is_not_lost():
    report = compare(ENTRIES, ENTRIES[2:4], ENTRIES[1:])
    assert (report.expired, report.lost) == (ENTRIES[:1], [ENTRIES[1], ENTRIES[4]])
    report = compare(ENTRIES, ENTRIES[1:], ENTRIES[1:])
    assert report.exact


@pytest.mark.parametrize("value", [1, 1.0, True, "1", None, [1]])
def test_values_that_look_alike_are_told_apart(value):
    others = [{"a": other} for other in (1, 1.0, True, "1", None, [1]) if repr(other) != repr(value)]
    assert compare([{"a": value}], others).lost == [{"a": value}]


def test_files_are_read_wherever_they_lie(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.json.gz").write_bytes(gzip.compress(b'{"a":"\xc3\xbc"}\n{"b":"\\r"}\n', mtime=0))
    (tmp_path / "a" / "2.json.gz").write_bytes(gzip.compress(b'{"c":1}\n', mtime=0) + gzip.compress(b'{"d":1}\n'))
    (tmp_path / "a" / ".3.json.gz").write_bytes(b"not yet")
    (tmp_path / "a" / ".4.tmp").write_bytes(b"not yet")
    assert sorted(map(json.dumps, read_delivered(tmp_path))) == sorted(
        map(json.dumps, [{"a": "ü"}, {"b": "\r"}, {"c": 1}, {"d": 1}])
    )


WHOLE = gzip.compress(b'{"a":1}\n{"a":2}\n', mtime=0)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "complete line"),
        *((WHOLE[:size], "gzip") for size in range(1, len(WHOLE), 5)),
        (WHOLE[:-4] + b"\0\0\0\0", "gzip"),
        (WHOLE + b"junk", "gzip"),
        (b'{"a":1}\n', "gzip"),
        (gzip.compress(b"", mtime=0), "complete line"),
        (gzip.compress(b'{"a":1}\n{"a":2}', mtime=0), "complete line"),
        (gzip.compress(b'{"a":1}\n\n', mtime=0), "Line 2"),
        (gzip.compress(b'{"a":1}\n[1]\n', mtime=0), "Line 2.*object"),
        (gzip.compress(b'{"a":NaN}\n', mtime=0), "NaN"),
        (gzip.compress(b'{"a":"\xff"}\n', mtime=0), "Line 1"),
    ],
)
def test_a_file_that_is_not_whole_is_named(tmp_path, data, problem):
    (tmp_path / "good.json.gz").write_bytes(WHOLE)
    (tmp_path / "torn.json.gz").write_bytes(data)
    with pytest.raises(DataFormatException, match=problem) as caught:
        read_delivered(tmp_path)
    assert "torn.json.gz" in str(caught.value)
