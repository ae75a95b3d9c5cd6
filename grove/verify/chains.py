"""The manifests of an archive: whether every line is there, unaltered, and follows the one before."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from grove.caches import BaseCache
from grove.exceptions import CorruptStateError, DataFormatException
from grove.manifest import FOLDER, SUFFIX, Line, decode_chains
from grove.state import MANIFEST
from grove.verify.report import Report

__all__ = ["ChainLines", "Known", "Manifests", "known_chains"]

Stream = tuple[str, str, str]
"""Connector, identity and operation, as names in the archive spell them."""

_FILE = re.compile(
    rf"{re.escape(FOLDER)}/(?P<connector>[^/]+)/(?P<identity>[^/]+)/"
    rf"(?P<operation>[^/]+)-(?P<chain>[0-9a-f]{{16}})\.\d+-[0-9a-f]{{8}}{re.escape(SUFFIX)}"
)


# --- what the cache knows ---


@dataclass(frozen=True, slots=True)
class Known:
    """A chain as the cache knows it: its lines, the hash of the last one, where it lies, and lines not yet safe."""

    id: str
    lines: int
    head: str | None
    stream: str
    home: str = ""
    tail: str = ""


def known_chains(cache: BaseCache) -> dict[str, Known]:
    """Every chain that `cache` knows, by its id. Errors are the cache's; NotImplementedException where it has no list.

    CorruptStateError names the stream of a record that cannot be read.
    """
    found: dict[str, Known] = {}
    for key, text in cache.scan(f"{MANIFEST}."):
        stream = f"{key.pk.removeprefix(f'{MANIFEST}.')}/{key.sk}"
        try:
            chains = decode_chains(text)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise CorruptStateError(f"The cached manifest of stream {stream} cannot be read.") from err
        for chain in chains.values():
            home = str(chain.place["home"])
            found[chain.id] = Known(chain.id, chain.lines, chain.head, stream, home, chain.tail)
            for name, lines, head in chain.ended:
                found[name] = Known(name, lines, head, stream)
    return found


# --- what the archive has ---


@dataclass(slots=True)
class ChainLines:
    """One chain of an archive: its lines by number, with their hash and the file each is in.

    `damaged` are the numbers, as far as can be told, of lines that cannot be read.
    """

    id: str
    stream: Stream = ("", "", "")
    lines: dict[int, tuple[Line, str, str]] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)

    @property
    def place(self) -> str:
        """What findings call it."""
        return f"{FOLDER}/{'/'.join(self.stream)}-{self.id}"

    @property
    def last(self) -> int:
        """The number of the last line."""
        return max((*self.lines, *self.damaged), default=0)

    @property
    def sequence(self) -> int:
        """The last commit that has a line."""
        return max((line.sequence for line, _, _ in self.lines.values()), default=0)


class Manifests:
    """All lines of an archive. `objects` has the line of each object; `doubted` are named by damaged lines."""

    def __init__(self, report: Report) -> None:
        self.chains: dict[str, ChainLines] = {}
        self.objects: dict[str, Line] = {}
        self.doubted: set[str] = set()
        self._report = report

    # --- reading ---

    def read(self, name: str, content: bytes) -> None:
        """Take in one file of lines, called `name`."""
        place = _FILE.fullmatch(name)
        if place is None:
            self._report.add("added", name, "This is no manifest that Grove has written.")
            return
        chain = self.chains.setdefault(place["chain"], ChainLines(place["chain"]))
        chain.stream = (place["connector"], place["identity"], place["operation"])
        # A line without its end is no finding: a disk was full, or the power went, and the stream's next run completes
        # it. Where it was cut by hand, its object has no line or is missing as well.
        *whole, _ = content.split(b"\n")
        previous, seen = 0, set[int]()
        for stored in whole:
            try:
                line, digest = Line.decode(stored)
            except DataFormatException as err:
                previous += 1
                self._damaged(chain, name, previous, stored, err)
                continue
            if self._fits(chain, name, line, previous, seen):
                self._keep(chain, name, line, digest)
                seen.add(line.line)
                previous = max(previous, line.line)

    def _damaged(self, chain: ChainLines, name: str, number: int, stored: bytes, err: DataFormatException) -> None:
        chain.damaged.add(number)
        found = re.search(rb'"object":"([^"\\]+)","entries"', stored)
        claimed = found[1].decode("ascii", "replace") if found else ""
        self.doubted.add(claimed)
        of = f" (of {claimed})" if claimed else ""
        self._report.add(
            "line_altered", claimed or name, f"Line {number}{of} in {name} was altered: {err}.", chain.id, number
        )

    def _fits(self, chain: ChainLines, name: str, line: Line, previous: int, seen: set[int]) -> bool:
        """Whether `line` may be the next one of its file; findings where it stands in the wrong place."""
        what, why = "", ""
        if line.chain != chain.id:
            what, why = "line_moved", f"belongs to the chain {line.chain}, and was moved here"
        elif line.line in seen:
            what, why = "line_repeated", "is there twice"
        elif line.line < previous:
            what, why = "line_moved", f"stands after line {previous}"
        if what:
            message = f"Line {line.line} (of {line.object}) in {name} {why}."
            self._report.add(what, line.object, message, chain.id, line.line)
        return what != "line_repeated" and line.chain == chain.id

    def _keep(self, chain: ChainLines, name: str, line: Line, digest: str) -> None:
        other = chain.lines.get(line.line)
        if other is not None:
            # The very same line in two files is one: the first file was taken away, and has come back.
            if other[1] != digest:
                self._report.add(
                    "line_forged",
                    line.object,
                    f"Line {line.line} is one thing in {other[2]} and another in {name}. One of them was forged, or "
                    "the cache was set back to an older state.",
                    chain.id,
                    line.line,
                )
            return
        chain.lines[line.line] = (line, digest, name)
        twice = self.objects.setdefault(line.object, line)
        if twice is not line:
            self._report.add(
                "line_repeated",
                line.object,
                f"Line {twice.line} of chain {twice.chain} and line {line.line} of chain {line.chain} name one object.",
                chain.id,
                line.line,
            )

    # --- judging ---

    def judge(self) -> None:
        """Findings where lines are missing, or do not follow each other."""
        for chain in self.chains.values():
            present = chain.lines.keys() | chain.damaged
            for first, last in _spans(number for number in range(1, chain.last) if number not in present):
                after = chain.lines.get(last + 1)
                before = f", before that of {after[0].object}" if after else ""
                self._report.add(
                    "line_missing",
                    chain.place,
                    f"{_lines(first, last)} missing{before}: removed, with what they say.",
                    chain.id,
                    first,
                )
            for number, (line, _, name) in chain.lines.items():
                known = chain.lines.get(number - 1)
                follows = known is None or line.previous == known[1]
                if not follows or (number == 1 and line.previous is not None):
                    message = f"Line {number} in {name} does not follow line {number - 1}: one of them was replaced."
                    self._report.add("line_forged", line.object, message, chain.id, number)

    def take_tails(self, known: Iterable[Known], homes: set[str]) -> None:
        """Count lines as written that the cache still carries: the stream's next run writes them where they are not."""
        for one in known:
            if one.tail and (one.id in self.chains or one.home in homes):
                chain = self.chains.setdefault(one.id, ChainLines(one.id))
                for stored in one.tail.encode().splitlines():
                    line, digest = Line.decode(stored)
                    if line.line not in chain.lines:
                        self._keep(chain, "the cache", line, digest)

    def judge_ends(self, before: Mapping[str, Known], after: Mapping[str, Known], homes: set[str]) -> None:
        """Compare the ends of all chains with what the cache knew before and after the manifests were read."""
        for known in before.values():
            if known.home in homes and known.id not in self.chains and known.lines:
                message = f"The whole manifest of stream {known.stream} is missing, {known.lines} lines of it."
                self._report.add("line_missing", "", message, known.id, 1)
        for chain in self.chains.values():
            then, now = before.get(chain.id), after.get(chain.id)
            if now is None:
                message = (
                    f"The cache does not know the chain {chain.id}: it was forged, or the cache is another one than "
                    "that of the time."
                )
                self._report.add("unknown_chain", chain.place, message, chain.id)
                continue
            if then is not None:
                self._judge_end(chain, then)
            if chain.last > now.lines:
                message = (
                    f"{_lines(now.lines + 1, chain.last)} there, and the cache knows of {now.lines} in all: they were "
                    "added, or the cache was set back to an older state."
                )
                self._report.add("line_added", chain.place, message, chain.id, now.lines + 1)

    def _judge_end(self, chain: ChainLines, known: Known) -> None:
        if chain.last < known.lines:
            message = f"{_lines(chain.last + 1, known.lines)} missing: the end was cut off, with what it says."
            self._report.add("line_missing", chain.place, message, chain.id, chain.last + 1)
            return
        there = chain.lines.get(known.lines)
        if there is not None and there[1] != known.head:
            message = f"Line {known.lines} in {there[2]} is not the one that the cache knows: the chain was forged."
            self._report.add("line_forged", there[0].object, message, chain.id, known.lines)

    def gaps(self) -> Mapping[Stream, list[tuple[str, str]]]:
        """By stream, the spans of time in which objects may have been delivered without a line."""
        gaps: dict[Stream, list[tuple[str, str]]] = defaultdict(list)
        for chain in self.chains.values():
            spans = gaps[chain.stream]
            for number, (line, _, _) in chain.lines.items():
                if line.gap:
                    before = chain.lines.get(number - 1)
                    spans.append((before[0].time if before else "", line.time))
        return gaps


def _lines(first: int, last: int) -> str:
    return f"Line {first} is" if first == last else f"Lines {first} to {last} are"


def _spans(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as spans of neighbours."""
    first = last = 0
    for number in numbers:
        if first and number == last + 1:
            last = number
            continue
        if first:
            yield first, last
        first = last = number
    if first:
        yield first, last
