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


def turns(rounds: int, *works: Callable[[], Any]) -> list[list[float]]:
    """Seconds of each call of each of the `works`, which take turns, after one warm-up."""
    for work in works:
        work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, found in zip(works, times, strict=True):
            found.append(seconds(work))
    return times


def ratio(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int = 7) -> tuple[float, float, float]:
    """Median seconds of each, and the median of `theirs / ours` pair by pair."""
    mine, other = turns(rounds, ours, theirs)
    return (
        statistics.median(mine),
        statistics.median(other),
        statistics.median(their / our for our, their in zip(mine, other, strict=True)),
    )
