"""State as HashiCorp's Grove leaves it, in files and in DynamoDB, in the middle of anything: each stream goes on there.

What is written here are the files and items themselves, as that package writes them.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from grove.caches import BaseCache, Key, aws_dynamodb, local_file, local_lmdb
from grove.cli.convert import convert
from grove.exceptions import ConcurrencyException
from grove.helpers import aws
from grove.outputs.local_file import Handler as FileOutput
from grove.testing.practice import read_delivered
from tests.cli.here import run_here
from tests.reliability.truth import CONTEXT, Newest, Oldest, Source, document, pointer_of
from tests.servers import Server
from tests.tables import CREDENTIALS, REGION, plain_client, table

IDENTITY = hashlib.md5(b"corp").hexdigest()
PAGE = 3


class Stored:
    """A cache that another deployment has filled."""

    def __init__(self, kind: str, path: Path, server: Server) -> None:
        self._kind = kind
        self._path = path
        self._server = server

    def fill(self, facts: dict[str, str], operation: str = "all") -> None:
        """Write these facts of the stream, by kind."""
        for kind, value in facts.items():
            pk = f"{kind}.made_up.{IDENTITY}"
            if self._kind == "aws_dynamodb":
                item = {"pk": {"S": pk}, "sk": {"S": operation}, "data": {"S": value}}
                plain_client(self._server.port).put_item(TableName=self._path.name, Item=item)
                continue
            (self._path / pk).mkdir(parents=True, exist_ok=True)
            (self._path / pk / f"{operation}.cache").write_text(value)

    def open(self) -> BaseCache:
        """The cache as this package opens it; what is to be converted is."""
        cache: BaseCache
        if self._kind == "aws_dynamodb":
            url = f"http://127.0.0.1:{self._server.port}"
            cache = aws_dynamodb.Handler(url=url, table=self._path.name, table_region=REGION)
        elif self._kind == "converted":
            target = self._path.parent / "lmdb"
            done = run_here(convert, str(self._path), "--to", str(target), "--yes")
            assert done.code == 0, done.err
            cache = local_lmdb.Handler(target)
        else:
            cache = local_file.Handler(self._path)
        cache.setup()
        return cache


@pytest.fixture(params=["local_file", "aws_dynamodb", "converted"])
def stored(
    request: pytest.FixtureRequest, tmp_path: Path, moto: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stored]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    place = tmp_path / f"grove-{tmp_path.name}"
    with table(moto.port, place.name):
        yield Stored(request.param, place, moto)
    aws._forget_clients()


class Stream:
    """Collects a source with what is stored, into files."""

    def __init__(self, source: Source, kind: type[Oldest], root: Path) -> None:
        self.source = source
        self._kind = kind
        self._out = root / "out"

    def run(self, cache: BaseCache, **fields: Any) -> str:
        """One run; how it ended."""
        self._out.mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(self._out))
            output = FileOutput()
        output.setup()
        connector = self._kind(document(**fields), CONTEXT, cache=cache, output=output)
        connector.source = self.source
        connector.run()
        outcome: str = connector.outcome
        return outcome

    def delivered(self) -> list[int]:
        """The ids of what has been delivered, in order."""
        return sorted(entry["id"] for entry in read_delivered(self._out))


def md5(source: Source, *numbers: int) -> str:
    """The list of hashes that is kept for entries at the pointer."""
    entries = {entry["id"]: entry for entry in source.query(None, newest_first=False)}
    texts = [json.dumps(entries[number], separators=(",", ":")).encode() for number in numbers]
    return json.dumps([hashlib.md5(text).hexdigest() for text in texts], separators=(",", ":"))


def moment(seconds: float) -> str:
    """A lock that runs out so many seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def offered(kind: str, *ranks: int) -> Source:
    source = Source(kind=kind, page_size=PAGE)
    source.add(*ranks)
    return source


def reference(cache: BaseCache, kind: str, operation: str = "all") -> str | None:
    return cache.read([Key(f"{kind}.made_up.{IDENTITY}", operation)])[0]


