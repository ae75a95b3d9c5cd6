"""Whole runs: of a source in which nothing happens, and of one that takes 100 ms for each page."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks import slow_source, work
from benchmarks.ratio import turns
from benchmarks.rows._row import Places, Row
from grove.caches import Batch, Key

ALLOWANCE = 0.0007
"""Seconds that an idle run may take beyond its two commits."""

RUNS = 20
"""Idle runs in a round."""

SLOW_ROUNDS = 3


def rows(places: Places, rounds: int) -> Iterator[Row]:
    yield _idle(places, rounds)
    for name, kind in slow_source.KINDS.items():
        took = []
        for number in range(min(rounds, SLOW_ROUNDS)):
            target: Any = work.connector(places.disk / f"slow-{name}-{number}", "at", identity=f"slow-{number}")
            took.append(slow_source.collect(name, target.identity, target._cache, target._output))
        own = [slow_source.SECONDS * slow_source.PAGES] * len(took)
        title = f"{slow_source.PAGES} pages of 100 ms, {kind.name}"
        yield Row("runs", title, took, own, bar=1.1, at_most=True, beside="the source")


def _idle(places: Places, rounds: int) -> Row:
    """What a run adds to the two LMDB commits it makes, against what it may."""
    target = work.connector(places.disk / "idle", "at")
    cache: Any = target._cache
    number = iter(range(1_000_000))

    def commits() -> None:
        for _ in range(2):
            batch = Batch()
            for kind in ("execution_lock", "lease", "epoch"):
                batch.set(Key(f"{kind}.other.0123456789abcdef", "all"), f"{next(number)}" * 6)
            cache.apply(batch)

    added = []
    for _ in range(rounds):
        runs, bare = turns(RUNS, target.run, commits)
        added.append(max(statistics.median(runs) - statistics.median(bare), 1e-6))
    return Row(
        "runs", "idle run, beyond its two commits", added, [ALLOWANCE] * rounds, bar=1, at_most=True, beside="allowed"
    )
