"""A body to gzip lines without durable input and output, against what libraries need for the least of it.

That floor splits with msgspec, decodes the pointer of each entry, puts the metadata into its text, and compresses the
same bytes with igzip at level 1. It neither compares pointers nor keeps a record of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
from isal import isal_zlib

from benchmarks import work
from benchmarks.ratio import turns
from benchmarks.rows._row import Places, Row, Skipped
from benchmarks.work import METADATA, Kind
from grove import RawPage, _core
from grove.helpers.codecs import GZIP

PAGES = 10


def rows(places: Places, rounds: int) -> Iterator[Row | Skipped]:
    try:
        import msgspec
    except ImportError:
        yield Skipped("body to gzip, not durable", "msgspec is not installed")
        return
    for kind in (work.small(), work.large()):
        structure = msgspec.defstruct("Pointer", [("at", Any, msgspec.field(name=kind.path.strip('"')))])
        split = msgspec.json.Decoder(list[msgspec.Raw]).decode
        pointer = msgspec.json.Decoder(structure).decode
        floor = _floor(split, pointer)
        for name, ours in (("core alone", _alone(kind)), ("whole save()", _saving(places, kind))):
            calls = [_several(run, kind.bodies((rounds + 1) * PAGES)) for run in (ours, floor)]
            mine, theirs = ([seconds / PAGES for seconds in found] for found in turns(rounds, *calls))
            title = f"body to gzip, {name}, {kind.name}"
            yield Row("pages", title, mine, theirs, bar=1.2, at_most=True, beside="floor")


def _several(run: Callable[[bytes], Any], bodies: list[bytes]) -> Callable[[], None]:
    """Calls that take `PAGES` bodies each, none of them twice."""
    left = iter(bodies)

    def run_several() -> None:
        for _ in range(PAGES):
            run(next(left))

    return run_several


def _floor(split: Callable[[bytes], list[Any]], pointer: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    tail = b',"_grove":' + orjson.dumps(METADATA) + b"}\n"

    def run(body: bytes) -> bytes:
        entries = split(body)
        pointers = [str(pointer(entry).at) for entry in entries]
        assert pointers
        lines = b"".join([part for entry in entries for part in (memoryview(entry)[:-1], tail)])
        packed: bytes = isal_zlib.compress(lines, 1, 31)
        return packed

    return run


def _alone(kind: Kind) -> Callable[[bytes], bytes]:
    """Split, pointers, order, deduplication, lines and compression."""
    path, seen = _core.pointer_path(kind.path), _core.Seen()
    seen.add("2001-01-01T00:00:00Z", ["0" * 32])

    def run(body: bytes) -> bytes:
        page = RawPage(body, "", kind.path)
        pointers = path.pointers(page)
        assert _core.order(pointers) is not None
        assert len(seen.unseen(page, pointers)) == len(page)
        packed = _core.encode(page, METADATA, GZIP).packed
        assert packed is not None
        return packed

    return run


def _saving(places: Places, kind: Kind) -> Callable[[bytes], None]:
    """All that a durable save() does, where nothing is durable: on a file system in memory."""
    target = work.connector(places.fast / f"floor-{kind.name.replace(' ', '')}", kind.path)
    target.lock()
    return lambda body: target.save(RawPage(body, "", kind.path))
