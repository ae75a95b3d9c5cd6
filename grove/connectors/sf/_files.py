"""Files of CSV, row by row, and how far a stream has come with them."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from grove.connectors.rest import HOUR, times
from grove.exceptions import RequestFailedException

__all__ = ["Place", "batches", "rows"]

# By how much a file may turn up after one that was generated later.
_LATE = HOUR * times.SECOND
_MOST_ROWS = 2_000
_MOST_CHARACTERS = 4 * 1024 * 1024
_LONGEST_LINE = 16 * 1024 * 1024

# A limit of the whole process, and only ever raised here. Queries and stack traces are longer than 128 KiB.
csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_LINE))


@dataclass(slots=True)
class Place:
    """Which files are done: their ids, with the moments at which they were generated.

    Of the file in hand, `current`, the first `saved` rows are done. `begin` is the moment from which on there were
    events to collect before any file was done.
    """

    begin: int
    done: dict[str, int] = field(default_factory=dict)
    current: str = ""
    saved: int = 0

    @classmethod
    def decode(cls, text: str) -> Place:
        """The place that `encode` wrote; ValueError where it is none."""
        try:
            found = json.loads(text)
            done = {str(name): int(moment) for name, moment in found["done"].items()}
            return cls(int(found["begin"]), done, *found["current"])
        except (TypeError, KeyError, AttributeError) as err:
            raise ValueError(f"{text[:100]!r} is no place among files") from err

    def encode(self) -> str:
        """The stored form: compact JSON."""
        stored = {"begin": self.begin, "done": self.done, "current": [self.current, self.saved]}
        return json.dumps(stored, separators=(",", ":"))

    @property
    def since(self) -> int | None:
        """The moment from which on files may have been generated that are not done; None before the first was."""
        return max(self.done.values()) - _LATE if self.done else None

    def rows_of(self, name: str) -> int:
        """How many rows of a file are done."""
        return self.saved if name == self.current else 0

    def at(self, name: str, saved: int) -> str:
        """The place, in its stored form, where that many rows of a file are done."""
        self.current, self.saved = name, saved
        return self.encode()

    def after(self, name: str, moment: int) -> str:
        """The place, in its stored form, where a file is done that was generated at `moment`."""
        self.done[name] = moment
        self.current, self.saved = "", 0
        since = self.since or 0
        self.done = {name: moment for name, moment in self.done.items() if moment >= since}
        return self.encode()


def rows(pieces: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """The rows of a CSV file in UTF-8 that arrives in pieces, by the names in its first one.

    RequestFailedException where it is no CSV.
    """
    reader = csv.reader(_lines(pieces))
    try:
        header = next(reader, [])
        if header and header[0].lstrip().startswith("<"):
            raise RequestFailedException("A file of CSV was asked for, and something else came.")
        for row in reader:
            if row:
                yield dict(itertools.zip_longest(header, row[: len(header)], fillvalue=""))
    except csv.Error as err:
        raise RequestFailedException(f"Line {reader.line_num} of a file is no CSV: {err}.") from err


def batches(found: Iterable[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Rows in lists that are small enough to be held, and large enough to be worth an object."""
    batch: list[dict[str, str]] = []
    size = 0
    for row in found:
        batch.append(row)
        size += sum(map(len, row.values()))
        if len(batch) >= _MOST_ROWS or size >= _MOST_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    begun: list[bytes] = []
    size = 0
    mark = "\ufeff"
    for piece in pieces:
        whole, end, rest = piece.rpartition(b"\n")
        if end:
            for line in b"".join((*begun, whole)).split(b"\n"):
                yield line.decode("utf-8", "replace").removeprefix(mark) + "\n"
                mark = ""
            begun, size = [], 0
        begun.append(rest)
        size += len(rest)
        if size > _LONGEST_LINE:
            raise RequestFailedException(f"A line of a file is longer than {_LONGEST_LINE:,} bytes.")
    yield b"".join(begun).decode("utf-8", "replace").removeprefix(mark)
