"""Evidence: a stream's manifest, one line for each object that it has delivered, each chained to the line before.

A line names the object, its size and BLAKE3, its entries, the first and last pointer of the page it came from, the
commit and the time, and ends in its own hash; `previous` is the hash of the line before. What is removed, altered,
added or moved afterwards breaks the chain or contradicts it (`grove.verify`).

Neither exists without the other, because the commit that delivers an object carries its line:

 1  prepare   the lines are made and chained; the place they will lie in is chosen; nothing is written
 2  commit    the stream's state takes, beside the pending objects: the chain's end (number and hash of the last
              line), its place, and the *tail*, the lines that are not known to be durable in that place
 3  write     the lines go to their place, and only then
 4  publish   the objects become visible: whoever sees an object finds its line
 5  settle    what was written is synced, at the end of the run or after TAIL bytes, and the tail is empty again

A process that dies before 2 leaves nothing. One that dies later leaves the tail in the state, and the next holder of
the lease writes it once more before it publishes. Where a line lies follows from the state alone, so that two holders
(one was paused and comes back) write the same bytes to the same offset, and a torn or lost write is simply repaired.

An output says how lines are stored. A file system has files that grow, one for each day (`SEGMENT` bytes at most) and
stream; an object store has one object for each commit. Someone who takes files away may take these as well: the chain
then goes on in a new file. It begins anew (another id, its first line says `gap`) where the output is another
directory or bucket than before, or where the file holds more than the state knows, because the cache was set back.

A stream that delivers nothing costs nothing. Descriptors share their stream's chain; several outputs have one each.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from blake3 import blake3

from grove.exceptions import DataFormatException
from grove.helpers import clock
from grove.helpers.files import safe_component
from grove.outputs import BaseOutput

__all__ = [
    "FOLDER",
    "FORMAT",
    "SUFFIX",
    "Chain",
    "Line",
    "Manifests",
    "decode_chains",
    "encode_chains",
    "keeps_manifest",
]

FORMAT = 1
"""The format of lines; what reads them refuses another."""

FOLDER = ".grove-manifest"
"""The folder of manifests below the root of an output. No descriptor has this name, and readers of logs skip it."""

SUFFIX = ".jsonl"

TAIL = 8192
"""Bytes of lines after which they are synced, so that the state need not carry them any longer."""

SEGMENT = 16 * 1024 * 1024
"""Bytes after which the lines go on in another file."""

ENDED = 50
"""Ends of earlier chains that are kept."""

_records = json.JSONEncoder(separators=(",", ":"))
_ENDING = len(f',"hash":"{"":64}"}}')


# --- a line ---


class Line(NamedTuple):
    """What is recorded of one object. `object` is its path below the root, `time` a datestamp, `size` in bytes.

    With `gap`, objects that were delivered before this line may have none: the manifest was just switched on.
    """

    chain: str
    line: int
    object: str
    entries: int
    first: str | None
    last: str | None
    size: int
    blake3: str
    sequence: int
    time: str
    gap: bool
    previous: str | None

    def encode(self) -> tuple[str, str]:
        """The line as it is stored, in ASCII with its newline, and its hash."""
        # By hand, as it is done for every object; names are made of safe characters alone.
        body = (
            f'{{"format":{FORMAT},"chain":"{self.chain}","line":{self.line},"object":"{self.object}",'
            f'"entries":{self.entries},"first":{_quoted(self.first)},"last":{_quoted(self.last)},"size":{self.size},'
            f'"blake3":"{self.blake3}","sequence":{self.sequence},"time":"{self.time}",'
            f'"gap":{"true" if self.gap else "false"},"previous":{_quoted(self.previous)}}}'
        )
        digest = blake3(body.encode("ascii")).hexdigest()
        return f'{body[:-1]},"hash":"{digest}"}}\n', digest

    @classmethod
    def decode(cls, stored: bytes) -> tuple[Line, str]:
        """The line and its hash from what is stored, without the newline.

        DataFormatException where it is not what `encode` wrote, or of another format.
        """
        body, ending = stored[:-_ENDING] + b"}", stored[-_ENDING:]
        digest = blake3(body).hexdigest()
        if ending != f',"hash":"{digest}"}}'.encode():
            raise DataFormatException("it does not have the hash that it ends in")
        try:
            found = _loads(body)
            known = found.pop("format")
            if known == FORMAT:
                return cls(**found), digest
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise DataFormatException("it is no line of a manifest") from err
        raise DataFormatException(f"it has the format {known!r}, and this version of Grove knows {FORMAT}")


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # A pointer with a lone surrogate.
        return json.loads(text)


def _quoted(text: str | None) -> str:
    return "null" if text is None else json.encoder.encode_basestring_ascii(text)


# --- a chain ---


class Chain(NamedTuple):
    """Where a manifest stands, as its stream's state keeps it.

    `lines` and `head` are number and hash of the last line. `place` is the output's own; `durable` bytes of it are
    safe, and `tail` is what follows them. `ended` are earlier chains of this stream, each with its lines and head.
    """

    id: str
    place: dict[str, Any]
    day: str = ""
    lines: int = 0
    head: str | None = None
    durable: int = 0
    tail: str = ""
    paused: bool = False
    ended: tuple[tuple[str, int, str | None], ...] = ()

    @property
    def size(self) -> int:
        """The bytes of its place."""
        return self.durable + len(self.tail)

    def moved(self, place: dict[str, Any], day: str) -> Chain:
        """The chain, going on in another place."""
        return self._replace(place=place, day=day, durable=0, tail="")


def encode_chains(chains: Mapping[str, Chain]) -> str | None:
    """The stored form of the chains of one stream, by output; None where there are none.

    A line of JSON, in which `tail` is a number of characters, and after it all tails as they are.
    """
    if not chains:
        return None
    records = {
        name: {
            "id": chain.id,
            "place": chain.place,
            "day": chain.day,
            "lines": chain.lines,
            "head": chain.head,
            "durable": chain.durable,
            "tail": len(chain.tail),
            "paused": chain.paused,
            "ended": chain.ended,
        }
        for name, chain in chains.items()
    }
    return "\n".join((_records.encode(records), "".join(chain.tail for chain in chains.values())))


def decode_chains(text: str) -> dict[str, Chain]:
    """What `encode_chains` wrote. ValueError, KeyError or TypeError where it did not."""
    header, _, tails = text.partition("\n")
    found = {}
    for name, record in json.loads(header).items():
        length = record.pop("tail")
        ended = tuple((str(chain), int(lines), head) for chain, lines, head in record.pop("ended"))
        found[str(name)] = Chain(**record, tail=tails[:length], ended=ended)
        tails = tails[length:]
    if tails:
        raise ValueError("the tails are longer than their chains say")
    return found


def has_tail(text: str) -> bool:
    """Whether lines follow in what `encode_chains` wrote, which may not be in their place yet."""
    return bool(text.partition("\n")[2])


# --- a run ---


def keeps_manifest(output: BaseOutput) -> bool:
    """Whether `output` is to keep a manifest of what it delivers."""
    return bool(getattr(output, "keeps_manifest", False))


class _Object(NamedTuple):
    name: str
    entries: int
    staged: Mapping[str, Any]


@dataclass(slots=True)
class Manifests:
    """The manifests of one stream during one run.

    `handler_of` gives the output of that module, `committed` are the chains as the state has them. `connector`,
    `identity` and `operation` are the stream's. `new` says that it has never committed anything.
    """

    handler_of: Callable[[str], BaseOutput]
    committed: dict[str, Chain]
    connector: str
    identity: str
    operation: str
    new: bool
    _homes: dict[str, str] = field(default_factory=dict)
    _grown: set[str] = field(default_factory=set)
    _objects: dict[str, list[_Object]] = field(default_factory=dict)
    _prepared: dict[str, Chain] = field(default_factory=dict)
    _writes: list[tuple[BaseOutput, dict[str, Any], int, str]] = field(default_factory=list)

    def note(self, output: str, name: str, entries: int, staged: Mapping[str, Any]) -> None:
        """An object called `name` was staged for the commit under way."""
        if output in self.committed or keeps_manifest(self.handler_of(output)):
            self._objects.setdefault(output, []).append(_Object(name, entries, staged))

    def forget(self) -> None:
        """The page was not committed."""
        self._objects, self._writes = {}, []

    def prepare(self, sequence: int, first: str | None, last: str | None) -> str | None:
        """The state of all chains after commit `sequence` of a page with these pointers; None where there are none.

        Errors are those of the output.
        """
        self._writes = []
        self._prepared = dict(self.committed)
        for output, objects in self._objects.items():
            handler = self.handler_of(output)
            if keeps_manifest(handler):
                self._prepared[output] = self._extended(output, handler, objects, sequence, first, last)
            else:
                self._prepared[output] = self.committed[output]._replace(paused=True)
        return encode_chains(self._prepared)

    def _extended(
        self,
        output: str,
        handler: BaseOutput,
        objects: list[_Object],
        sequence: int,
        first: str | None,
        last: str | None,
    ) -> Chain:
        time = clock.datestamp(clock.now())
        chain, gap = self._continued(output, handler, time[:10])
        number, head, text = chain.lines, chain.head, ""
        for name, entries, staged in objects:
            number += 1
            size, digest = staged["size"], staged["blake3"]
            # In the order of the fields.
            line = Line(chain.id, number, name, entries, first, last, size, digest, sequence, time, gap, head)
            stored, head = line.encode()
            gap = False
            text += stored
        self._writes.append((handler, chain.place, chain.size, text))
        return chain._replace(lines=number, head=head, tail=chain.tail + text, paused=False)

    def _continued(self, output: str, handler: BaseOutput, day: str) -> tuple[Chain, bool]:
        """The chain that the next lines belong to, at the place where they go; whether there is a gap before them."""
        chain = self.committed.get(output)
        home = self._homes.get(output)
        if home is None:
            home = self._homes[output] = handler.manifest_home()
        if chain is None:
            return self._begun(handler, home, day), not self.new
        # Once in a run: whoever takes the file away later has lines of one run in two files.
        there = chain.size if output in self._grown else handler.manifest_size(chain.place)
        if chain.place["home"] != home or (there is not None and there > chain.size):
            ended = (*chain.ended, (chain.id, chain.lines, chain.head))[-ENDED:]
            return self._begun(handler, home, day)._replace(ended=ended), True
        if there is None or there < chain.size or day > chain.day or chain.durable > SEGMENT:
            if there == chain.size:
                chain = _synced(handler, chain)
            name = self._segment(chain.id, chain.lines + 1)
            chain = chain.moved(handler.manifest_place(name, home), max(day, chain.day))
            self._grown.discard(output)
        else:
            self._grown.add(output)
            if len(chain.tail) >= TAIL:
                chain = _synced(handler, chain)
        return chain, chain.paused

    def _begun(self, handler: BaseOutput, home: str, day: str) -> Chain:
        name = secrets.token_hex(8)
        return Chain(name, handler.manifest_place(self._segment(name, 1), home), day)

    def _segment(self, chain: str, line: int) -> str:
        """The path of lines from `line` on, below the root of an output."""
        folders = f"{FOLDER}/{safe_component(self.connector)}/{safe_component(self.identity)}"
        # Never the name of what another commit has written, also where the cache was set back since.
        return f"{folders}/{safe_component(self.operation)}-{chain}.{line:09d}-{secrets.token_hex(4)}{SUFFIX}"

    def write(self) -> None:
        """The commit is durable: write its lines to their place. Errors are those of the output."""
        self.committed, self._objects = self._prepared, {}
        for handler, place, offset, text in self._writes:
            handler.write_manifest(place, offset, text.encode("ascii"))

    def settle(self) -> None:
        """Sync what was written, so that no tail is left. Errors are those of the output."""
        for name, chain in self.committed.items():
            if chain.tail:
                self.committed[name] = _synced(self.handler_of(name), chain)

    def encode(self) -> str | None:
        """The state of all chains as it is now; None where there are none."""
        return encode_chains(self.committed)

    def recover(self) -> None:
        """Write once more what an earlier run has committed and may not have written. Repeating it is harmless."""
        for name, chain in self.committed.items():
            if chain.tail:
                self.handler_of(name).write_manifest(chain.place, chain.durable, chain.tail.encode("ascii"))


def _synced(handler: BaseOutput, chain: Chain) -> Chain:
    """The chain with nothing in its tail."""
    if chain.tail:
        handler.sync_manifest(chain.place, new=not chain.durable)
    return chain._replace(durable=chain.size, tail="")
