"""`python -m benchmarks.knobs`: what each setting that can be turned is worth on this machine.

Each number is the median of several rounds, in which all values of the setting take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import report, work
from benchmarks.documents import PROGRAM
from benchmarks.ratio import turns
from benchmarks.rows._row import Places
from benchmarks.work import METADATA, Kind, PipelinedSaver, Saver, surroundings
from grove import RawPage, _core
from grove.caches import Batch, Key
from grove.caches.local_lmdb import Handler as LMDBCache
from grove.exceptions import ConfigurationException
from grove.helpers.codecs import Codec, Gzip, Plain, Zstd

ENTRIES = 10_000
"""That are saved in each call, in pages of different sizes."""

SIZES = (100, 300, 1_000, 3_000, 10_000)

PAGES = "GROVE_BENCHMARK_PAGES"
WAIT = "GROVE_BENCHMARK_WAIT"


def main() -> int:
    """Print a table for each knob."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.knobs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (%(default)s)")
    parser.add_argument("--only", action="append", choices=list(KNOBS), help="one knob; may be given again")
    parser.add_argument(
        "--directory", type=Path, default=Path("/var/tmp"), metavar="DIR", help="on a real disk (%(default)s)"
    )
    options = parser.parse_args()
    with ExitStack() as stack:

        def folder(parent: Path) -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grove-bench-", dir=parent)))

        places = Places(folder(options.directory), folder(report.memory(options.directory)))
        print(report.described(places))
        for name in options.only or KNOBS:
            print()
            KNOBS[name](places, options.rounds)
    return 0


# --- pages ---


def page_size(places: Places, rounds: int) -> None:
    """Entries a second of durable saves, by how many entries come at once."""
    print(f"{'entries a page':<24}{'in line':>20}{'commits beside':>20}")
    for kind in (work.small(), work.large()):
        calls = [
            _saving(places.disk / f"{cls.__name__}-{size}-{kind.name.split()[0]}", kind, cls, size, rounds + 1)
            for size in SIZES
            for cls in (Saver, PipelinedSaver)
        ]
        speeds = iter([ENTRIES / statistics.median(times) for times in turns(rounds, *calls)])
        for size in SIZES:
            print(f"{f'{size:,} of {kind.name}':<24}{next(speeds):>18,.0f}/s{next(speeds):>18,.0f}/s", flush=True)


