"""`save()` of pages of 1,000, durable: deduplicated, into gzip files, the pointer committed in LMDB."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import baseline, work
from benchmarks.ratio import turns
from benchmarks.rows._row import Places, Row
from benchmarks.work import METADATA, Kind, PipelinedSaver, Saver
from grove import RawPage

PAGES = 10
"""That are saved in each measured call; the baseline saves one."""


def rows(places: Places, rounds: int) -> Iterator[Row]:
    for kind in (work.small(), work.large()):
        folder = places.disk / f"lists-{kind.name.split()[0]}"
        pages = kind.pages((rounds + 1) * (PAGES + 1))
        mine, theirs = _times(folder, kind, Saver, rounds, pages, lambda page: page, lambda page: page)
        yield Row("saving", f"save of lists, {kind.name}", mine, theirs, bar=14)
    ways: list[tuple[str, type[Saver], dict[str, float]]] = [
        ("in line", Saver, {"0.5 KB": 18, "1.9 KB": 22}),
        ("commits beside", PipelinedSaver, {"0.5 KB": 28, "1.9 KB": 28}),
    ]
    for way, cls, bars in ways:
        for kind in (work.small(), work.large()):
            folder = places.disk / f"{cls.__name__}-{kind.name.split()[0]}"
            bodies = kind.bodies((rounds + 1) * (PAGES + 1))
            raw = partial(RawPage, path="", pointer_path=kind.path)
            mine, theirs = _times(folder, kind, cls, rounds, bodies, raw, json.loads)
            yield Row("saving", f"body to gzip file, {way}, {kind.name}", mine, theirs, bar=bars[kind.name])


def _times(
    folder: Path,
    kind: Kind,
    cls: type[Saver],
    rounds: int,
    pages: Iterable[Any],
    ours: Callable[[Any], list[Any] | RawPage],
    theirs: Callable[[Any], list[Any]],
) -> list[list[float]]:
    """Seconds a page of a connector and of the baseline, from what `pages` holds to what is written; none twice.

    `ours` and `theirs` make of it what is saved, which is a part of the work.
    """
    target = work.connector(folder, kind.path, cls)
    (folder / "plain").mkdir()
    collector = baseline.Collector(folder / "plain", kind.path)
    left = iter(pages)

    def save() -> None:
        for _ in range(PAGES):
            target.save(ours(next(left)))
        # The last page, too, is durable and committed.
        target._finish_page()

    target.lock()
    mine, other = turns(rounds, save, lambda: collector.save(theirs(next(left)), METADATA))
    target.unlock()
    return [[seconds / PAGES for seconds in mine], other]
