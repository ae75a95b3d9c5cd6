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
from grove.__about__ import __version__

PACKAGES = (
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
    """Of Grove, Python and LMDB's own library, and of each package that is installed."""
    found = {"Grove": __version__, "Python": platform.python_version(), "LMDB": ".".join(map(str, lmdb.version()))}
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


def memory(otherwise: Path) -> Path:
    """Where Linux has a file system in memory; `otherwise` where there is none."""
    found = Path("/dev/shm")
    return found if found.is_dir() else otherwise


def described(places: Places) -> str:
    """The machine, the versions and the file systems, a line for each."""
    found = machine()
    return (
        f"{found['cpu']['brand_raw']}, {found['cpu']['count']} cores, {found['system']} {found['release']}, "
        f"load {found['load_before']:.2f}\n"
        f"{', '.join(f'{name} {version}' for name, version in versions().items())}\n"
        f"durable on {file_system(places.disk)}, the rest on {file_system(places.fast)}"
    )


# --- the table ---


def head(rounds: int) -> str:
    """The lines above the table."""
    return (
        f"pages of 1,000 entries; medians of {rounds}, then the least and the most\n"
        f"{'work':<44}{'ours':>12}{'beside':>12}  {'':<10}{'ratio':>8}  {'least':>7} {'most':>7}{'bar':>9}"
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
    import pytest_benchmark
    from pytest_benchmark.utils import get_commit_info

    found = {
        "machine_info": {**machine(), "versions": versions()},
        "commit_info": get_commit_info("grove"),
        "benchmarks": [_benchmark(row) for row in rows],
        "datetime": datetime.now(UTC).isoformat(),
        "version": pytest_benchmark.__version__,
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

    panels = [
        (title, some)
        for title, some in (
            ("times as fast: at the mark or to the right of it", [row for row in rows if not row.at_most]),
            ("times as much: at the mark or to the left of it", [row for row in rows if row.at_most]),
        )
        if some
    ]
    lines = [len(some) for _, some in panels]
    figure, axes = pyplot.subplots(
        len(panels),
        squeeze=False,
        figsize=(11, 1.2 + 0.8 * len(panels) + 0.27 * sum(lines)),
        height_ratios=[count + 1 for count in lines],
        layout="constrained",
    )
    for axis, (title, some) in zip(axes[:, 0], panels, strict=True):
        _panel(axis, some, title)
    found = machine()
    figure.suptitle(
        f"Grove {__version__} beside what does the same work: {found['cpu']['brand_raw']}, "
        f"{found['cpu']['count']} cores, Python {found['python_version']}",
        fontsize=11,
    )
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _panel(axis: Any, rows: Sequence[Row], title: str) -> None:
    """Ratios from the top down, with a line from the least to the most, and a mark where the bar is."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    colours = {"reached": "#2a7f62", "missed": "#c0392b", "no bar": "#8a8f98"}
    for place, row in enumerate(rows):
        low, high = row.ratios[0], row.ratios[-1]
        fate = "no bar" if row.bar is None else "missed" if row.missed else "reached"
        axis.barh(place, row.ratio, color=colours[fate], height=0.66, alpha=0.85)
        axis.plot([low, high], [place, place], color="#222222", linewidth=1.2)
        if row.bar is not None:
            axis.plot([row.bar, row.bar], [place - 0.45, place + 0.45], color="black", linewidth=2.6)
        end = (max(high, row.bar or 0), place)
        axis.annotate(f"{row.ratio:.3g}", end, (5, 0), textcoords="offset points", va="center", fontsize=8)
    names = [row.name if row.name.startswith("beside") else f"{row.name} / {row.beside}" for row in rows]
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    # What is drawn on a logarithmic axis begins nowhere; spreads may be cut off on the left, medians and marks are not.
    marks = [value for row in rows for value in (row.ratio, row.bar or row.ratio)]
    axis.set_xscale("log")
    axis.set_xlim(min(0.5, *marks) * 0.7, max(*marks, *(row.ratios[-1] for row in rows)) * 1.35)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}x"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(axis="x", labelsize=8)
    axis.set_title(title, fontsize=9, loc="left")
    axis.grid(axis="x", linewidth=0.4)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    handles = [
        *(Patch(color=colour, label=fate) for fate, colour in colours.items()),
        Line2D([], [], color="black", linewidth=2.6, label="the bar"),
        Line2D([], [], color="#222222", linewidth=1.2, label="least to most"),
    ]
    axis.legend(handles=handles, fontsize=7, ncols=5, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
