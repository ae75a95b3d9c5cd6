"""What a page of 100 MB takes up beside an idle process, itself included."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import work
from benchmarks.rows._row import Places, Row, Skipped
from grove import RawPage

SIZE = 100_000_000
ROUNDS = 3


def rows(places: Places, rounds: int) -> Iterator[Row | Skipped]:
    name = "peak memory, page of 100 MB"
    if not Path("/proc/self/clear_refs").exists():
        yield Skipped(name, "there is no /proc/self/clear_refs")
        return
    bodies, peaks = [], []
    for _ in range(min(rounds, ROUNDS)):
        with tempfile.TemporaryDirectory(dir=places.disk) as folder:
            command = [sys.executable, "-c", f"from {__name__} import measure; measure()", folder]
            body, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        bodies.append(float(body))
        peaks.append(float(peak))
    yield Row("memory", name, peaks, bodies, bar=3, at_most=True, beside="body", unit="B")


def measure() -> None:
    """In a process of its own: save such a page; print the bytes of its body, and those on top of the idle process."""
    kind = work.small()
    target = work.connector(Path(sys.argv[1]), kind.path)
    (first,) = kind.bodies(1)
    target.save(RawPage(first, "", kind.path))
    # Entries are made a thousand at a time, so that as objects they never take up more than this page.
    parts, size = [], 0
    while size < SIZE:
        (part,) = kind.bodies(1)
        parts.append(part[1:-1])
        size += len(part)
    body = b"[" + b",".join(parts) + b"]"
    del parts, part, first
    Path("/proc/self/clear_refs").write_text("5")
    idle = _status("VmRSS") - len(body)
    target.save(RawPage(body, "", kind.path))
    target.unlock()
    print(len(body), _status("VmHWM") - idle)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)
