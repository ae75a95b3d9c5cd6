"""R2 with manifests on: real processes are killed at random moments, and in the end every chain is whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from grove.caches.local_lmdb import Handler as LmdbCache
from grove.verify import open_archive, verify
from tests.reliability import test_kill


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_killed(order: str, shm: Path) -> None:
    _kill_some(25, order, shm)


@pytest.mark.long
@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_killed_often(order: str, shm: Path) -> None:
    _kill_some(5000, order, shm)


def _kill_some(kills: int, order: str, folder: Path) -> None:
    seed = os.environ.get("GROVE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    parent = [sys.executable, "-m", test_kill.__name__, str(kills), order, str(folder), seed]
    environment = {**os.environ, "GROVE_OUTPUT_LOCAL_FILE_MANIFEST": "true"}
    done = subprocess.run(parent, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    roots = [path for path in folder.iterdir() if (path / "out").is_dir()]
    assert roots
    for root in roots:
        cache = LmdbCache(root / "cache")
        cache.setup()
        for known in (None, cache):
            report = verify(open_archive(str(root / "out")), known)
            assert (report.findings, report.waiting, report.uncovered, report.chains) == ([], [], [], 1)
