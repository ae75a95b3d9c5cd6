"""Ours and the baseline in turn, in one run: ratios that hold on a noisy machine."""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes. What earlier calls left unwritten is written first: a durable one would pay for it."""
    os.sync()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int = 7) -> tuple[float, float, float]:
    """Median seconds of each, and the median of `theirs / ours` pair by pair, after one warm-up."""
    ours()
    theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        statistics.median(pair[1] / pair[0] for pair in pairs),
    )
