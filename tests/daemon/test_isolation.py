"""R18: one stream hangs, one crashes, one is slow; fifty others start when they are due, in simulated time."""

from __future__ import annotations

import logging
import threading

import pytest

from grove.connectors import BaseConnector
from grove.daemon import LATE
from grove.schedule import SPREAD_GAP

from .conftest import Hung, Stage

STREAMS = 50
FREQUENCY = 60
HOUR = 3600


def test_bad_streams_delay_no_other(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    _among_bad_ones(stage, HOUR // 2)
    assert "The stream hangs" in caplog.text


@pytest.mark.long
def test_bad_streams_delay_no_other_for_a_day(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever captures logs keeps them.
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    _among_bad_ones(stage, 24 * HOUR)


def _among_bad_ones(stage: Stage, seconds: int) -> None:
    for number in range(STREAMS):
        stage.document(f"stream-{number}", frequency=FREQUENCY)
    # It is given up long before it comes back.
    stage.document("hangs", frequency=FREQUENCY, run_timeout=100)
    stage.acts["hangs"] = lambda connector: _stay_away(stage, connector, 200)
    stage.document("crashes", frequency=FREQUENCY)
    stage.acts["crashes"] = _crash
    stage.document("slow", frequency=FREQUENCY)
    stage.acts["slow"] = lambda connector: _stay_away(stage, connector, 45)
    assert stage.run(seconds, workers=4) == 0
    for number in range(STREAMS):
        starts = stage.starts(f"stream-{number}")
        assert len(starts) >= seconds // FREQUENCY - 1
        # First starts follow each other.
        assert starts[0] <= SPREAD_GAP * (STREAMS + 3) + LATE
        due = [starts[0] + FREQUENCY * turn for turn in range(len(starts))]
        assert max(start - moment for start, moment in zip(starts, due, strict=True)) <= LATE
    # They were what they are said to be.
    assert len(stage.starts("slow")) >= seconds // FREQUENCY - 1
    for name in ("hangs", "crashes"):
        assert 2 <= len(stage.starts(name)) < seconds // FREQUENCY


def _stay_away(stage: Stage, connector: BaseConnector, seconds: float) -> None:
    """Within a run: let so much time pass before it goes on."""
    back = threading.Event()

    def come_back() -> None:
        stage.hung.remove(connector)
        back.set()

    stage.at(stage.clock.passed + seconds, come_back)
    stage.mailbox.send(Hung(connector))
    back.wait()


def _crash(connector: BaseConnector) -> None:
    raise SystemExit("made up")
