"""A soak: `groved` with many streams for a long time, something going wrong every few seconds, checked all the while.

    python -m tests.daemon.soak --minutes 30 --streams 50 --seed 1

Entries arrive all the time, in both orders and every kind of paging. Now and then an API fails in one of many ways, or
the daemon is killed, paused or told to read its configuration again. At the end everything that was offered has to be
there, once; on the way nothing may be there twice, and memory, threads and file descriptors have to stay flat.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grove.testing.practice import PracticeAPI
from grove.testing.practice_bodies import error_body, html
from grove.testing.practice_documents import http_json
from grove.testing.practice_faults import Fault, rate_limited, reset, status, truncated

ORDERS = ("oldest_first", "newest_first")
PAGINGS = ("cursor", "next_link", "offset", "keyset")
FAULTS: tuple[Callable[[], Fault], ...] = (
    lambda: status(503),
    lambda: status(500),
    lambda: rate_limited(1),
    lambda: rate_limited(2, how="date"),
    lambda: reset(),
    lambda: reset(100),
    lambda: truncated(300),
    lambda: html(),
    lambda: error_body(),
)
GROWTH = 8 << 20
"""How many bytes of memory, beyond what there were after the first third, count as a leak."""


class Soak:
    """The APIs, the daemon, and what was seen of both. `draw` decides everything that is left to chance."""

    def __init__(self, root: Path, streams: int, draw: random.Random) -> None:
        self.root = root
        self.draw = draw
        self.out = root / "out"
        self.documents = root / "documents"
        for folder in (self.out, self.documents):
            folder.mkdir()
        self.apis = [
            PracticeAPI(20, order=ORDERS[number % 2], paging=PAGINGS[number // 2 % 4], page_size=10)  # type: ignore[arg-type]
            for number in range(streams)
        ]
        self.daemon: subprocess.Popen[bytes] | None = None
        self.logs = open(root / "groved.log", "ab")  # noqa: SIM115
        self.read: set[Path] = set()
        self.delivered: Counter[tuple[str, str]] = Counter()
        self.happened: Counter[str] = Counter()
        self.usage: list[tuple[int, int, int]] = []

    def start(self) -> None:
        """Start the daemon, or start it again."""
        environment = {
            **os.environ,
            "GROVE_CONFIG_LOCAL_FILE_PATH": str(self.documents),
            "GROVE_CACHE_LOCAL_LMDB_PATH": str(self.root / "state"),
            "GROVE_OUTPUT_HANDLER": "local_file",
            "GROVE_OUTPUT_LOCAL_FILE_PATH": str(self.out),
            "GROVE_CONFIG_REFRESH": "5",
        }
        command = [sys.executable, "-c", "from grove.cli.daemon import main; main()"]
        self.daemon = subprocess.Popen(command, env=environment, stdout=self.logs, stderr=self.logs)
        self.usage = []

    def go_wrong(self) -> None:
        """One thing, to one stream or to the daemon."""
        assert self.daemon is not None
        what = self.draw.random()
        if what < 0.04:
            self.daemon.kill()
            self.daemon.wait()
            self.happened["killed"] += 1
            self.start()
        elif what < 0.08:
            self.daemon.send_signal(signal.SIGSTOP)
            time.sleep(self.draw.uniform(0.1, 2))
            self.daemon.send_signal(signal.SIGCONT)
            self.happened["paused"] += 1
        elif what < 0.12:
            self.daemon.send_signal(signal.SIGHUP)
            self.happened["reloaded"] += 1
        else:
            api = self.draw.choice(self.apis)
            api.fault(self.draw.randint(1, 3), self.draw.choice(FAULTS)())
            self.happened["failed"] += 1

    def arrive(self) -> None:
        """New entries, some of them tied with the newest, at some of the APIs."""
        for api in self.draw.sample(self.apis, max(1, len(self.apis) // 5)):
            api.offer(self.draw.randint(1, 25), tied=self.draw.random() < 0.2)

    def check(self) -> None:
        """AssertionError where something is there twice, or was never offered; notes what the daemon uses."""
        for path in self.out.rglob("*.json.gz"):
            if path in self.read:
                continue
            self.read.add(path)
            for line in gzip.decompress(path.read_bytes()).splitlines():
                entry = json.loads(line)
                self.delivered[entry["_grove"]["identity"], entry["id"]] += 1
        twice = [place for place, count in self.delivered.items() if count > 1]
        assert not twice, f"{len(twice)} entries were delivered twice, first {twice[:3]}"
        foreign = self.delivered.keys() - self.offered()
        assert not foreign, f"{len(foreign)} entries were never offered, first {sorted(foreign)[:3]}"
        assert self.daemon is not None
        assert self.daemon.poll() is None, f"the daemon ended by itself, with {self.daemon.returncode}"
        self.usage.append(usage_of(self.daemon.pid))

    def offered(self) -> set[tuple[str, str]]:
        """Stream and id of every entry that was ever offered."""
        return {(f"stream-{number}", entry["id"]) for number, api in enumerate(self.apis) for entry in api.offered}

    def end(self) -> None:
        """Heal everything, wait until all has arrived, and end the daemon as a service manager does."""
        assert self.daemon is not None
        for api in self.apis:
            api.heal()
        deadline = time.monotonic() + 180
        while self.delivered.keys() != self.offered():
            assert time.monotonic() < deadline, f"{len(self.offered() - self.delivered.keys())} entries are missing"
            time.sleep(1)
            self.check()
        self.check()
        self.daemon.terminate()
        assert self.daemon.wait(30) == 0
        assert_flat(self.usage)


def usage_of(pid: int) -> tuple[int, int, int]:
    """Bytes of memory, threads and file descriptors of a process."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    memory = int(fields["VmRSS"].split()[0]) * 1024
    return memory, int(fields["Threads"]), len(os.listdir(f"/proc/{pid}/fd"))


