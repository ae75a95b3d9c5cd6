"""`python -m benchmarks.documents 100`: how long `grove validate --offline` takes for that many documents.

Each number is the shortest of many runs, in a process of its own from its start to its end, and beside it stands what
Python itself needs. Documents are YAML, each with a processor and a secret, first all of one connector, then of every
one that is installed in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from grove.cli.connectors import describe, summaries

BAR = 0.3
"""Seconds for a hundred documents of one connector."""

PROGRAM = "from grove.cli import main; main()"


def write(folder: Path, count: int, connectors: Sequence[str]) -> None:
    """Write `count` documents of the `connectors` in turn, a file for each."""
    for number in range(count):
        connector = connectors[number % len(connectors)]
        document = {
            **describe(connector)["document"],
            "name": f"stream-{number}",
            "identity": f"tenant-{number}",
            "secrets": {"key": "token"},
            "processors": [{"name": "p", "processor": "filter_entries", "filters": ["actor.type == 'bot'"]}],
        }
        lines = [f"{field}: {json.dumps(value)}" for field, value in document.items()]
        (folder / f"{number}.yaml").write_text("\n".join(lines))


def shortest(command: Sequence[str], rounds: int) -> float:
    """Seconds of the shortest of so many runs, whatever they end with."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, env={**os.environ, "GROVE_SECRET_HANDLER": "local_file"})
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> int:
    """Print the figures; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=100, help="documents")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    python = shortest([sys.executable, "-c", "pass"], options.rounds)
    print(f"{'Python itself':<44}{python * 1000:7.0f} ms")
    names = [name for name, _ in summaries()]
    missed = False
    for about, connectors in (("of one connector", ["okta_system_log"]), (f"of {len(names)} connectors", names)):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), options.count, connectors)
            taken = shortest([sys.executable, "-c", PROGRAM, "validate", "--offline", folder], options.rounds)
        print(f"{f'{options.count} documents {about}':<44}{taken * 1000:7.0f} ms")
        missed |= connectors == ["okta_system_log"] and options.count == 100 and taken > BAR
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
