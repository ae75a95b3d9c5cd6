"""What was measured, as a table, as JSON for `pytest-benchmark compare`, and as a chart."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lmdb

from benchmarks.rows._row import Places, Row

PACKAGES = (
    "grove",
    "orjson",
    "blake3",
    "lmdb",
    "isal",
    "backports.zstd",
    "jmespath",
    "requests",
    "msgspec",
    "duckdb",
    "polars",
    "dlt",
)
"""Whose versions are of interest, where they are installed."""


# --- the machine ---


def machine() -> dict[str, Any]:
    """The processor, its cores as far as this process may use them, the kernel, and how busy it is."""
    return {
        "node": platform.node(),
        "processor": platform.processor(),
        "machine": platform.machine(),
        "python_implementation": platform.python_implementation(),
        "python_version": platform.python_version(),
        "system": platform.system(),
        "release": platform.release(),
        "cpu": {"brand_raw": _processor(), "count": os.cpu_count()},
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Of Python, of LMDB's own library, and of each package that is installed."""
    found = {"Python": platform.python_version(), "LMDB": ".".join(map(str, lmdb.version()))}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def file_system(folder: Path) -> str:
    """The kind of file system on which `folder` lies, as Linux calls it; "unknown" elsewhere."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    above = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(above, default=(0, "unknown"))[1]


# --- the table ---


def head(places: Places, rounds: int) -> str:
    """The lines above the table: on what, with what, and how often."""
    found = machine()
    return "\n".join(
        [
            f"{found['cpu']['brand_raw']}, {found['cpu']['count']} cores, {found['system']} {found['release']}, "
            f"load {found['load_before']:.2f}",
            ", ".join(f"{name} {version}" for name, version in versions().items()),
            f"durable on {file_system(places.disk)}, the rest on {file_system(places.fast)}; "
            f"pages of 1,000; medians of {rounds}, then the least and the most",
            f"{'work':<44}{'ours':>12}{'beside':>12}  {'':<10}{'ratio':>8}  {'least':>7} {'most':>7}{'bar':>9}",
        ]
    )


def line(row: Row) -> str:
    """One line of the table."""
    goal = "" if row.bar is None else f"{'<=' if row.at_most else '>='} {row.bar:g}x"
    low, high = row.ratios[0], row.ratios[-1]
    return (
        f"{row.name:<44}{_amount(row.ours, row.unit):>12}{_amount(row.theirs, row.unit):>12}  {row.beside:<10}"
        f"{row.ratio:>7.2f}x  {low:>7.2f} {high:>7.2f}{goal:>9}{'  MISSED' if row.missed else ''}"
    )


def _amount(values: Sequence[float], unit: str) -> str:
    median = statistics.median(values)
    return f"{median / 1e6:.1f} MB" if unit == "B" else f"{median * 1e3:.3f} ms"


# --- JSON ---


def write_json(rows: Sequence[Row], path: Path) -> None:
    """A file that `pytest-benchmark compare` reads: ours in seconds a page; ratio, bar and what is beside as extra."""
    from pytest_benchmark import __version__
    from pytest_benchmark.utils import get_commit_info

    found = {
        "machine_info": {**machine(), "versions": versions()},
        "commit_info": get_commit_info("grove"),
        "benchmarks": [_benchmark(row) for row in rows],
        "datetime": datetime.now(UTC).isoformat(),
        "version": __version__,
    }
    path.write_text(json.dumps(found, indent=2) + "\n")


def _benchmark(row: Row) -> dict[str, Any]:
    from pytest_benchmark.stats import Stats

    stats = Stats()
    for value in row.ours:
        stats.update(value)
    return {
        # It knows no other unit than seconds.
        "group": row.subject if row.unit == "s" else f"{row.subject}, in bytes",
        "name": row.name,
        "fullname": f"benchmarks::{row.name}",
        "params": None,
        "param": None,
        "extra_info": {
            "beside": row.beside,
            "beside_data": row.theirs,
            "ratio": row.ratio,
            "ratios": row.ratios,
            "bar": row.bar,
            "at_most": row.at_most,
            "missed": row.missed,
            "unit": row.unit,
        },
        "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": len(row.ours), "warmup": True},
        "stats": {**stats.as_dict(), "data": row.ours, "iterations": 1},
    }


# --- the chart ---


def write_chart(rows: Sequence[Row], path: Path) -> None:
    """A PNG of all ratios with their spread and their bars. ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    more = [row for row in rows if not row.at_most]
    most = [row for row in rows if row.at_most]
    figure, axes = pyplot.subplots(
        2,
        1,
        figsize=(11, 1.6 + 0.3 * len(rows)),
        height_ratios=[max(len(more), 1), max(len(most), 1)],
        layout="constrained",
    )
    _panel(axes[0], more, "times as fast as what is beside it (right of the mark is good)")
    _panel(axes[1], most, "times as much as what is beside it (left of the mark is good)")
    found = machine()
    figure.suptitle(
        f"Grove {versions()['grove']}, {found['cpu']['brand_raw']}, Python {found['python_version']}", fontsize=11
    )
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _panel(axis: Any, rows: Sequence[Row], title: str) -> None:
    for place, row in enumerate(rows):
        low, middle, high = row.ratios[0], row.ratio, row.ratios[-1]
        colour = "#c0392b" if row.missed else ("#8a8f98" if row.bar is None else "#2a7f62")
        axis.barh(place, middle, color=colour, height=0.62, alpha=0.85)
        axis.plot([low, high], [place, place], color="#222222", linewidth=1.2)
        if row.bar is not None:
            axis.plot([row.bar, row.bar], [place - 0.42, place + 0.42], color="black", linewidth=2.4)
        axis.annotate(
            f"{middle:.3g}x",
            (max(high, row.bar or 0), place),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.set_yticks(range(len(rows)), [f"{row.name}  (beside: {row.beside})" for row in rows], fontsize=8)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_title(title, fontsize=9, loc="left")
    axis.margins(x=0.12, y=0.02)
    axis.grid(axis="x", which="both", linewidth=0.3)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
