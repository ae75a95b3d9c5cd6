"""R7 and the soak: the same for seconds that `python -m tests.daemon.soak` does for half an hour."""

import os
import random

import pytest

from .soak import soak


def _seed() -> int:
    seed = int(os.environ.get("GROVE_TEST_SEED") or random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    return seed


def test_a_few_seconds() -> None:
    happened = soak(0.1, 8, _seed(), every=0.5, check=2)
    assert happened["delivered"] > 100
    assert happened["failed"] > 0


@pytest.mark.long
def test_half_an_hour() -> None:
    happened = soak(30, 50, _seed())
    assert happened["delivered"] > 10_000