def assert_flat(usage: list[tuple[int, int, int]]) -> None:
    """AssertionError where the last third of what was seen is more than the middle one had."""
    third = len(usage) // 3
    if third < 3:
        return
    middle, last = usage[third : 2 * third], usage[2 * third :]
    for name, place, slack in (("memory", 0, GROWTH), ("threads", 1, 2), ("file descriptors", 2, 4)):
        before, after = max(seen[place] for seen in middle), min(seen[place] for seen in last)
        assert after <= before + slack, f"{name} grew from {before} to {after}"


def soak(minutes: float, streams: int, seed: int, *, every: float = 5.0, check: float = 30.0) -> dict[str, Any]:
    """Run one; what happened in it. `every` and `check` are seconds between two faults and two looks."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="grove-soak-") as folder, contextlib.ExitStack() as stack:
        made = Soak(Path(folder), streams, draw)
        stack.enter_context(made.logs)
        for number, api in enumerate(made.apis):
            stack.enter_context(api)
            fields = {"name": f"stream-{number}", "identity": f"stream-{number}", "frequency": 2}
            (made.documents / f"{number}.json").write_text(json.dumps(http_json(api, **fields)))
        made.start()
        assert made.daemon is not None
        try:
            end = time.monotonic() + minutes * 60
            next_fault, next_check = time.monotonic() + every, time.monotonic() + check
            while (now := time.monotonic()) < end:
                made.arrive()
                if now >= next_fault:
                    made.go_wrong()
                    next_fault += every
                if now >= next_check:
                    made.check()
                    next_check += check
                time.sleep(0.5)
            made.end()
        except BaseException:
            print((made.root / "groved.log").read_text()[-5000:], file=sys.stderr)
            raise
        finally:
            made.daemon.kill()
            made.daemon.wait()
        return {
            "minutes": minutes,
            "streams": streams,
            "seed": seed,
            "delivered": len(made.delivered),
            **made.happened,
            "memory": made.usage[-1][0],
            "threads": made.usage[-1][1],
            "descriptors": made.usage[-1][2],
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    print(json.dumps(soak(given.minutes, given.streams, given.seed)))
