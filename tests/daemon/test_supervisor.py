"""What the supervisor starts when, whatever the streams do, in simulated time."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from grove.connectors import BaseConnector
from grove.exceptions import RateLimitException, RequestFailedException
from grove.helpers import clock

from .conftest import Stage


def gaps(moments: list[float]) -> list[float]:
    return [round(after - before, 6) for before, after in pairwise(moments)]


def said(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, Any]]:
    return [record.__dict__ for record in caplog.records if record.message == message]


# --- when ---


def test_a_stream_runs_at_its_frequency(stage: Stage) -> None:
    stage.document("a")
    stage.document("b", frequency=25)
    assert stage.run(130) == 0
    assert stage.starts("a") == [0, 60, 120]
    assert gaps(stage.starts("b")) == [25] * 5


def test_a_run_that_takes_its_time_does_not_shift_the_next(stage: Stage) -> None:
    stage.document("a")
    stage.acts["a"] = lambda connector: stage.clock.advance(7)
    stage.run(130)
    assert stage.starts("a") == [0, 60, 120]


def test_a_restart_goes_on_where_the_last_run_was(stage: Stage) -> None:
    stage.document("a", frequency=600)
    stage.ran_elsewhere("a", ago=200)
    stage.run(1100)
    assert stage.starts("a") == [400, 1000]


def test_what_another_process_has_run_is_not_due(stage: Stage) -> None:
    stage.document("a", frequency=60)
    stage.at(50, lambda: stage.ran_elsewhere("a"))
    stage.run(180)
    assert stage.starts("a") == [0, 110, 170]


def test_a_last_run_in_the_future_counts_for_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.document("a")
    stage.at(30, lambda: stage.ran_elsewhere("a", ago=-86_400))
    stage.run(130)
    assert stage.starts("a") == [0, 60, 120]
    assert len(said(caplog, "The last run lies in the future; is the clock right?")) == 1


def test_a_clock_that_is_set_changes_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    offset = [0.0]
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(seconds=offset[0]))
    stage.document("a")
    stage.at(70, lambda: offset.__setitem__(0, 86_400.0))
    stage.at(130, lambda: offset.__setitem__(0, -3_600.0))
    stage.run(250)
    assert stage.starts("a") == [0, 60, 120, 180, 240]


def test_whether_it_is_due_costs_one_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.document("a")
    stage.at(30, lambda: stage.ran_elsewhere("a"))
    reads: list[float] = []
    kind = type(stage.cache)
    read = kind.read
    # Single values come from there as well.
    monkeypatch.setattr(kind, "read", lambda self, keys: reads.append(stage.clock.passed) or read(self, keys))
    stage.run(80)
    assert [moment for moment in reads if moment > 0] == [60]


def test_a_connector_with_a_mind_of_its_own_is_asked(stage: Stage) -> None:
    class Choosy(stage.plugins["timed"]):  # type: ignore[misc]
        def due(self) -> bool:
            return stage.clock.passed >= 150

    stage.plugins["choosy"] = Choosy
    stage.document("a", connector="choosy")
    stage.run(200)
    assert stage.starts("a") == [180]


def test_first_starts_are_spread_and_the_most_overdue_come_first(stage: Stage) -> None:
    for number in range(40):
        stage.document(f"{number:02}")
        if number < 20:
            stage.ran_elsewhere(f"{number:02}", ago=100 + number)
    stage.run(59)
    moments = [moment for moment, _ in stage.runs]
    names = [name for _, name in stage.runs]
    assert names[:20] == [f"{number:02}" for number in reversed(range(20))]
    assert sorted(names[20:]) == [f"{number:02}" for number in range(20, 40)]
    assert gaps(moments) == pytest.approx([0.1] * 39)


def test_a_stream_locked_elsewhere_is_looked_at_when_its_lock_may_be_over(stage: Stage) -> None:
    stage.document("a", frequency=600)
    stage.store("execution_lock", "a", (clock.now() + timedelta(seconds=200)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    stage.store("lease", "a", json.dumps({"owner": "elsewhere", "nonce": "x", "since": "2026-03-29"}))
    looks: list[float] = []
    stage.at(100, lambda: looks.append(len(stage.runs)))
    stage.run(300)
    assert stage.starts("a") == [200]
    assert looks == [0]
    stream = stage.supervisor.streams[next(iter(stage.supervisor.streams))]
    assert stream.outcome == "succeeded"


def test_a_stream_locked_elsewhere_for_long_is_looked_at_when_it_is_due_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.document("a")
    stage.store("execution_lock", "a", "2999-01-01T00:00:00.000000Z")
    stage.store("lease", "a", json.dumps({"owner": "elsewhere", "nonce": "x", "since": "2026-03-29"}))
    with caplog.at_level(logging.INFO):
        stage.run(250)
    assert stage.runs == []
    # At 0, 60, 120, 180 and 240.
    assert len(said(caplog, "The stream is being collected elsewhere.")) == 5


# --- streams that fail ---


@pytest.mark.parametrize("error", [RequestFailedException("made up"), KeyError("surprise"), SystemExit(3)])
def test_a_failing_stream_backs_off_and_concerns_no_other(stage: Stage, error: BaseException) -> None:
    def fail(connector: BaseConnector) -> None:
        raise error

    stage.document("bad")
    stage.document("good")
    stage.acts["bad"] = fail
    stage.run(6000)
    assert gaps(stage.starts("good")) == [60] * (len(stage.starts("good")) - 1)
    waits = gaps(stage.starts("bad"))
    assert all(60 <= wait <= 60 * most for wait, most in zip(waits, [2, 4, *[8] * len(waits)], strict=False))
    assert len(waits) > 10
    assert max(waits) > 240
    assert len({round(wait) for wait in waits}) > 5


def test_success_ends_the_back_off(stage: Stage) -> None:
    def fail_at_first(connector: BaseConnector) -> None:
        if stage.clock.passed < 300:
            raise RequestFailedException("made up")

    stage.document("a")
    stage.acts["a"] = fail_at_first
    stage.run(3000)
    later = [moment for moment in stage.starts("a") if moment >= 300]
    assert gaps(later) == [60] * (len(later) - 1)


@pytest.mark.parametrize("wait", [5, 90, 1800])
def test_a_rate_limit_says_when_it_is_due(stage: Stage, wait: int) -> None:
    def limited(connector: BaseConnector) -> None:
        if len(stage.runs) == 1:
            raise RateLimitException("made up", until=clock.now() + timedelta(seconds=wait))

    stage.document("a")
    stage.acts["a"] = limited
    stage.run(wait + 70)
    assert stage.starts("a") == [0, wait, wait + 60]


def test_a_rate_limit_that_says_nothing_backs_off(stage: Stage) -> None:
    def limited(connector: BaseConnector) -> None:
        raise RateLimitException("made up")

    stage.document("a")
    stage.acts["a"] = limited
    stage.run(1000)
    assert all(60 <= wait <= 480 for wait in gaps(stage.starts("a")))
    assert len(stage.starts("a")) > 2


class UnspeakableError(Exception):
    """One that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def unspeakable(connector: BaseConnector) -> None:
    raise UnspeakableError


