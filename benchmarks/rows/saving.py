"""`save()` of pages of 1,000, durable: deduplicated, into gzip files, the pointer committed in LMDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
        times = _times(places.disk, kind, rounds, Saver, decoded=True)
        yield Row("save", f"save of lists, {kind.name}", *times, bar=14)
    for kind, bar in ((work.small(), 18), (work.large(), 22)):
        times = _times(places.disk, kind, rounds, Saver)
        yield Row("save", f"body to gzip file, in line, {kind.name}", *times, bar=bar)
    for kind in (work.small(), work.large()):
        times = _times(places.disk, kind, rounds, PipelinedSaver)
        yield Row("save", f"body to gzip file, commits beside, {kind.name}", *times, bar=28)


def _times(
    folder: Path, kind: Kind, rounds: int, cls: type[Saver], *, decoded: bool = False
) -> tuple[list[float], list[float]]:
    """Seconds a page, ours and the baseline's; of pages that are decoded, where that is not to be measured."""
    place = folder / f"{cls.__name__}-{decoded}-{kind.name.replace(' ', '')}"
    target = work.connector(place, kind.path, cls)
    (place / "plain").mkdir()
    collector = baseline.Collector(place / "plain", kind.path)
    pages: list[Any] = kind.pages if decoded else kind.bodies  # type: ignore[assignment]
    mine, theirs = iter(pages((rounds + 1) * PAGES)), iter(pages(rounds + 1))  # type: ignore[operator]

    def ours() -> None:
        for _ in range(PAGES):
            page = next(mine)
            target.save(page if decoded else RawPage(page, "", kind.path))
        # The last page, too, is durable and committed.
        target._finish_page()

    def baselines() -> None:
        page = next(theirs)
        collector.save(page if decoded else json.loads(page), METADATA)

    target.lock()
    found, other = turns(rounds, ours, baselines)
    target.unlock()
    return [seconds / PAGES for seconds in found], other
