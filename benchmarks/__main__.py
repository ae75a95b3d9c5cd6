"""`python -m benchmarks`: every bar as a ratio, ours beside something else, measured in one run."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import report
from benchmarks.rows import SUBJECTS, rows
from benchmarks.rows._row import Places, Row

ROUNDS = 7


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    options = _options()
    measured = []
    with ExitStack() as stack:

        def folder(parent: Path) -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grove-bench-", dir=parent)))

        places = Places(folder(options.directory), folder(report.memory(options.directory)))
        print(report.described(places))
        print(report.head(options.rounds), flush=True)
        for subject in options.only or SUBJECTS:
            for found in rows(subject, places, options.rounds):
                if isinstance(found, Row):
                    measured.append(found)
                    print(report.line(found), flush=True)
                else:
                    print(f"{found.name:<44}skipped: {found.why}", flush=True)
    if options.json:
        report.write_json(measured, options.json)
    if options.chart:
        report.write_chart(measured, options.chart)
    return 1 if any(row.missed for row in measured) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each row is measured (%(default)s)")
    parser.add_argument("--only", action="append", choices=SUBJECTS, help="one subject; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what `pytest-benchmark compare` reads")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw a PNG (needs matplotlib)")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("/var/tmp"),
        metavar="DIR",
        help="a directory on a real disk, for what has to be durable (%(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    print(f"{time.perf_counter() - started:.1f} s")
    sys.exit(code)
