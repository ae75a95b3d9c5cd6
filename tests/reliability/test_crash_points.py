"""R1: the process dies, the power goes, the disk or the cache fails, at every single side effect of a run."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from .points import History, every_point
from .world import Setting, Tally

HISTORIES = [
    # A first run: one page, then several with ties across their edge.
    History(Setting(kind="integer"), arrives=(2,), after=()),
    History(Setting()),
    # Runs that find a pointer, and new entries that share it.
    History(Setting(page_size=2, kind="integer"), before=(1, 2), arrives=(8, 1), after=(1,)),
    History(Setting(page_size=5), before=(3,), ties=4, arrives=(5, 1, 3), after=(1, 4)),
    # Without a rename that refuses to replace.
    History(Setting(page_size=2, links=True), before=(3,), arrives=(2, 1)),
    # After a run that the source ended early; for newest-first that leaves an interval.
    History(Setting(page_size=5, live=True), before=(3,), opened=(1, 8, 2), opened_pages=2, arrives=(2, 1, 5)),
    History(Setting(page_size=3, live=True), before=(1,), opened=(1, 3, 1), arrives=(2, 1, 1), after=(1, 4)),
    History(Setting(page_size=3), before=(1,), opened=(4, 1), ties=2, arrives=(1,), after=(1, 4)),
    # Over midnight, and with state that lies in LMDB.
    History(Setting(start="2025-03-30T23:59:59"), before=(1,), opened=(3, 3), ties=2, arrives=(1, 1), after=(1,)),
    History(Setting(store="lmdb"), before=(1,), arrives=(3, 1), after=(1,)),
]

TRIED = Tally()


# Side effects are the same ones beside the next page, and come in the same order.
@pytest.mark.parametrize(("outputs", "pipelined"), [(1, True), (2, False)], ids=["one, pipelined", "two, in line"])
@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("number", range(len(HISTORIES)))
def test_nothing_is_lost_or_repeated(number: int, newest_first: bool, outputs: int, pipelined: bool, shm: Path) -> None:
    history = HISTORIES[number]
    setting = replace(history.setting, newest_first=newest_first, outputs=outputs, pipelined=pipelined)
    tally = Tally()
    every_point(replace(history, setting=setting), shm, tally, seed=number, pairs=0.1)
    TRIED.tried += tally.tried
    assert not tally.failures, f"{len(tally.failures)} of {tally.tried}:\n" + "\n".join(tally.failures[:5])


def test_enough_was_tried() -> None:
    if TRIED.tried == 0:
        pytest.skip("the scenarios themselves were left out")
    assert TRIED.tried >= 4000


@pytest.mark.long
@pytest.mark.parametrize("swarm", range(20))
def test_swarm(swarm: int, tmp_path: Path, shm: Path) -> None:
    draw = random.Random(swarm)
    tally, number = Tally(), 0
    while tally.tried < 5000:
        number += 1
        seed = draw.getrandbits(32)
        choose = random.Random(seed)
        setting = Setting(
            newest_first=choose.random() < 0.5,
            kind=choose.choice(("iso", "integer")),
            outputs=choose.choice((1, 1, 2)),
            page_size=choose.randint(2, 5),
            live=choose.random() < 0.5,
            links=choose.random() < 0.1,
            pipelined=choose.random() < 0.5,
            start=choose.choice(("2025-03-30T00:59:58", "2024-12-31T23:59:59")),
        )
        history = History(
            setting,
            before=_groups(choose, 3),
            opened=_groups(choose, 3),
            opened_pages=choose.randint(0, 3),
            arrives=(*_groups(choose, 3), choose.randint(1, 8)),
            ties=choose.randint(0, 3),
            after=_groups(choose, 2),
        )
        folder = shm / f"{number}"
        folder.mkdir()
        every_point(history, folder, tally, seed=seed, subsets=3, pairs=0.5)
    assert not tally.failures, f"{len(tally.failures)} of {tally.tried}:\n" + "\n".join(tally.failures[:5])


def _groups(draw: random.Random, longest: int) -> tuple[int, ...]:
    return tuple(draw.randint(1, 8) for _ in range(draw.randint(0, longest)))