def unspeakable_exit(connector: BaseConnector) -> None:
    raise type("End", (UnspeakableError, SystemExit), {})


def without_time_zone(connector: BaseConnector) -> None:
    raise RateLimitException("made up", until=clock.now().replace(tzinfo=None))


def without_counts(connector: BaseConnector) -> None:
    del connector._saved


@pytest.mark.parametrize("act", [unspeakable, unspeakable_exit, without_time_zone, without_counts])
def test_no_connector_can_end_the_daemon(stage: Stage, act: Any) -> None:
    stage.document("bad")
    stage.document("good")
    stage.acts["bad"] = act
    assert stage.run(1000) == 0
    assert len(stage.starts("good")) == 17
    assert len(stage.starts("bad")) > 2


@pytest.mark.parametrize(
    "fields",
    [
        {"connector": "no_such_connector"},
        {"processors": [{"name": "p", "processor": "no_such_processor"}]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_document_that_names_nothing_there_is_told_once_and_its_cure_used_at_once(
    stage: Stage, fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    stage.document("a", **fields)
    stage.document("good")
    stage.at(1001, lambda: stage.document("a"))
    stage.run(1250, config_refresh=100)
    (report,) = said(caplog, "A configuration document was skipped.")
    assert "no_such" in report["exception"]
    assert stage.starts("a") == [1100, 1160, 1220]
    assert len(stage.starts("good")) == 21


def test_an_unusable_document_is_tried_again_and_its_cure_at_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.document("a", secrets={"key": "/somewhere"})
    stage.document("good")
    stage.at(1001, lambda: stage.document("a"))
    stage.run(1250, config_refresh=100)
    reports = said(caplog, "The stream's configuration is unusable.")
    assert 3 <= len(reports) <= 12
    assert all(report["exception"] for report in reports)
    assert stage.starts("a") == [1100, 1160, 1220]
    assert len(stage.starts("good")) == 21


def test_it_is_known_how_each_stream_is(stage: Stage) -> None:
    def save(connector: BaseConnector) -> None:
        connector.save([{"id": 1}, {"id": 2}])
        stage.clock.advance(3)

    def fail(connector: BaseConnector) -> None:
        raise RequestFailedException("the vendor is down")

    stage.document("good")
    stage.document("bad")
    stage.acts.update(good=save, bad=fail)
    stage.run(30)
    streams = {stream.config.name: (key, stream) for key, stream in stage.supervisor.streams.items()}
    key, good = streams["good"]
    assert (good.outcome, good.entries, good.error) == ("succeeded", 2, "")
    assert (good.ended - good.began).total_seconds() == 3
    assert (stage.supervisor.schedule[key].failures, stage.supervisor.schedule[key].due) == (0, 1060.1)
    key, bad = streams["bad"]
    assert (bad.outcome, bad.error) == ("failed", "the vendor is down")
    assert stage.supervisor.schedule[key].failures == 1


def test_the_outcome_of_each_run_is_told(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    def save(connector: BaseConnector) -> None:
        connector.save([{"id": len(stage.runs)}])
        stage.clock.advance(2.5)

    def fail(connector: BaseConnector) -> None:
        raise RequestFailedException("the vendor is down")

    stage.document("good")
    stage.document("bad")
    stage.document("idle")
    stage.acts.update(good=save, bad=fail)
    with caplog.at_level(logging.INFO):
        stage.run(30)
    told = {record["stream"]: record for record in said(caplog, "A run has ended.")}
    # One that has found nothing is told at DEBUG.
    assert told.keys() == {"good", "bad"}
    assert (told["good"]["entries"], told["good"]["seconds"], told["good"]["next_in"]) == (1, 2.5, 57.5)
    assert (told["bad"]["outcome"], told["bad"]["failures"], told["bad"]["levelname"]) == ("failed", 1, "WARNING")
    assert 60 <= told["bad"]["next_in"] <= 120


# --- streams that hang ---


def forever() -> None:
    """Until the process ends; the thread is a daemon."""
    threading.Event().wait()


def test_a_hanging_stream_is_given_up_and_others_take_its_worker(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.document("bad", run_timeout=100, frequency=50)
    stage.document("good", frequency=20)
    stage.acts["bad"] = lambda connector: stage.hang(connector, forever)
    assert stage.run(900, workers=2) == 0
    # The last one has lost a thread, and so the process was left.
    assert stage.left == [0]
    assert max(gaps(stage.starts("good"))) == 20
    # A hundred seconds to see it, a second between two looks, and then the back-off.
    waits = gaps(stage.starts("bad"))
    assert all(150 <= wait <= 102 + 50 * most for wait, most in zip(waits, [2, 4, 8, 8], strict=False))
    hangs = said(
        caplog, "The stream hangs; its run is given up, and the next one goes on from the last page that was saved."
    )
    assert [record["stream"] for record in hangs] == ["bad"] * len(hangs)
    assert [record["hanging"] for record in hangs] == list(range(1, len(hangs) + 1))
    stream = next(stream for stream in stage.supervisor.streams.values() if stream.config.name == "bad")
    assert "run_timeout" in stream.error


def test_a_run_that_was_given_up_counts_for_nothing_when_it_comes_back(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    comes_back = threading.Event()
    hanging: list[threading.Thread] = []

    def hang(connector: BaseConnector) -> None:
        if not hanging:
            hanging.append(threading.current_thread())
            connector.save([{"id": 1}])
            stage.hang(connector, comes_back.wait)
            connector.pointer = "7"
        else:
            comes_back.set()
            # In real time: it has to be through before anything is compared.
            hanging[0].join(30)
            connector.save([{"id": 2}])

    stage.document("a", run_timeout=100)
    stage.acts["a"] = hang
    with caplog.at_level(logging.INFO):
        assert stage.run(300, workers=1) == 0
    assert stage.stored("pointer", "a") == "2"
    assert len(said(caplog, "A run that was given up has come back; it counts for nothing.")) == 1
    # No thread was left behind in the end.
    assert stage.left == []


def test_the_process_ends_with_an_error_where_hanging_threads_pile_up(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.document("a", run_timeout=10, frequency=10)
    stage.acts["a"] = lambda connector: stage.hang(connector, forever)
    assert stage.run(100_000, workers=2) == 1
    assert stage.left == [1]
    assert len(stage.starts("a")) == 11
    assert len(said(caplog, "Too many threads hang; this process ends, to be started again.")) == 1


def test_late_starts_are_told_once_in_a_while_with_the_reason(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.document("slow", run_timeout=250, frequency=10_000)
    stage.document("other", frequency=10)
    stage.acts["slow"] = lambda connector: stage.hang(connector, forever)
    stage.ran_elsewhere("slow", ago=20_000)
    with caplog.at_level(logging.INFO):
        stage.run(400, workers=1)
    reports = said(caplog, "Streams start late.")
    assert [round(report["latest"]) for report in reports[:4]] == [2, 62, 122, 182]
    assert {report["busy"] for report in reports[:4]} == {1}
    assert reports[3]["all_busy_for"] == pytest.approx(183, abs=3)
    assert reports[0]["longest"].keys() == {"slow"}
    assert len(said(caplog, "Streams start on time again.")) == 1


# --- the end ---


def test_streams_that_do_not_stop_are_given_up_and_their_leases_are_free(stage: Stage) -> None:
    stage.document("bad")
    stage.document("good")
    stage.acts["bad"] = lambda connector: stage.hang(connector, forever)
    stage.acts["good"] = lambda connector: connector.wait(0) if len(stage.runs) < 3 else None
    assert stage.run(30) == 0
    assert stage.left == [0]
    assert stage.stored("execution_lock", "bad") is None
    assert stage.clock.passed < 30 + 10
