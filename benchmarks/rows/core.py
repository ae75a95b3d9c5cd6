"""Hashing and deduplication of pages that are lists, without any input or output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks import baseline, work
from benchmarks.ratio import turns
from benchmarks.rows._row import Places, Row
from benchmarks.work import METADATA
from grove import _core


def rows(places: Places, rounds: int) -> Iterator[Row]:
    for kind in (work.small(), work.large()):
        page, path = kind.page(), _core.pointer_path(kind.path)
        pointers = path.pointers(page)
        known = baseline.hash_entries(page, kind.path)
        tied = {"tied": {digest for found in known.values() for digest in found}}
        fresh, seen, ties = _core.Seen(), _core.Seen(), _core.Seen()
        fresh.add("2001-01-01T00:00:00Z", [_core.hash_entry(page[0])])
        encoded = _core.encode(page, METADATA)
        seen.remember(pointers, encoded)
        ties.remember(["tied"] * len(page), encoded)

        # How what is known lies is all that the cases differ in; the baseline looks it up in a dict.
        cases: list[tuple[str, Callable[[], Any], Callable[[], Any], float | None]] = [
            (
                "hash, by pointer",
                partial(_by_pointer, page, path),
                partial(baseline.hash_entries, page, kind.path),
                4,
            ),
            # Without a bar of its own: what is left is orjson and BLAKE3 themselves.
            (
                "hash, nothing else",
                partial(_each, _core.hash_entry, page),
                partial(_each, baseline.hash_entry, page),
                None,
            ),
            (
                "dedup, all new",
                partial(_dedup, fresh, page, path),
                partial(baseline.deduplicate, page, kind.path, {}),
                100,
            ),
            (
                "dedup, all seen",
                partial(_dedup, seen, page, path),
                partial(baseline.deduplicate, page, kind.path, known),
                4,
            ),
            (
                "dedup, all tied",
                partial(ties.unseen, page, ["tied"] * len(page)),
                partial(baseline.deduplicate, page, kind.path, tied),
                4,
            ),
        ]
        for name, ours, theirs, bar in cases:
            mine, other = turns(rounds, ours, theirs)
            yield Row("core", f"{name}, {kind.name}", mine, other, bar=bar)


def _by_pointer(page: list[Any], path: _core.PointerPath) -> dict[str, set[str]]:
    return _core.group_hashes(page, path.pointers(page))


def _each(hash_entry: Callable[[Any], str], page: list[Any]) -> list[str]:
    return [hash_entry(entry) for entry in page]


def _dedup(seen: _core.Seen, page: list[Any], path: _core.PointerPath) -> list[int]:
    return seen.unseen(page, path.pointers(page))
