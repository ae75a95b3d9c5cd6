"""R17: daemons asked to end at random moments, one after the other; in the end each entry is there exactly once.

Run as a program this is the parent of those daemons: it has everything loaded, and never opens LMDB itself.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from grove.caches.local_lmdb import Handler as LmdbCache
from grove.configs.local_file import Handler as Documents
from grove.daemon import Supervisor
from grove.helpers import plugin
from grove.helpers.signals import Mailbox
from grove.oneshot import Collector
from grove.runtime import load_documents
from grove.testing.practice import read_delivered
from tests.reliability.truth import CONTEXT, Newest, Oldest, Source

ROUND = 25
"""Stops before the streams are brought to their end and judged."""

NAMES = ("oldest", "newest", "another")
LONGEST = 0.15
"""Seconds that a daemon runs at most: the first pages of its streams, and a while after the last."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped(number: signal.Signals, tmp_path: Path) -> None:
    _stop_some(25, number, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_often(number: signal.Signals, tmp_path: Path) -> None:
    _stop_some(1000, number, tmp_path)


def _stop_some(stops: int, number: signal.Signals, folder: Path) -> None:
    seed = os.environ.get("GROVE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    parent = [sys.executable, "-m", __name__, str(stops), str(int(number)), str(folder), seed]
    done = subprocess.run(parent, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["stopped", str(stops)]


# --- the parent ---


def main(stops: int, number: int, folder: Path, draw: random.Random) -> int:
    for start in range(0, stops, ROUND):
        root = folder / f"{start}"
        root.mkdir()
        _one_round(root, min(ROUND, stops - start), number, draw)
    return stops


def _one_round(root: Path, stops: int, number: int, draw: random.Random) -> None:
    _settle_in(root)
    entries = 60
    for _ in range(stops):
        entries += draw.randint(0, 60)
        assert _stop(entries, number, draw.uniform(0, LONGEST)) == 0
    child = os.fork()
    if not child:
        _in_child(lambda: _to_the_end(root, entries))
    assert os.waitpid(child, 0)[1] == 0
    found = Counter((entry["_grove"]["identity"], entry["id"]) for entry in read_delivered(root / "out"))
    assert found == Counter((name, number) for name in NAMES for number in range(entries)), found
    assert not [path for path in (root / "out").rglob(".*.tmp") if not path.name.startswith(".grove-output")]


def _settle_in(root: Path) -> None:
    for name in ("out", "documents"):
        (root / name).mkdir()
    os.environ |= {
        "GROVE_OUTPUT_HANDLER": "local_file",
        "GROVE_OUTPUT_LOCAL_FILE_PATH": str(root / "out"),
        "GROVE_CACHE_LOCAL_LMDB_PATH": str(root / "cache"),
        "GROVE_CONFIG_LOCAL_FILE_PATH": str(root / "documents"),
    }
    for name in NAMES:
        document = {"name": name, "identity": name, "connector": name, "frequency": 1, "outputs": {"logs": "raw"}}
        (root / "documents" / f"{name}.json").write_text(json.dumps(document))


def _stop(entries: int, number: int, seconds: float) -> int:
    """Run a daemon for so long, ask it to end, and return its exit code."""
    listening, tell = os.pipe()
    child = os.fork()
    if not child:
        _in_child(lambda: _daemon(entries, tell))
    os.close(tell)
    # Before it listens to signals, they end it in the usual way.
    assert os.read(listening, 1) == b"."
    os.close(listening)
    time.sleep(seconds)
    os.kill(child, number)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


# --- the daemons ---


def _in_child(work: Any) -> None:
    code = 1
    try:
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _daemon(entries: int, tell: int) -> int:
    _offer(entries)
    mailbox = Mailbox()
    with mailbox.signals(reload=True):
        os.write(tell, b".")
        code = Supervisor(CONTEXT, mailbox=mailbox).run()
    held = [key.pk for key, _ in LmdbCache().scan("execution_lock.")]
    assert not held, held
    return code


def _to_the_end(root: Path, entries: int) -> int:
    _offer(entries)
    assert len(Documents().get()) == len(NAMES)
    return Collector(CONTEXT).run(load_documents()).exit_code


def _offer(entries: int) -> None:
    """Connectors of made-up sources with that many entries, for which it is always time."""
    source = Source(page_size=3)
    source.add(*(1 + number // 2 for number in range(entries)))

    def kind(base: type, name: str) -> type:
        own = {"source": source, "CONNECTOR": name, "due": lambda self: True, "PIPELINED": name == "another"}
        return type("Due", (base,), own)

    kinds = {name: kind(Newest if name == "newest" else Oldest, name) for name in NAMES}
    real = plugin.load_class
    plugin.load_class = lambda name, group: kinds.get(name) or real(name, group)  # type: ignore[assignment]


if __name__ == "__main__":
    _stops, _number, _folder, _seed = sys.argv[1:]
    print("stopped", main(int(_stops), int(_number), Path(_folder), random.Random(_seed)))