# --- oldest first ---


@pytest.mark.parametrize("kind", ["iso", "integer"])
def test_killed_in_the_middle_oldest_first(stored: Stored, tmp_path: Path, kind: str) -> None:
    """It had delivered 0 to 4, of which 3 and 4 are at the pointer, and held the lock."""
    source = offered(kind, 1, 2, 3, 4, 4, 4, 5, 6, 7)
    stored.fill(
        {
            "pointer": str(pointer_of(4, kind)),
            "pointer_previous": str(pointer_of(3, kind)),
            "deduplication": md5(source, 3, 4),
            "execution_lock": moment(-3600),
            "last_run": "2025-03-30T01:00:00Z",
        }
    )
    cache, stream = stored.open(), Stream(source, Oldest, tmp_path)
    assert stream.run(cache) == "succeeded"
    assert stream.delivered() == [5, 6, 7, 8]
    assert reference(cache, "pointer") == str(pointer_of(7, kind))
    assert reference(cache, "execution_lock") is None
    # From here on the hashes are ours.
    source.add(7, 8)
    assert stream.run(cache) == "succeeded"
    assert stream.delivered() == [5, 6, 7, 8, 9, 10]


def test_a_window_of_another_order_is_no_pointer(stored: Stored, tmp_path: Path) -> None:
    """A stream that was newest first once has a stale window; that package then asks from its end for ever."""
    source = offered("iso", *range(1, 10))
    window = {"window_start": str(pointer_of(9, "iso")), "window_end": str(pointer_of(8, "iso"))}
    stored.fill({"pointer": str(pointer_of(5, "iso")), "deduplication": md5(source, 4), **window})
    cache, stream = stored.open(), Stream(source, Oldest, tmp_path)
    assert stream.run(cache) == "succeeded"
    assert stream.delivered() == [5, 6, 7, 8]


# --- newest first ---


def _in_flight(source: Source, kind: str) -> dict[str, str]:
    """After the first two of three pages: 11 to 6 are delivered, 5 to 3 are not, 2 is at the pointer."""
    return {
        "pointer": str(pointer_of(3, kind)),
        "pointer_previous": str(pointer_of(1, kind)),
        "pointer_next": str(pointer_of(12, kind)),
        "window_start": str(pointer_of(12, kind)),
        "window_end": str(pointer_of(7, kind)),
        "deduplication": md5(source, 2),
        "execution_lock": moment(-3600),
        "last_run": "2025-03-30T01:00:00Z",
    }


@pytest.mark.parametrize("kind", ["iso", "integer"])
@pytest.mark.parametrize("more", [0, 4], ids=["nothing new", "new ones"])
def test_a_window_in_flight_newest_first(stored: Stored, tmp_path: Path, kind: str, more: int) -> None:
    source = offered(kind, *range(1, 13))
    stored.fill(_in_flight(source, kind))
    source.add(*range(13, 13 + more))
    cache, stream = stored.open(), Stream(source, Newest, tmp_path)
    assert stream.run(cache) == "succeeded"
    counted = Counter(stream.delivered())
    missing = {3, 4, 5, *range(12, 12 + more)}
    assert missing <= counted.keys()
    # What was at the ends of the window has no hash that was kept: it may be there once more.
    assert counted.keys() - missing <= {6, 11}
    assert set(counted.values()) == {1}
    assert reference(cache, "pointer") == str(pointer_of(12 + more, kind))
    assert [cache.read([Key(f"{name}.made_up.{IDENTITY}", "all")]) for name in ("window_start", "window_end")] == [
        [None],
        [None],
    ]
    before = stream.delivered()
    assert stream.run(cache) == "succeeded"
    assert stream.delivered() == before


