"""Two streams in two processes, each on a core of its own, over one LMDB, against one of them alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import work
from benchmarks.rows._row import Places, Row, Skipped
from benchmarks.work import PipelinedSaver, Saver
from grove import RawPage

PAGES = 40
KINDS = {"0.5 KB": work.small, "1.9 KB": work.large}
WAYS: dict[str, type[Saver]] = {"in line": Saver, "commits beside": PipelinedSaver}


def rows(places: Places, rounds: int) -> Iterator[Row | Skipped]:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    for size in KINDS:
        for way in WAYS:
            name = f"two processes, {way}, {size}"
            if len(cores) < 2:
                yield Skipped(name, "there are no two cores to pin them to")
            else:
                yield _row(name, places.disk / name.replace(" ", ""), size, way, cores[:2], rounds)


def _row(name: str, folder: Path, size: str, way: str, cores: list[int], rounds: int) -> Row:
    both = [_start(core, folder, size, way, 2 * (rounds + 1)) for core in cores]
    try:
        together, alone = [], []
        for turn in range(rounds + 1):
            one = [_span([process]) for process in both]
            two = _span(both)
            if turn:
                # Seconds a page, of the work of both.
                alone.append(sum(one) / (2 * PAGES))
                together.append(two / (2 * PAGES))
    finally:
        for process in both:
            process.kill()
            process.communicate()
    return Row("processes", name, together, alone, bar=1.8, beside="one")


def _start(core: int, folder: Path, size: str, way: str, calls: int) -> subprocess.Popen[str]:
    own = folder / str(core)
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    arguments = [str(core), str(own), str(folder / "cache"), size, way, str(calls)]
    process = subprocess.Popen(command + arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"a process that saves pages ended with {process.wait()}")
    return process


def _span(processes: list[subprocess.Popen[str]]) -> float:
    """Seconds from the first page to the last one of all, which begin at once."""
    os.sync()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    spans = []
    for process in processes:
        assert process.stdout is not None
        spans.append([float(part) for part in process.stdout.readline().split()])
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


def serve() -> None:
    """In a process of its own: save `PAGES` pages for each line read; print when that began and ended.

    In seconds of the monotonic clock, which all processes share.
    """
    core, folder, cache, size, way, calls = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    kind = KINDS[size]()
    target = work.connector(Path(folder), kind.path, WAYS[way], cache=Path(cache), identity=f"core-{core}")
    bodies = iter(kind.bodies(int(calls) * PAGES))
    target.lock()
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.monotonic()
        for _ in range(PAGES):
            target.save(RawPage(next(bodies), "", kind.path))
        target._finish_page()
        print(began, time.monotonic(), flush=True)
