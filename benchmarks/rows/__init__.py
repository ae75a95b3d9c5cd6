"""The rows of the table, a module for each subject: `rows(places, rounds)` gives them as they are measured."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from benchmarks.rows._row import Places, Row, Skipped

SUBJECTS = ("core", "saving", "pages", "rivals", "memory", "processes", "runs")


def rows(subject: str, places: Places, rounds: int) -> Iterator[Row | Skipped]:
    """Those of one subject. Others are not imported: an older Grove may not have what they measure."""
    found: Iterator[Row | Skipped] = import_module(f"benchmarks.rows.{subject}").rows(places, rounds)
    return found
