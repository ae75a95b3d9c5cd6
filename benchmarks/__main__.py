"""`python -m benchmarks`: every bar as a ratio, ours beside the baseline, in one run."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import baseline, slow_source
from benchmarks.conftest import METADATA, Kind, Saver
from benchmarks.ratio import ratio, seconds
from grove import _core
from grove.caches import Batch, Key
from grove.caches.local_lmdb import Handler as LMDBCache
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as FileOutput
from grove.testing.entries import github_entries, okta_entries

ROUNDS = 7


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    with tempfile.TemporaryDirectory(prefix="grove-bench-") as folder:
        rows = list(measure(Path(folder)))
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    print(f"{machine}; medians of {ROUNDS}")
    print(f"{'work':<34}{'ours':>12}{'baseline':>12}{'ratio':>9}{'bar':>8}")
    missed = 0
    for name, ours, theirs, found, bar in rows:
        ok = found >= bar
        missed += not ok
        goal = (f"{bar:>7.3g}x" if bar else "") + ("" if ok else "  MISSED")
        print(f"{name:<34}{ours * 1e3:>9.3f} ms{theirs * 1e3:>9.3f} ms{found:>8.1f}x{goal}")
    return 1 if missed else 0


def measure(folder: Path) -> Any:
    """The rows of the table: name, our seconds, the baseline's, ratio, bar."""
    for kind in (
        Kind("0.5 KB", '"@timestamp"', github_entries),
        Kind("1.9 KB", "published", okta_entries),
    ):
        page, path = kind.page(), _core.pointer_path(kind.path)
        pointers = path.pointers(page)
        known = baseline.hash_entries(page, kind.path)
        tied = {"tied": {digest for found in known.values() for digest in found}}
        fresh, seen, ties = _core.Seen(), _core.Seen(), _core.Seen()
        fresh.add("2001-01-01T00:00:00Z", [_core.hash_entry(page[0])])
        encoded = _core.encode(page, METADATA)
        seen.remember(pointers, encoded)
        ties.remember(["tied"] * len(page), encoded)

        def row(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], bar: float, kind: Kind = kind) -> Any:
            return (f"{name}, {kind.name}", *ratio(ours, theirs, ROUNDS), bar)

        yield row(
            "hash, by pointer",
            lambda page=page, path=path: _core.group_hashes(page, path.pointers(page)),
            lambda page=page, kind=kind: baseline.hash_entries(page, kind.path),
            4,
        )
        # Without a bar of its own: what is left is orjson and BLAKE3 themselves.
        yield row(
            "hash, nothing else",
            lambda page=page: [_core.hash_entry(entry) for entry in page],
            lambda page=page: [baseline.hash_entry(entry) for entry in page],
            0,
        )
        yield row(
            "dedup, all new",
            lambda page=page, fresh=fresh, path=path: fresh.unseen(page, path.pointers(page)),
            lambda page=page, kind=kind: baseline.deduplicate(page, kind.path, {}),
            100,
        )
        yield row(
            "dedup, all seen",
            lambda page=page, seen=seen, path=path: seen.unseen(page, path.pointers(page)),
            lambda page=page, kind=kind, known=known: baseline.deduplicate(page, kind.path, known),
            4,
        )
        yield row(
            "dedup, all tied",
            lambda page=page, ties=ties: ties.unseen(page, ["tied"] * len(page)),
            lambda page=page, kind=kind, tied=tied: baseline.deduplicate(page, kind.path, tied),
            4,
        )
        yield save_row(folder / kind.name.replace(" ", ""), kind)
    yield idle_row(folder / "idle")
    for name in slow_source.KINDS:
        yield slow_row(folder / f"slow{name}", name)


def save_row(folder: Path, kind: Kind) -> Any:
    """Durable save() of pages of 1,000 into gzip files through LMDB."""
    target = connector(folder, kind.path)
    target.lock()
    plain = folder / "plain"
    plain.mkdir()
    collector = baseline.Collector(plain, kind.path)
    mine, theirs = iter(kind.pages(5 * ROUNDS + 5)), iter(kind.pages(ROUNDS + 1))

    def ours() -> None:
        for _ in range(5):
            target.save(next(mine))

    found = ratio_of_pages(ours, lambda: collector.save(next(theirs), METADATA), per_ours=5)
    target.unlock()
    return (f"save, durable, {kind.name}", *found, 12)


def ratio_of_pages(ours: Callable[[], Any], theirs: Callable[[], Any], per_ours: int) -> tuple[float, float, float]:
    """As `ratio`, where one call of `ours` does `per_ours` times the work."""
    mine, other, found = ratio(ours, theirs, ROUNDS)
    return mine / per_ours, other, found * per_ours


def slow_row(folder: Path, name: str) -> Any:
    """A source that takes 100 ms for each page, against its own time alone."""
    target: Any = connector(folder, "at")
    own = slow_source.SECONDS * slow_source.PAGES
    took = slow_source.collect(name, folder, target._cache, target._output)
    return (f"{slow_source.PAGES} pages of 100 ms, {slow_source.KINDS[name].name}", took, own, own / took, 1 / 1.1)


def idle_row(folder: Path) -> Any:
    """A run of an idle source beside the two LMDB commits it makes: what Grove adds, against 0.7 ms."""
    target = connector(folder, "at")
    cache: Any = target._cache
    number = iter(range(1_000_000))

    def commits() -> None:
        for _ in range(2):
            batch = Batch()
            for kind in ("execution_lock", "lease", "epoch"):
                batch.set(Key(f"{kind}.other.0123456789abcdef", "all"), f"{next(number)}" * 6)
            cache.apply(batch)

    target.run()
    commits()
    ours, bare = [], []
    for _ in range(100):
        ours.append(seconds(target.run))
        bare.append(seconds(commits))
    mine, theirs = statistics.median(ours), statistics.median(bare)
    # Shown as a ratio like the others: the allowance of 0.7 ms over what was added.
    return ("idle run (allowance / added)", mine, theirs, 0.0007 / max(mine - theirs, 1e-6), 1)


def connector(folder: Path, path: str) -> Saver:
    """A connector over its own LMDB and output folder."""
    (folder / "out").mkdir(parents=True)
    os.environ["GROVE_CACHE_LOCAL_LMDB_PATH"] = str(folder / "cache")
    os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"] = str(folder / "out")
    cache, output = LMDBCache(), FileOutput()
    cache.setup()
    output.setup()
    config = ConnectorConfig(name="bench", identity="corp", connector="benchmark", key="k")
    made = Saver(config, METADATA["runtime"], cache=cache, output=output)  # type: ignore[arg-type]
    made.POINTER_PATH = path
    return made


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    print(f"{time.perf_counter() - started:.1f} s")
    sys.exit(code)
