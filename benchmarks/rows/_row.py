"""One line of the table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """What was measured of one piece of work, ours and `beside`, in the same rounds.

    Times are in seconds for one page, or in bytes where `unit` is "B". The ratio says how many times as good ours is;
    with `at_most` it says how many times as much ours takes, and the bar is the most it may.
    """

    subject: str
    name: str
    ours: list[float]
    theirs: list[float]
    bar: float | None = None
    at_most: bool = False
    beside: str = "baseline"
    unit: str = "s"

    @property
    def ratios(self) -> list[float]:
        """Round by round, sorted."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return sorted(our / their if self.at_most else their / our for our, their in pairs)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def missed(self) -> bool:
        """Whether there is a bar that the ratio does not reach."""
        if self.bar is None:
            return False
        return self.ratio > self.bar if self.at_most else self.ratio < self.bar


@dataclass(frozen=True)
class Skipped:
    """A line that cannot be measured here, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Places:
    """Where to write: `disk` what has to be durable, `fast` (a file system in memory, where there is one) the rest."""

    disk: Path
    fast: Path
