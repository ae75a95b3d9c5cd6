"""`grove demo`: a practice API, collectors in processes of their own, one of them killed, and the count in the end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import grove
from grove.exceptions import GroveException
from grove.testing.practice import PracticeAPI, Report
from grove.testing.practice_truth import read_delivered

# Seconds: how far back each collection asks, how late an entry may be, and what lies between two entries.
_LOOKBACK = 300.0
_LATEST = 240.0
_SPACING = 0.211

_WORKER = [sys.executable, "-P", "-c", "from grove.cli.demo import work; work()"]


@click.command()
@click.option(
    "--entries",
    default=20_000,
    show_default=True,
    type=click.IntRange(100, 200_000),
    help="How many entries the source offers.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where files and state go; new or empty.  [default: a new temporary directory]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def demo(entries: int, directory: Path | None, as_json: bool) -> int:
    """Watch Grove collect, be killed and go on, and count what arrived.

    A small log API on this machine offers entries, which worker processes collect over HTTP into gzip files, with
    their state in LMDB. New, tied and late entries arrive between two collections, and a worker is killed
    (kill -9) in the middle of the third. What was delivered is then compared with what was offered.

    Exit code 1 where an entry is lost, or there twice. What it makes stays in the directory.
    """
    place = _prepare(directory)
    started = time.monotonic()
    with PracticeAPI(shape="github", spacing=_SPACING, page_size=max(5, min(500, entries // 40))) as api:
        stage = _Stage(api, place, bars=sys.stderr.isatty())
        first, second = entries * 7 // 10, entries * 15 // 100
        api.offer(first)
        _say(f"A practice API at {api.url} offers {first:,} audit entries.")
        stage.collect("First collection")
        pace = stage.pace

        some = math.ceil(second / 20)
        _say(f"{second:,} entries arrive: {some} at the time of the newest one, {some} late, the others new.")
        api.offer(some, tied=True)
        api.offer(some, late=_LATEST)
        api.offer(second - 2 * some)
        stage.collect("Second collection")

        third = entries - first - second
        api.offer(third)
        _say(f"{third:,} more arrive, and the collector is killed (kill -9) in the middle of them.")
        stage.collect("Third collection", kill=True)
        stage.collect("Resumed")
        try:
            delivered = read_delivered(place / "out")
        except GroveException as err:
            raise click.ClickException(str(err)) from err
        report = api.compare(delivered)
    summary = _summary(stage, report, pace, time.monotonic() - started)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        _show(summary, report)
    return 0 if report.exact else 1


def _prepare(directory: Path | None) -> Path:
    """A directory of our own: what lay there before would be counted as delivered."""
    if directory is None:
        place = Path(tempfile.mkdtemp(prefix="grove-demo-"))
    else:
        place = directory.absolute()
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(place.iterdir()):
                raise click.UsageError(f"{place} is not empty; name a new directory, or leave --directory out.")
        except OSError as err:
            raise click.UsageError(f"{place} cannot be used: {err.strerror}.") from err
    for name in ("out", "state"):
        (place / name).mkdir(mode=0o700)
    return place


# --- collecting ---


@dataclass
class _Killer:
    """Kills a process while it asks for the last entries of an API: anywhere between two of them, at random."""

    api: PracticeAPI
    process: subprocess.Popen[str]
    from_entry: int
    to_entry: int
    due: bool = False

    def watch(self) -> None:
        """At each request. Beyond `to_entry` nothing is answered any more, so that the kill is never too late."""
        if self.api.served >= self.from_entry and not self.due:
            self.due = True
            threading.Timer(random.uniform(0, 0.03), self.process.kill).start()
        if self.api.served >= self.to_entry:
            self.process.wait(30)


class _Stage:
    """Where everything happens: the API, the directory, and the sum of what the collections said of themselves."""

    def __init__(self, api: PracticeAPI, place: Path, bars: bool) -> None:
        self.api = api
        self.place = place
        self.bars = bars
        self.delivered = 0
        self.seen = 0
        self.kills = 0
        self.pace = 0.0

    def collect(self, label: str, kill: bool = False) -> None:
        """One collection by a process of its own."""
        new = len(self.api.offered) - self.delivered
        before = self.delivered, self.seen
        started = time.monotonic()
        with self._worker() as process:
            if kill:
                # Each collection begins with what the lookback covers, a good part of which it has seen.
                known = min(len(self.api.offered) - new, round(_LOOKBACK / _SPACING))
                start = self.api.served + known
                killer = _Killer(self.api, process, start + new // 3, start + new * 2 // 3)
                self.api.before(None, killer.watch)
            self._follow(process, label, new)
            code = process.wait()
        self.api.heal()
        seconds = time.monotonic() - started
        self.kills += kill
        if code != (-signal.SIGKILL if kill else 0):
            raise click.ClickException(f"The collector ended with code {code}; its log is {self.place / 'worker.log'}.")
        delivered, seen = self.delivered - before[0], self.seen - before[1]
        ending = "killed" if kill else f"{seconds:.1f} s"
        _say(f"  {label}: {delivered:,} delivered, {seen:,} dropped as seen, {ending}.")

    @contextlib.contextmanager
    def _worker(self) -> Iterator[subprocess.Popen[str]]:
        document = self.api.document(name="demo", identity="example", lookback=_LOOKBACK)
        # The user's own Grove is left alone, and this very copy of the package is used.
        settings = {name: value for name, value in os.environ.items() if not name.startswith("GROVE_")}
        settings["GROVE_OUTPUT_LOCAL_FILE_PATH"] = str(self.place / "out")
        settings["GROVE_CACHE_LOCAL_LMDB_PATH"] = str(self.place / "state")
        package = str(Path(grove.__file__).resolve().parent.parent)
        settings["PYTHONPATH"] = os.pathsep.join(filter(None, [package, settings.get("PYTHONPATH")]))
        with (
            open(self.place / "worker.log", "ab") as log,
            subprocess.Popen(
                _WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=settings, text=True
            ) as process,
        ):
            assert process.stdin is not None
            try:
                process.stdin.write(document.model_dump_json())
                process.stdin.close()
                yield process
            finally:
                process.kill()

    def _follow(self, process: subprocess.Popen[str], label: str, new: int) -> None:
        """Count what the worker reports, until it has ended."""
        assert process.stdout is not None
        bar: Any = None
        with contextlib.ExitStack() as stack:
            if self.bars:
                bar = stack.enter_context(click.progressbar(length=new, label=f"  {label}", file=sys.stderr))
            for line in process.stdout:
                page = json.loads(line)
                if "seconds" in page:
                    self.pace = new / page["seconds"]
                    continue
                self.delivered += page["delivered"]
                self.seen += page["received"] - page["delivered"]
                if bar is not None:
                    bar.update(page["delivered"])


def work() -> None:
    """The collecting process: one run of the stream whose document comes on stdin. Tells stdout of every page."""
    from grove import logging
    from grove.caches.local_lmdb import Handler as Cache
    from grove.models import ConnectorConfig
    from grove.outputs.local_file import Handler as Output
    from grove.testing.practice_connector import PracticeConnector

    class Telling(PracticeConnector):
        def save(self, entries: list[Any], cursor: str | None = None) -> None:
            before = self._saved.get("logs", 0)
            super().save(entries, cursor)
            tell(received=len(entries), delivered=self._saved.get("logs", 0) - before)

    def tell(**facts: float) -> None:
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()

    context = {"runtime": "grove demo", "runtime_id": str(os.getpid())}
    logging.configure(context)
    cache, output = Cache(), Output()
    cache.setup()
    output.setup()
    connector = Telling(ConnectorConfig(**json.load(sys.stdin)), context, cache=cache, output=output)
    started = time.monotonic()
    connector.run()
    tell(seconds=time.monotonic() - started)
    sys.exit(0 if connector.outcome == "succeeded" else 1)


# --- telling ---


def _summary(stage: _Stage, report: Report, pace: float, seconds: float) -> dict[str, Any]:
    files = [path for path in (stage.place / "out").rglob("*.json.gz") if path.is_file()]
    return {
        "offered": report.offered,
        "served": stage.api.served,
        "delivered": report.delivered,
        "dropped_as_seen": stage.seen,
        "cut_off_by_the_kill": stage.api.served - report.delivered - stage.seen,
        "lost": len(report.lost),
        "twice": len(report.twice) + len(report.foreign),
        "kills": stage.kills,
        "entries_per_second": round(pace),
        "seconds": round(seconds, 1),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "directory": str(stage.place),
    }


def _say(text: str) -> None:
    """Progress goes to stderr, so that stdout holds the summary alone."""
    click.echo(text, err=True)


def _show(summary: dict[str, Any], report: Report) -> None:
    # None lets click decide by what stdout is.
    color = False if os.environ.get("NO_COLOR") else None
    out = Path(summary["directory"]) / "out"
    rows = {
        "offered by the source": f"{summary['offered']:,}",
        "delivered": f"{summary['delivered']:,}",
        "dropped as seen": f"{summary['dropped_as_seen']:,}",
        "lost": f"{summary['lost']:,}",
        "twice": f"{summary['twice']:,}",
        "entries per second": f"{summary['entries_per_second']:,}  (first collection)",
        "files": f"{summary['files']} ({summary['bytes'] / 1e6:.1f} MB) in {out}",
    }
    click.echo()
    for name, value in rows.items():
        click.echo(f"  {name:<24}{value}")
    click.echo()
    if report.exact:
        verdict = click.style("Nothing lost, nothing twice", fg="green", bold=True)
        click.echo(f"{verdict}, although a collector was killed in the middle.", color=color)
        click.echo(f"Look at what arrived:  find {out} -name '*.json.gz' | xargs zcat | head -n 1")
        click.echo('Next, your own logs:   "A first hour" in the README.')
    else:
        verdict = click.style("That is a defect.", fg="red", bold=True)
        click.echo(f"{verdict} Please report it, with {summary['directory']}: {report}", color=color)
