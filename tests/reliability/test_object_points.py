"""R1 for a bucket: the process dies, or a request or its answer is lost, at every single change of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grove.collection import Collection
from grove.delivery import Delivery
from grove.outputs import aws_s3

from .objects import ForgetfulWorld, GreedyWorld, ObjectWorld, SeveralWorld
from .points import History, every_point
from .test_crash_points import HISTORIES
from .test_mutants import MUTANTS as WRONG_FOR_FILES
from .test_mutants import Caught, First, edit, nothing, other_holder, signs
from .world import Setting, Tally

WORLDS = [ObjectWorld, GreedyWorld, ForgetfulWorld]
AT_ONCE = [0, 1]
TRIED = Tally()


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("number", range(len(HISTORIES)))
def test_nothing_is_lost_or_repeated(number: int, newest_first: bool, outputs: int, shm: Path) -> None:
    # Each history in each world, but not in every combination.
    _try(WORLDS[(number + newest_first + outputs) % len(WORLDS)], number, newest_first, outputs, shm)


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("number", AT_ONCE)
def test_files_and_objects_at_once(number: int, newest_first: bool, shm: Path) -> None:
    _try(SeveralWorld, number, newest_first, 2, shm)


@pytest.mark.long
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("number", range(len(HISTORIES)))
@pytest.mark.parametrize("kind", WORLDS)
def test_in_every_combination(
    kind: type[ObjectWorld], number: int, newest_first: bool, outputs: int, shm: Path
) -> None:
    _try(kind, number, newest_first, outputs, shm, pairs=1.0)


def _try(
    kind: type[ObjectWorld], number: int, newest_first: bool, outputs: int, root: Path, pairs: float = 0.3
) -> None:
    history = HISTORIES[number]
    setting = replace(history.setting, newest_first=newest_first, outputs=outputs)
    tally = Tally()
    every_point(replace(history, setting=setting), root, tally, seed=number, pairs=pairs, kind=kind)
    TRIED.tried += tally.tried
    assert not tally.failures, f"{len(tally.failures)} of {tally.tried}:\n" + "\n".join(tally.failures[:5])


def test_enough_was_tried() -> None:
    if TRIED.tried == 0:
        pytest.skip("the scenarios themselves were left out")
    assert TRIED.tried >= 3000


@pytest.mark.parametrize("kind", WORLDS)
def test_a_holder_that_was_paused_does_no_harm(kind: type[ObjectWorld], shm: Path) -> None:
    history = History(Setting(page_size=2, kind="integer", outputs=2), before=(1, 2), arrives=(4, 1), after=(1,))
    tally = Tally()
    other_holder(history, shm, tally, kind)
    assert tally.tried > 20
    assert not tally.failures, f"{len(tally.failures)} of {tally.tried}:\n" + "\n".join(tally.failures[:5])


# --- wrong protocols ---

WRONG = {
    "visible before the commit": (edit(Delivery, "pending", ("not self._commit_first", "True")), "twice"),
    "completed when it is staged": (
        edit(
            aws_s3.Handler,
            "stage",
            (
                'return {**staged, "etag": part["ETag"]}',
                'staged["etag"] = part["ETag"]; self._complete(staged); return staged',
            ),
        ),
        "twice",
    ),
    "every failure taken for a lost answer": (
        edit(aws_s3.Handler, "_complete", ("    raise\n    return", "    return None\n    return")),
        "lost",
    ),
    "a completed upload taken for a failure": (
        edit(aws_s3.Handler, "_judge", ("failure.code != _GONE", "True")),
        "not quiet",
    ),
    "nothing aborted": (nothing(aws_s3.Handler, "discard"), "left behind"),
    "nothing swept": (nothing(aws_s3.Handler, "sweep"), "left behind"),
    "the wrong page swept": (
        edit(Collection, "_recover", ("self.state.sequence + 1", "self.state.sequence")),
        "left behind",
    ),
    "all uploads swept, before recovery": (
        lambda put: (
            edit(aws_s3.Handler, "sweep", ("_ending(key) == ending and ", ""))(put),
            WRONG_FOR_FILES["sweep before recovery"][0](put),
        ),
        "lost",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_protocol_is_caught(name: str, shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, sign = WRONG[name]
    mutate(monkeypatch.setattr)
    history = History(Setting(page_size=2), before=(1,), arrives=(2, 1))
    with pytest.raises(Caught) as caught:
        for number, kind in enumerate(WORLDS):
            folder = shm / f"{number}"
            folder.mkdir()
            try:
                every_point(history, folder, First(), pairs=0.5, kind=kind)
            except AssertionError as err:
                raise Caught(str(err)) from err
    assert sign in signs(str(caught.value)), caught.value
