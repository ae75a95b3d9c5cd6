"""R4: any history, compared with a small model of what must and what may have been delivered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .histories import play, shorten

LENGTH = 50
SEEDS = 200


@pytest.mark.parametrize("block", range(4))
def test_any_history(block: int, shm: Path) -> None:
    _try(range(block * SEEDS // 4, (block + 1) * SEEDS // 4), LENGTH, shm)


@pytest.mark.long
@pytest.mark.parametrize("block", range(20))
def test_many_histories(block: int, shm: Path) -> None:
    first = int(os.environ.get("GROVE_TEST_SEED", "1000000"))
    _try(range(first + block * 250, first + (block + 1) * 250), 100, shm)


def _try(seeds: range, length: int, folder: Path) -> None:
    failed = []
    for seed in seeds:
        setting, steps, problems = play(seed, length, folder / f"{seed}")
        if problems:
            failed.append(seed)
            shortest, why = shorten(seed, length, folder / f"{seed}", steps)
            print(f"seed {seed} {setting}\n  {shortest}\n  {why}")
    assert not failed, f"histories that went wrong: {failed}; each is shown above at its shortest"