def _saving(folder: Path, kind: Kind, cls: type[Saver], size: int, calls: int) -> Callable[[], None]:
    target = work.connector(folder, kind.path, cls)
    target.lock()
    bodies = iter(kind.bodies(calls * ENTRIES // size, size))

    def run() -> None:
        for _ in range(ENTRIES // size):
            target.save(RawPage(next(bodies), "", kind.path))
        target._finish_page()

    return run


# --- compression ---


def compression(_: Places, rounds: int) -> None:
    """Milliseconds of encoding and compressing a page of 1,000, and how many times smaller it is then."""
    print(f"{'compression':<24}{'0.5 KB':>12}{'smaller':>10}{'1.9 KB':>12}{'smaller':>10}")
    codecs: dict[str, Codec] = {"none": Plain(), **{f"gzip {level}": Gzip(level) for level in range(4)}}
    try:
        codecs |= {f"zstd {level}": Zstd(level) for level in (1, 3, 6, 9, 12, 19)}
    except ConfigurationException as err:
        print(err)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in codecs}
    for kind in (work.small(), work.large()):
        (body,) = kind.bodies(1)
        page = RawPage(body, "", kind.path)
        lines = len(_core.encode(page, METADATA).data)
        times = turns(rounds, *[partial(_packed, page, codec) for codec in codecs.values()])
        for (name, codec), took in zip(codecs.items(), times, strict=True):
            found[name].append((statistics.median(took), lines / len(_packed(page, codec))))
    for name, pairs in found.items():
        print(f"{name:<24}" + "".join(f"{took * 1e3:>9.2f} ms{smaller:>9.1f}x" for took, smaller in pairs), flush=True)


def _packed(page: RawPage, codec: Codec) -> bytes:
    packed = _core.encode(page, METADATA, codec).packed
    assert packed is not None
    return packed


# --- state ---


def state(places: Places, rounds: int) -> None:
    """Milliseconds of a durable commit, by where the state lies. In memory nothing is durable."""
    print(f"{'state on':<24}{'a commit':>12}")
    for folder in (places.disk, places.fast):
        cache = LMDBCache(folder / "commits")
        cache.setup()
        number = count()

        def commits(cache: LMDBCache = cache, number: Any = number) -> None:
            for _ in range(50):
                batch = Batch()
                for kind in ("pointer", "pointer_previous", "boundary", "sequence", "pending", "epoch"):
                    batch.set(Key(f"{kind}.benchmark.0123456789abcdef", "all"), f"{next(number)}" * 4)
                cache.apply(batch)

        (times,) = turns(rounds, commits)
        print(f"{report.file_system(folder):<24}{statistics.median(times) / 50 * 1e3:>9.2f} ms", flush=True)


# --- streams at a time, and processes ---


class Paged(PipelinedSaver):
    """A source whose pages lie in files, and which takes its time for each."""

    CONNECTOR = "paged"
    POINTER_PATH = work.small().path

    def collect(self) -> None:
        """Save them all."""
        for path in sorted(Path(os.environ[PAGES]).iterdir()):
            if wait := float(os.environ[WAIT]):
                time.sleep(wait)
            self.save(RawPage(path.read_bytes(), "", self.POINTER_PATH))


def workers(places: Places, rounds: int) -> None:
    """Seconds of a run of 200 streams, each of which waits for its source five times 100 ms."""
    print(f"{'GROVE_WORKER_COUNT':<24}{'200 streams':>12}")
    _run_with("GROVE_WORKER_COUNT", (10, 20, 50, 100, 200), places, rounds, streams=200, pages=5, size=100, wait=0.1)


def processes(places: Places, rounds: int) -> None:
    """Seconds of a run of 16 streams, each of which has 100 pages of 1,000 at hand."""
    print(f"{'GROVE_PROCESSES':<24}{'16 streams':>12}")
    _run_with("GROVE_PROCESSES", (1, 2, 4), places, rounds, streams=16, pages=100, size=work.PAGE, wait=0)


def _run_with(
    name: str, values: tuple[int, ...], places: Places, rounds: int, *, streams: int, pages: int, size: int, wait: float
) -> None:
    """What whole runs of `grove` take with each of the `values`, beyond those of a Grove that has no streams."""
    source = places.fast / f"pages-{name}"
    source.mkdir()
    for number, body in enumerate(work.small().bodies(pages, size)):
        (source / f"{number:05}.json").write_bytes(body)
    more = {PAGES: str(source), WAIT: str(wait)}
    calls = [partial(_run, places.disk, made, {**more, name: str(value)}) for value in values for made in (0, streams)]
    times = turns(rounds, *calls)
    for value, idle, took in zip(values, times[::2], times[1::2], strict=True):
        print(f"{value:<24}{statistics.median(took) - statistics.median(idle):>10.2f} s", flush=True)


def _run(place: Path, streams: int, settings: Mapping[str, str]) -> None:
    """One run of `grove` with that many streams, all of them new."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        environment = {**surroundings(Path(folder), paged="benchmarks.knobs:Paged"), **settings}
        for number in range(streams):
            document = f'{{"name": "s{number}", "identity": "i{number}", "connector": "paged", "key": "k"}}'
            (Path(folder) / "documents" / f"{number}.json").write_text(document)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"grove ended with {done.returncode}: {done.stderr[-2000:]}")


KNOBS: dict[str, Callable[[Places, int], None]] = {
    "page-size": page_size,
    "compression": compression,
    "state": state,
    "workers": workers,
    "processes": processes,
}

if __name__ == "__main__":
    sys.exit(main())