def test_a_window_whose_end_is_no_longer_there_loses_nothing(stored: Stored, tmp_path: Path) -> None:
    """Retention has taken 6, where the window ends, so that it would never be passed."""
    source = offered("iso", *range(1, 13))
    stored.fill(_in_flight(source, "iso"))
    source.entries.remove((7, 6))
    cache, stream = stored.open(), Stream(source, Newest, tmp_path)
    assert stream.run(cache) == "succeeded"
    assert {3, 4, 5} <= set(stream.delivered()) <= {3, 4, 5, 11}


def test_a_window_in_flight_survives_another_interruption(stored: Stored, tmp_path: Path) -> None:
    """The first run here fails, too: nothing is lost, and the window's inside is not delivered again."""
    source = offered("iso", *range(1, 13))
    stored.fill(_in_flight(source, "iso"))
    source.add(*range(13, 17))

    def fail(number: int) -> None:
        if number == 1:
            raise OSError("made up")

    source.before_page = fail
    cache, stream = stored.open(), Stream(source, Newest, tmp_path)
    assert stream.run(cache) == "failed"
    assert reference(cache, "pointer") == str(pointer_of(3, "iso"))
    source.before_page = lambda number: None
    source.add(17)
    assert stream.run(cache) == "succeeded"
    counted = Counter(stream.delivered())
    missing = {3, 4, 5, *range(12, 17)}
    assert missing <= counted.keys() and counted.keys() - missing <= {6, 11}
    assert all(counted[number] == 1 for number in missing)


def test_half_a_window_is_none(stored: Stored, tmp_path: Path) -> None:
    """Its writer was killed between two of its writes: everything since the pointer comes again, nothing is lost."""
    source = offered("iso", *range(1, 13))
    facts = _in_flight(source, "iso")
    del facts["window_end"]
    stored.fill(facts)
    cache, stream = stored.open(), Stream(source, Newest, tmp_path)
    assert stream.run(cache) == "succeeded"
    assert stream.delivered() == list(range(3, 12))


# --- locks, and other operations ---


@pytest.mark.parametrize("kind", ["execution_lock", "last_run"])
def test_a_crash_over_what_nobody_needs_costs_nothing(stored: Stored, tmp_path: Path, kind: str) -> None:
    """That package writes files in place, and fails over an empty one until somebody removes it."""
    source = offered("iso", 1, 2, 3)
    stored.fill({"pointer": str(pointer_of(2, "iso")), "deduplication": md5(source, 1), kind: ""})
    cache, stream = stored.open(), Stream(source, Oldest, tmp_path)
    assert stream.run(cache) == "succeeded"
    assert stream.delivered() == [2]
    assert reference(cache, "last_run") is not None


@pytest.mark.parametrize("kind", [Oldest, Newest])
def test_a_lock_that_is_held_is_respected(stored: Stored, tmp_path: Path, kind: type[Oldest]) -> None:
    if stored._kind == "converted":
        pytest.skip("nothing is converted while it is being collected: tests/cli/test_convert.py")
    source = offered("iso", 1, 2, 3)
    stored.fill({"pointer": str(pointer_of(1, "iso")), "deduplication": md5(source, 0), "execution_lock": moment(60)})
    cache, stream = stored.open(), Stream(source, kind, tmp_path)
    with pytest.raises(ConcurrencyException):
        stream.run(cache)
    stored.fill({"execution_lock": moment(-3600)})
    assert stream.run(stored.open()) == "succeeded"
    assert stream.delivered() == [1, 2]


def test_operations_are_told_apart(stored: Stored, tmp_path: Path) -> None:
    source = offered("iso", 1, 2, 3)
    stored.fill({"pointer": str(pointer_of(2, "iso")), "deduplication": md5(source, 1)}, operation="team, ü")
    stored.fill({"pointer": str(pointer_of(3, "iso")), "deduplication": md5(source, 2)})
    cache, stream = stored.open(), Stream(source, Oldest, tmp_path)
    assert stream.run(cache) == "succeeded"
    assert stream.delivered() == []
    assert stream.run(cache, operation="team, ü") == "succeeded"
    assert stream.delivered() == [2]
