"""`python -m benchmarks.streams 100 1000`: what `groved` needs for that many idle streams, and how late they start.

Every stream is due once a minute and finds nothing. Each number is measured twice: as it is, and with a fifth of the
workers hanging. CPU is that of the whole process, in cores; lateness is from the moment a stream is due to the first
line of its `collect()`, in a worker. The first minute counts, with every stream's first run, and none is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.work import surroundings
from grove.connectors import CHRONOLOGICAL, BaseConnector
from grove.constants import DEFAULT_WORKER_COUNT
from grove.helpers import clock

FREQUENCY = 60
HANGING = DEFAULT_WORKER_COUNT // 5
BARS = {"cpu": 0.5, "late_max": 1.0}
"""Cores, and seconds."""

COLUMNS = {
    "streams": 8,
    "hanging": 9,
    "load_seconds": 14,
    "starts": 8,
    "cpu": 8,
    "rss_mib": 9,
    "late_max": 10,
    "late_p99": 10,
    "late_median": 13,
}
"""What is printed, and how wide."""

RESULT = "GROVE_BENCHMARK_RESULT"

# --- in the daemon's process ---

_due: dict[str, float] = {}
_late: list[float] = []


class Idle(BaseConnector):
    """A source in which nothing happens."""

    CONNECTOR = "idle"
    POINTER_PATH = "at"
    LOG_ORDER = CHRONOLOGICAL

    def collect(self) -> None:
        """Note how late it is."""
        _late.append(clock.monotonic() - _due.pop(self.name))


class Hanging(Idle):
    """A source that does not answer."""

    def collect(self) -> None:
        """Never return."""
        super().collect()
        threading.Event().wait()


def daemon() -> None:
    """`groved`, with a note of when each stream was due; what was found is written once it is asked to end."""
    from grove.cli.daemon import main
    from grove.daemon import Supervisor

    start, end = Supervisor._start, Supervisor._end

    def noted_start(self: Any, workers: Any, key: Any, now: float) -> None:
        _due[self.streams[key].config.name] = self.schedule[key].due
        start(self, workers, key, now)

    def noted_end(self: Any, code: int) -> int:
        now, due = clock.monotonic(), self.schedule.next_due()
        waiting = [now - moment for moment in ([due] if due is not None and due < now else []) + [*_due.values()]]
        Path(os.environ[RESULT]).write_text(json.dumps(_late + waiting))
        return end(self, code)

    Supervisor._start, Supervisor._end = noted_start, noted_end  # type: ignore[method-assign]
    main()


# --- in the process that measures ---


def measure(streams: int, hanging: int, seconds: float, folder: Path) -> dict[str, Any]:
    """What a daemon with that many streams, `hanging` of them hanging, has needed after that many seconds."""
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from benchmarks.streams import daemon; daemon()"],
            env=_environment(streams, hanging, folder),
            stderr=log,
        )
        try:
            began = time.monotonic()
            _wait_until_loaded(folder / "log", process)
            loaded = time.monotonic()
            before = _cpu(process.pid)
            time.sleep(seconds)
            used = (_cpu(process.pid) - before) / (time.monotonic() - loaded)
            memory = _status(process.pid)
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
        finally:
            process.kill()
    late = sorted(json.loads((folder / "result").read_text()))
    return {
        "streams": streams,
        "hanging": hanging,
        "seconds": seconds,
        "load_seconds": round(loaded - began, 2),
        "starts": len(late),
        "cpu": round(used, 3),
        "rss_mib": round(memory["VmRSS"] / 1024, 1),
        "rss_most_mib": round(memory["VmHWM"] / 1024, 1),
        "threads": memory["Threads"],
        "late_max": round(late[-1], 4),
        "late_p99": round(late[len(late) * 99 // 100], 4),
        "late_median": round(late[len(late) // 2], 4),
        "exit_code": code,
    }


def _environment(streams: int, hanging: int, folder: Path) -> dict[str, str]:
    environment = surroundings(folder, idle="benchmarks.streams:Idle", hanging="benchmarks.streams:Hanging")
    for number in range(streams):
        connector = "hanging" if number < hanging else "idle"
        name = f"{connector}-{number:05}"
        # A credential each: log lines are searched for all of them.
        document = {
            "name": name,
            "identity": name,
            "connector": connector,
            "frequency": FREQUENCY,
            "key": f"key-{name}",
        }
        (folder / "documents" / f"{name}.json").write_text(json.dumps(document))
    return {**environment, RESULT: str(folder / "result")}


def _wait_until_loaded(log: Path, process: subprocess.Popen[bytes]) -> None:
    while "The configuration is loaded." not in log.read_text():
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.05)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int) -> dict[str, int]:
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM", "Threads"):
            found[name] = int(value.split()[0])
    return found


def plot(rows: list[dict[str, Any]], path: Path) -> bool:
    """Draw `rows` into a PNG; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    panels = (("cpu", "cores", 0.5), ("late_max", "latest start, seconds", 1.0), ("rss_mib", "RSS, MiB", None))
    for axis, (field, title, bar) in zip(axes, panels, strict=True):
        for hangs, label in ((False, "all answer"), (True, "a fifth of the workers hangs")):
            some = [row for row in rows if bool(row["hanging"]) == hangs]
            axis.plot([row["streams"] for row in some], [row[field] for row in some], "o-", label=label)
        if bar is not None:
            axis.axhline(bar, color="grey", linestyle="--", label="bar")
        axis.set(xscale="log", xlabel=f"idle streams, one run each {FREQUENCY} s", title=title)
        axis.set_ylim(bottom=0)
    axes[0].legend()
    figure.savefig(path, dpi=120)
    return True


def main() -> int:
    """Measure, print, and write `streams.json` and `streams.png`; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("streams", nargs="*", type=int, default=[100, 1_000, 10_000], help="how many, one or more")
    parser.add_argument("--seconds", type=float, default=120.0, help="for how long to look at each")
    parser.add_argument("--directory", type=Path, default=Path(), help="where the results go")
    options = parser.parse_args()
    rows = []
    missed = 0
    print("".join(f"{name:>{width}}" for name, width in COLUMNS.items()))
    for streams in options.streams:
        for hanging in (0, min(HANGING, streams // 2)):
            with tempfile.TemporaryDirectory(prefix="grove-bench-") as folder:
                row = measure(streams, hanging, options.seconds, Path(folder))
            rows.append(row)
            bad = row["exit_code"] != 0 or any(row[field] > bar for field, bar in BARS.items())
            missed += bad
            shown = "".join(f"{row[name]:>{width}}" for name, width in COLUMNS.items())
            print(shown + ("  MISSED" if bad else ""), flush=True)
    machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()}
    (options.directory / "streams.json").write_text(
        json.dumps({**machine, "bars": BARS, "rows": rows}, indent=2) + "\n"
    )
    if not plot(rows, options.directory / "streams.png"):
        print("Without matplotlib there is no plot.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
