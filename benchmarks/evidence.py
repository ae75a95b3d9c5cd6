"""`python -m benchmarks.evidence`: what manifests cost a page, and how fast an archive is verified."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

from blake3 import blake3

from benchmarks import work
from benchmarks.work import METADATA, Kind, Saver
from grove._core import RawPage
from grove.caches.local_lmdb import Handler as LMDBCache
from grove.manifest import FOLDER, Line
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as FileOutput
from grove.verify import open_archive, verify

OVERHEAD = 1.03
"""What a page with a line in a manifest may take, in pages without."""

SPEED = 0.8
"""What `verify` has to reach of the speed at which the same files are hashed."""

PAGES = 240
SIZE = 1 << 30
ROUNDS = 5


def main() -> int:
    """Print the figures; 1 where a bar is missed."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else SIZE
    missed = 0
    with tempfile.TemporaryDirectory(prefix="grove-bench-") as folder:
        for kind in (work.small(), work.large()):
            without, with_one = overhead(kind, Path(folder))
            ratio = with_one / without
            missed += ratio > OVERHEAD
            print(
                f"page of 1,000 x {kind.name}: {without * 1e3:.3f} ms, with a manifest {with_one * 1e3:.3f} ms, "
                f"{ratio:.3f}x (bar {OVERHEAD:g}x)"
            )
        for each, bar in ((50_000, 0), (200_000, SPEED), (1_000_000, SPEED)):
            ours, theirs = speeds(Path(folder) / f"archive-{each}", size, each)
            missed += ours < bar * theirs
            print(
                f"verify {size / 1e9:.2f} GB in objects of {each // 1000} kB: {ours / 1e9:.2f} GB/s, hashing alone "
                f"{theirs / 1e9:.2f} GB/s, {ours / theirs:.2f}x{f' (bar {bar:g}x)' if bar else ''}"
            )
    return 1 if missed else 0


# --- what a line costs ---


def overhead(kind: Kind, folder: Path) -> tuple[float, float]:
    """Seconds of a page without a manifest and with one: two streams that take turns, page by page.

    Means of the faster half, so that what else the machine does counts for little, and syncs of the manifest, which
    come with every twentieth page, count in full.
    """
    root = Path(tempfile.mkdtemp(dir=folder))
    pages = kind.bodies(PAGES)
    streams = [_stream(root, kind, manifest) for manifest in (False, True)]
    found: tuple[list[float], list[float]] = ([], [])
    for number, page in enumerate(pages):
        for turn in (0, 1) if number % 2 else (1, 0):
            save = streams[turn].save
            entries = RawPage(page)
            started = time.perf_counter()
            save(entries)
            found[turn].append(time.perf_counter() - started)
    for stream in streams:
        stream.unlock()
    return _faster_half(found[0]), _faster_half(found[1])


def _faster_half(times: list[float]) -> float:
    # In groups of twenty, so that a group with its sync is compared with a group.
    groups = sorted(statistics.fmean(times[start : start + 20]) for start in range(20, len(times), 20))
    return statistics.fmean(groups[: len(groups) // 2 + 1])


def _stream(root: Path, kind: Kind, manifest: bool) -> Saver:
    place = root / str(manifest)
    (place / "out").mkdir(parents=True)
    os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"] = str(place / "out")
    os.environ["GROVE_OUTPUT_LOCAL_FILE_MANIFEST"] = str(manifest).lower()
    cache, output = LMDBCache(place / "cache"), FileOutput()
    cache.setup()
    output.setup()
    config = ConnectorConfig(name="bench", identity="corp", connector="benchmark", key="k")
    made = Saver(config, METADATA["runtime"], cache=cache, output=output)  # type: ignore[arg-type]
    made.POINTER_PATH = kind.path
    made.lock()
    return made


# --- how fast it is verified ---


def speeds(root: Path, size: int, each: int) -> tuple[float, float]:
    """Bytes a second of `verify`, and of reading and hashing the same files on all cores and nothing else."""
    paths = list(_make(root, size, each))
    work: tuple[Callable[[], Any], ...] = (lambda: _verified(root), lambda: _hashed(paths))
    times: tuple[list[float], list[float]] = ([], [])
    for turn in [0, 1] * (ROUNDS + 1):
        started = time.perf_counter()
        work[turn]()
        times[turn].append(time.perf_counter() - started)
    total = len(paths) * each
    return total / min(times[0][1:]), total / min(times[1][1:])


def _verified(root: Path) -> None:
    assert verify(open_archive(str(root))).findings == []


def _hashed(paths: list[Path]) -> None:
    """What b3sum does, in Python: each file whole, several at a time."""

    def hash_all(some: list[Path]) -> None:
        for path in some:
            with path.open("rb", buffering=0) as file:
                blake3(file.read()).hexdigest()

    batches = [paths[start : start + 32] for start in range(0, len(paths), 32)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(hash_all, batches))


def _make(root: Path, size: int, each: int) -> Iterator[Path]:
    """An archive of that many bytes, with its manifest. Objects are made of what cannot be compressed, as gzip is."""
    blocks = [os.urandom(each) for _ in range(16)]
    days = cycle(f"logs/bench/corp/2026/11/{day:02d}" for day in range(1, 29))
    lines, head = [], None
    for number, (day, data) in enumerate(zip(days, cycle(blocks), strict=False)):
        if number * each >= size:
            break
        name = f"{day}/all-2026-11-01T00:00:00Z.0-{number:016x}.json.gz"
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digest = blake3(data).hexdigest()
        line = Line("0" * 16, number + 1, name, 1000, None, None, each, digest, number + 1, "", False, head)
        text, head = line.encode()
        lines.append(text)
        yield path
    manifest = root / FOLDER / "bench" / "corp" / f"all-{'0' * 16}.000000001-00000000.jsonl"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("".join(lines))


if __name__ == "__main__":
    sys.exit(main())
