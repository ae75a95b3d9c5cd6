"""`grove demo`: a source that breaks, a collector that is killed, and a comparison in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from grove.testing.entries import okta_entry
from grove.testing.practice import TOKEN, PracticeAPI, compare, read_delivered

PAGE = 500
_WORKER = "from grove.cli.demo import work; work()"


@click.command()
@click.option("--entries", default=20_000, show_default=True, type=click.IntRange(1_000, 1_000_000))
@click.option("--directory", type=click.Path(path_type=Path), help="Where to work [default: a new temporary one].")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def demo(entries: int, directory: Path | None, as_json: bool) -> int:
    """Watch Grove collect from a source that breaks.

    A small log API on this machine offers entries; worker processes collect them over HTTP into LMDB and gzip files.
    New, tied and late entries arrive between two collections, and a worker is killed in the middle of a third. In the
    end what was delivered is compared with what was offered. Exit code 1 if anything is missing or there twice.
    """
    folder = directory or Path(tempfile.mkdtemp(prefix="grove-demo-"))
    (folder / "out").mkdir(parents=True, exist_ok=True)
    say = Teller(quiet=as_json)
    with PracticeAPI(page_size=PAGE) as api:
        run = Collections(api, folder, say)
        first, second = entries * 7 // 10, entries * 15 // 100
        say.line(f"A practice API at {api.url} offers {first:,} audit entries.")
        api.offer(okta_entry(number) for number in range(first))
        run.collect("First collection")

        say.line(f"{second:,} entries arrive: new, tied with the newest one, and late.")
        api.offer(_arrivals(first, second))
        run.collect("Second collection")

        start = first + second
        say.line(f"{entries - start:,} more arrive, and the collector is killed (kill -9) halfway.")
        api.offer(okta_entry(number) for number in range(start, entries))
        run.collect("Third collection", kill_after=max(1, (entries - start) // PAGE // 2))
        run.collect("Resumed")
        offered = api.offered
    delivered = read_delivered(folder / "out")
    report = compare(offered, delivered)
    summary = {
        "offered": len(offered),
        "delivered": len(delivered),
        "dropped_as_seen": run.served - len(delivered),
        "lost": len(report.lost),
        "twice": len(report.twice),
        "entries_per_second": round(len(delivered) / run.seconds),
        "files": str(folder / "out"),
    }
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _show(summary)
    return 0 if report.exact else 1


class Teller:
    """Says what is happening, on stderr: a progress bar on a terminal, plain lines in a pipe."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bars = not quiet and sys.stderr.isatty()

    def line(self, text: str) -> None:
        """One line."""
        if not self.quiet:
            click.echo(text, err=True)

    def bar(self, label: str, length: int) -> Any:
        """A progress bar, as a context manager; of nothing where there is no terminal."""
        if not self.bars:
            return nullcontext()
        return click.progressbar(length=length, label=f"  {label}", file=sys.stderr)


class Collections:
    """Runs worker processes against the API, and counts."""

    def __init__(self, api: PracticeAPI, folder: Path, say: Teller) -> None:
        self.api = api
        self.folder = folder
        self.say = say
        self.served = 0
        self.seconds = 0.0

    def collect(self, label: str, kill_after: int | None = None) -> None:
        """One collection by a process of its own, killed when it asks for page number `kill_after`."""
        api, before = self.api, self.api.served
        started = time.monotonic()
        worker = subprocess.Popen([sys.executable, "-c", _WORKER, api.url, str(self.folder)])
        first = len(api.requests)

        def kill(number: int) -> None:
            if kill_after is not None and number - first == kill_after:
                os.kill(worker.pid, signal.SIGKILL)

        api.on_request = kill
        # The API serves again what lies at the pointer; how much is left is known only roughly.
        expected = max(1, len(api.offered) - before)
        with self.say.bar(label, expected) as bar:
            shown = 0
            while worker.poll() is None:
                time.sleep(0.02)
                if bar is not None:
                    now = min(expected, api.served - before)
                    bar.update(now - shown)
                    shown = now
        api.on_request = None
        self.seconds += time.monotonic() - started
        self.served += api.served - before
        if kill_after is None and worker.returncode != 0:
            raise click.ClickException(f"The collecting process ended with code {worker.returncode}.")
        ending = "killed" if worker.returncode == -signal.SIGKILL else "done"
        self.say.line(f"  {label}: {api.served - before:,} entries served, {ending}.")


def work() -> None:
    """The collecting process: one run of one stream; its arguments are the API's address and the directory."""
    url, directory = sys.argv[1:3]
    from grove.caches.local_lmdb import Handler as Cache
    from grove.models import ConnectorConfig
    from grove.outputs.local_file import Handler as Output
    from grove.testing.practice import PracticeConnector

    os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"] = os.path.join(directory, "out")
    cache, output = Cache(os.path.join(directory, "state")), Output()
    cache.setup()
    output.setup()
    config = ConnectorConfig(name="demo", identity="example", connector="practice", key=TOKEN, url=url, lookback=300)
    connector = PracticeConnector(config, {"runtime": "demo"}, cache=cache, output=output)
    connector.run()
    sys.exit(0 if connector.outcome == "succeeded" else 1)


def _arrivals(start: int, count: int) -> list[dict[str, Any]]:
    """`count` entries: most of them new, some with the very time of the newest one so far, some late."""
    newest = okta_entry(start - 1)["published"]
    arrivals = []
    for number in range(start, start + count):
        entry = okta_entry(number)
        if number % 10 == 0:
            entry["published"] = newest
        elif number % 10 == 1:
            entry["published"] = okta_entry(start - 1 - number % 500)["published"]
        arrivals.append(entry)
    return arrivals


def _show(summary: dict[str, Any]) -> None:
    click.echo()
    for name, value in summary.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        click.echo(f"  {name.replace('_', ' '):<20}{shown}")
    click.echo()
    if summary["lost"] or summary["twice"]:
        click.echo("That is a defect: please report it with the directory above.")
    else:
        click.echo("Nothing lost, nothing twice. Next: your first configuration, in the README.")
