"""R19: documents are edited at random, for hours of simulated time: the daemon follows, and no one is disturbed."""

from __future__ import annotations

import logging
import os
import random

import pytest

from grove.exceptions import AccessException, RequestFailedException
from grove.helpers.signals import Reload

from .conftest import Stage

REFRESH = 100
EDITED = tuple(f"edited-{number}" for number in range(8))
STEADY = tuple(f"steady-{number}" for number in range(3))
BROKEN_END = b"{broken"
TOLD = {
    "A configuration document is unusable; its last usable version is kept.",
    "A configuration document was skipped.",
}


def test_random_edits(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    _edit(stage, caplog, edits=150)


@pytest.mark.long
@pytest.mark.parametrize("block", range(10))
def test_many_random_edits(stage: Stage, caplog: pytest.LogCaptureFixture, block: int) -> None:
    _edit(stage, caplog, edits=3_000)


class Editor:
    """Edits documents, and knows from those that the daemon reads which streams it has to collect, how often."""

    def __init__(self, stage: Stage, draw: random.Random) -> None:
        self.stage = stage
        self.draw = draw
        self.wanted: dict[str, int] = {}
        self.broken: set[bytes] = set()
        self.failing = False
        self._frequencies: dict[str, int] = {}
        self._count = 0
        for name in STEADY:
            self._write(name, 60)
        stage.load = self._read

    def _write(self, name: str, frequency: int) -> None:
        self._frequencies[name] = frequency
        self.stage.document(name, frequency=frequency)

    def _read(self) -> None:
        """The daemon reads the documents, which nobody edits meanwhile."""
        if self.failing:
            raise AccessException("the store is down")
        wanted = {}
        for name, content in self.stage.documents.items():
            if content.endswith(BROKEN_END):
                self.broken.add(content)
                if name in self.wanted:
                    wanted[name] = self.wanted[name]
            else:
                wanted[name] = self._frequencies[name]
        self.wanted = wanted

    def edit(self) -> None:
        """Look whether the daemon does what the documents said when it read them last; then edit one of them."""
        self.check()
        name, draw, documents = self.draw.choice(EDITED), self.draw, self.stage.documents
        self._count += 1
        match draw.randrange(6):
            case 0 | 1:
                self._write(name, draw.choice([30, 60, 200]))
            case 2:
                # At another place each time: what is the same mistake is not told again.
                documents[name] = b" " * self._count + BROKEN_END
            case 3:
                documents.pop(name, None)
            case 4:
                self.failing = not self.failing and draw.random() < 0.5
            case _:
                self.stage.mailbox.send(Reload())

    def check(self) -> None:
        """AssertionError where other streams are collected than there ought to be, or not as often."""
        streams = self.stage.supervisor.streams.values()
        assert {stream.config.name: stream.config.frequency for stream in streams} == self.wanted


def _edit(stage: Stage, caplog: pytest.LogCaptureFixture, edits: int) -> None:
    seed = os.environ.get("GROVE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    draw = random.Random(seed)
    editor = Editor(stage, draw)

    def fail(connector: object) -> None:
        raise RequestFailedException("made up")

    stage.acts[EDITED[0]] = fail
    moment = 0.0
    for _ in range(edits):
        moment += draw.uniform(1, 120)
        stage.at(moment, editor.edit)
    with caplog.at_level(logging.ERROR):
        assert stage.run(moment + 500, config_refresh=REFRESH) == 0
    editor.check()
    for name in STEADY:
        starts = stage.starts(name)
        assert starts == [starts[0] + 60 * turn for turn in range(len(starts))]
        assert starts[0] + 60 * len(starts) >= moment + 500
    # Each broken version is told once, however often it was read, and in whatever became of it since.
    told = [record for record in caplog.records if record.message in TOLD]
    assert len(told) == len(editor.broken) > 0
