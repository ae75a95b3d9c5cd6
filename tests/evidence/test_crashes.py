"""R1 with manifests on: whatever happens at any side effect, nothing is lost or repeated and the chain is whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grove.collection import Collection
from grove.delivery import Delivery
from grove.manifest import Manifests
from grove.outputs.local_file import Handler as FileOutput
from tests.evidence.world import EvidenceGreedyWorld, EvidenceObjectWorld, EvidenceWorld
from tests.reliability.points import History, every_point
from tests.reliability.test_crash_points import HISTORIES
from tests.reliability.test_mutants import Caught, First, edit, nothing
from tests.reliability.world import Setting, Tally, World


def tried(kind: type[World], history: History, root: Path, *, seed: int = 0, pairs: float = 0.1) -> int:
    tally = Tally()
    every_point(history, root, tally, seed=seed, pairs=pairs, kind=kind)
    assert not tally.failures, f"{len(tally.failures)} of {tally.tried}:\n" + "\n".join(tally.failures[:5])
    return tally.tried


@pytest.mark.parametrize("number", [0, 2, 7, 9])
def test_files(number: int, shm: Path) -> None:
    history = HISTORIES[number]
    setting = replace(history.setting, newest_first=number % 2 == 1, outputs=1 + number // 5)
    assert tried(EvidenceWorld, replace(history, setting=setting), shm, seed=number) > 50


@pytest.mark.parametrize("kind", [EvidenceObjectWorld, EvidenceGreedyWorld])
@pytest.mark.parametrize("number", [2, 9])
def test_objects(number: int, kind: type[World], shm: Path) -> None:
    history = HISTORIES[number]
    setting = replace(history.setting, outputs=1 + number // 5)
    assert tried(kind, replace(history, setting=setting), shm, seed=number) > 50


@pytest.mark.long
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("number", range(len(HISTORIES)))
@pytest.mark.parametrize("kind", [EvidenceWorld, EvidenceObjectWorld, EvidenceGreedyWorld])
def test_in_every_combination(kind: type[World], number: int, newest_first: bool, outputs: int, shm: Path) -> None:
    history = HISTORIES[number]
    setting = replace(history.setting, newest_first=newest_first, outputs=outputs)
    tried(kind, replace(history, setting=setting), shm, seed=number, pairs=1.0)


# --- wrong protocols ---

WRONG = {
    "no line": nothing(Manifests, "note"),
    "lines not written": edit(Manifests, "write", ("handler.write_manifest", "(lambda *_: None)")),
    "lines written after the objects are visible": edit(
        Delivery,
        "publish",
        ("self._manifests.write()", "pass"),
        ("self._publish()", "self._publish(); self._manifests.write()"),
    ),
    "lines written before the commit": edit(
        Delivery,
        "manifest",
        (
            "return self._manifests.prepare(sequence, first, last)",
            "text = self._manifests.prepare(sequence, first, last); self._manifests.write(); return text",
        ),
    ),
    "no recovery": nothing(Manifests, "recover"),
    "a tail that is not kept": edit(
        Manifests, "_extended", ("tail=chain.tail + text", "durable=chain.size + len(text), tail=''")
    ),
    "no sync at the end": nothing(FileOutput, "sync_manifest"),
    "the chain's state in another commit": edit(
        Collection,
        "_deliver_and_commit",
        ("changes[MANIFEST] = delivery.manifest(", "changes[MANIFEST] = state.get(MANIFEST); delivery.manifest("),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_protocol_is_caught(name: str, shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WRONG[name](monkeypatch.setattr)
    history = History(Setting(page_size=2), before=(1,), arrives=(2, 1))
    with pytest.raises((Caught, AssertionError)) as caught:
        every_point(history, shm, First(), pairs=0.5, kind=EvidenceWorld)
    assert "manifest" in str(caught.value)
