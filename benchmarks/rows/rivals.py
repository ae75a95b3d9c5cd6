"""The same work with what people would use instead: pages of JSON in, gzip lines that carry metadata out, one thread.

Nothing is made durable, and all files lie in memory. The others need not look at pointers, drop what was seen, or keep
a place to go on from; ours does all that a `save()` does.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from isal import isal_zlib

from benchmarks import work
from benchmarks.ratio import turns
from benchmarks.rows._row import Places, Row, Skipped
from benchmarks.work import METADATA, Kind
from grove import RawPage

PAGES = 10

BARS = {"0.5 KB": 1.8, "1.9 KB": 3.5}
"""Times as fast as the best of them."""

Work = Callable[[list[Path]], Any]
"""Takes the files of the pages, which lie in memory."""


def rows(places: Places, rounds: int) -> Iterator[Row | Skipped]:
    for kind in (work.small(), work.large()):
        folder = places.fast / f"rivals-{kind.name.replace(' ', '')}"
        works: dict[str, Work] = {"ours": _ours(folder / "ours", kind)}
        for name, make in RIVALS.items():
            (folder / name).mkdir()
            try:
                works[name] = make(folder / name)
            except ImportError as err:
                yield Skipped(f"beside {name}, {kind.name}", f"{err.name} is not installed")
        if len(works) == 1:
            continue
        calls = [_several(run, folder / f"pages-{name}", kind, rounds + 1) for name, run in works.items()]
        times = [[seconds / PAGES for seconds in found] for found in turns(rounds, *calls)]
        ours, *theirs = times
        for name, found in zip(list(works)[1:], theirs, strict=True):
            yield Row("rivals", f"beside {name}, {kind.name}", ours, found, bar=1, beside=name)
        best = [min(some) for some in zip(*theirs, strict=True)]
        yield Row("rivals", f"beside the best of them, {kind.name}", ours, best, bar=BARS[kind.name], beside="best")


def _several(run: Work, folder: Path, kind: Kind, calls: int) -> Callable[[], Any]:
    """Calls that take `PAGES` files each, none of them twice."""
    folder.mkdir()
    paths = [folder / f"{number}.json" for number in range(calls * PAGES)]
    for path, body in zip(paths, kind.bodies(len(paths)), strict=True):
        path.write_bytes(body)
    left = iter(paths)
    return lambda: run([next(left) for _ in range(PAGES)])


def _ours(folder: Path, kind: Kind) -> Work:
    target = work.connector(folder, kind.path)
    target.lock()

    def run(paths: list[Path]) -> None:
        for path in paths:
            target.save(RawPage(path.read_bytes(), "", kind.path))

    return run


def _duckdb(folder: Path) -> Work:
    """Entries stay text: the metadata is put before the last brace, and lines are written as a CSV without quotes."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    tail = f',"_grove":{orjson.dumps(METADATA).decode()}}}'

    def run(paths: list[Path]) -> None:
        for path in paths:
            connection.execute(
                f"COPY (SELECT left(json, -1) || '{tail}' FROM read_json_objects('{path}', format = 'array'))"
                f" TO '{folder / path.name}.gz'"
                " (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', COMPRESSION gzip)"
            )

    return run


def _polars(folder: Path) -> Work:
    # Read when it is imported.
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars

    metadata = polars.struct(
        **{name: polars.lit(value) for name, value in METADATA.items() if name != "runtime"},
        runtime=polars.struct(**{name: polars.lit(value) for name, value in METADATA["runtime"].items()}),  # type: ignore[attr-defined]
    ).alias("_grove")

    def run(paths: list[Path]) -> None:
        for path in paths:
            lines = io.BytesIO()
            polars.read_json(path.read_bytes()).with_columns(metadata).write_ndjson(lines)
            (folder / f"{path.name}.gz").write_bytes(isal_zlib.compress(lines.getbuffer(), 1, 31))

    return run


def _dlt(folder: Path) -> Work:
    """All pages of a call in one run of a pipeline: most of what a run costs is the same for any number of pages."""
    os.environ.update(
        RUNTIME__DLTHUB_TELEMETRY="false",
        RUNTIME__LOG_LEVEL="ERROR",
        EXTRACT__WORKERS="1",
        NORMALIZE__WORKERS="1",
        LOAD__WORKERS="1",
    )
    import dlt
    from dlt.destinations import filesystem

    pipeline = dlt.pipeline(
        "grove_benchmark",
        pipelines_dir=str(folder / "state"),
        destination=filesystem(bucket_url=folder.as_uri()),
        dataset_name="out",
        progress=None,
    )

    def run(paths: list[Path]) -> None:
        pages = ([{**entry, "_grove": METADATA} for entry in orjson.loads(path.read_bytes())] for path in paths)
        resource = dlt.resource(pages, name="entries", write_disposition="append", max_table_nesting=0)
        pipeline.run(resource, loader_file_format="jsonl").raise_on_failed_jobs()

    return run


RIVALS: dict[str, Callable[[Path], Work]] = {"DuckDB": _duckdb, "Polars": _polars, "dlt": _dlt}
"""Each takes the folder it is to write below. ImportError where it is not installed."""
