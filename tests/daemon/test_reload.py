"""R19: documents come, change, break and go while streams run, and their source fails; in simulated time."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from grove.connectors import BaseConnector
from grove.exceptions import AccessException, ConfigurationException, RequestFailedException
from grove.helpers.signals import Reload

from .conftest import LOADER, Stage

REFRESH = 100


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]


def said(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, Any]]:
    return [record.__dict__ for record in caplog.records if record.message == message]


def run(stage: Stage, until: float) -> int:
    return stage.run(until, config_refresh=REFRESH)


def late_failure(connector: BaseConnector) -> None:
    raise RequestFailedException("made up")


# --- documents that are all right ---


def test_a_new_document_is_collected_and_no_other_is_disturbed(stage: Stage) -> None:
    stage.document("old", frequency=70)
    stage.at(50, lambda: stage.document("new", frequency=70))
    run(stage, 300)
    assert stage.starts("old") == [0, 70, 140, 210, 280]
    assert stage.starts("new") == [100, 170, 240]


def test_sighup_looks_at_once(stage: Stage) -> None:
    stage.document("old", frequency=70)
    stage.at(50, lambda: stage.document("new", frequency=70))
    stage.at(51, lambda: stage.mailbox.send(Reload()))
    run(stage, 130)
    assert stage.starts("old") == [0, 70]
    assert stage.starts("new") == [51, 121]


def test_sighup_while_documents_are_being_read_looks_again(stage: Stage) -> None:
    loads: list[float] = []

    def load() -> None:
        loads.append(stage.clock.passed)
        if len(loads) == 1:
            stage.mailbox.send(Reload())

    stage.document("a")
    stage.load = load
    run(stage, 50)
    assert loads == [0, 0]


@pytest.mark.parametrize("how", ["removed", "disabled"])
def test_a_stream_that_is_gone_is_not_started_again(stage: Stage, how: str) -> None:
    def go() -> None:
        stage.documents.pop("a") if how == "removed" else stage.document("a", disabled=True)

    stage.document("a", frequency=30)
    stage.document("b", frequency=30)
    stage.at(50, go)
    run(stage, 200)
    assert stage.starts("a") == [0, 30, 60, 90]
    assert len(stage.starts("b")) == 7
    assert [stream.config.name for stream in stage.supervisor.streams.values()] == ["b"]
    assert len(stage.supervisor.schedule) == 1


@pytest.mark.parametrize("how", ["removed", "disabled"])
def test_a_stream_that_is_gone_while_it_runs_ends_at_its_page_and_gives_its_lease_back(stage: Stage, how: str) -> None:
    saved: list[int] = []

    def act(connector: BaseConnector) -> None:
        for number in range(10):
            connector.save([{"id": number}])
            saved.append(number)
            if number == 2:
                stage.documents.pop("a") if how == "removed" else stage.document("a", disabled=True)
                stage.reload()

    stage.document("a")
    stage.acts["a"] = act
    assert run(stage, 200) == 0
    assert saved == [0, 1, 2]
    assert stage.stored("pointer", "a") == "2"
    assert stage.stored("execution_lock", "a") is None
    # Stopped is not run.
    assert stage.stored("last_run", "a") is None
    assert stage.left == []


def test_a_stream_that_is_removed_and_back_while_it_runs_never_runs_twice_at_once(stage: Stage) -> None:
    at_once: list[int] = []
    text: list[bytes] = []

    def act(connector: BaseConnector) -> None:
        at_once.append(len(stage.supervisor._running))
        if len(stage.runs) == 1:
            text.append(stage.documents.pop("a"))
            stage.reload()
            stage.documents["a"] = text[0]
            stage.reload()
        connector.save([{"id": len(stage.runs)}])

    stage.document("a")
    stage.acts["a"] = act
    run(stage, 90)
    # The run that was stopped, then at once the next one, and the one after that.
    assert stage.starts("a") == [0, 0, 60]
    assert at_once == [1, 1, 1]
    assert stage.stored("pointer", "a") == "3"


@pytest.mark.parametrize(
    ("frequency", "starts"), [(60, [0, 60, 120, 180, 240]), (20, [0, 60, 100, 120]), (200, [0, 60])]
)
def test_a_new_frequency_counts_from_the_last_run(stage: Stage, frequency: int, starts: list[float]) -> None:
    stage.document("a", frequency=60)
    stage.at(90, lambda: stage.document("a", frequency=frequency))
    run(stage, 250)
    assert stage.starts("a")[: len(starts)] == starts


def test_a_change_is_used_by_the_next_run(stage: Stage) -> None:
    seen: list[tuple[float, str, str]] = []

    def act(connector: BaseConnector) -> None:
        before = connector.configuration.fruit
        if len(stage.runs) == 1:
            stage.document("a", fruit="pear")
            stage.reload()
        seen.append((stage.clock.passed, before, connector.configuration.fruit))

    stage.document("a", fruit="apple")
    stage.acts["a"] = act
    run(stage, 90)
    assert seen == [(0, "apple", "apple"), (60, "pear", "pear")]


def test_what_a_connector_does_to_its_document_is_gone_by_the_next_run(stage: Stage) -> None:
    seen: list[list[int]] = []

    def act(connector: BaseConnector) -> None:
        seen.append(list(connector.configuration.numbers))
        connector.configuration.numbers.append(2)

    stage.document("a", numbers=[1])
    stage.acts["a"] = act
    run(stage, 250)
    assert seen == [[1]] * 5


def test_the_back_off_of_a_stream_that_did_not_change_stays(stage: Stage) -> None:
    stage.document("bad", frequency=1000)
    stage.document("other")
    stage.acts["bad"] = late_failure
    for moment in range(50, 1000, REFRESH):
        stage.at(moment, lambda moment=moment: stage.document("other", number=moment))
    run(stage, 990)
    assert stage.starts("bad") == [0]


def test_a_failing_stream_whose_document_changes_is_tried_at_once(stage: Stage) -> None:
    stage.document("bad", frequency=1000)
    stage.acts["bad"] = late_failure
    stage.at(50, lambda: stage.document("bad", frequency=1000, key="another"))
    run(stage, 990)
    assert stage.starts("bad") == [0, 100]


def test_a_document_that_moves_is_the_same_stream(stage: Stage) -> None:
    stage.document("a", frequency=70)
    stage.at(50, lambda: stage.documents.update({"z/a": stage.documents.pop("a")}))
    run(stage, 150)
    assert stage.starts("a") == [0, 70, 140]


def test_another_identity_is_another_stream(stage: Stage) -> None:
    stage.document("a", frequency=300)
    stage.at(50, lambda: stage.document("a", frequency=300, identity="b"))
    run(stage, 250)
    assert stage.starts("a") == [0, 100]
    assert len(stage.supervisor.schedule) == 1


def test_many_changes_are_told_in_one_line(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    def edit() -> None:
        stage.document("added")
        stage.document("changed", frequency=7)
        del stage.documents["removed"]
        stage.documents["broken"] = b"{"

    for name in ("changed", "removed", "broken", "same"):
        stage.document(name)
    stage.at(50, edit)
    with caplog.at_level(logging.INFO):
        run(stage, 350)
    first, second = said(caplog, "The configuration is loaded.")
    assert [first[name] for name in ("streams", "added", "changed", "removed", "problems")] == [4, 4, 0, 0, 0]
    assert [second[name] for name in ("streams", "added", "changed", "removed", "problems")] == [4, 1, 1, 1, 1]


def test_nothing_to_collect_is_said_and_waited_through(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.at(150, lambda: stage.document("a"))
    run(stage, 250)
    assert stage.starts("a") == [200]
    assert len(said(caplog, "There is nothing to collect: no enabled configuration document was found.")) == 1


# --- documents that are not all right ---


@pytest.mark.parametrize("content", [b"{", b"[]", b"", b"\xff", b'{"name": "a"}'])
def test_a_broken_document_keeps_its_last_usable_version(
    stage: Stage, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stage.document("a", frequency=70)
    stage.at(50, lambda: stage.documents.update(a=content))
    stage.at(550, lambda: stage.document("a", frequency=30))
    run(stage, 700)
    assert stage.starts("a") == [0, 70, 140, 210, 280, 350, 420, 490, 560, 600, 630, 660, 690]
    # However often it was looked at.
    assert set(errors(caplog)) == {"A configuration document is unusable; its last usable version is kept."}
    assert len(errors(caplog)) <= 2


def test_a_document_that_was_never_usable_is_left_out(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.document("a", frequency=70)
    stage.documents["b"] = b"{"
    stage.at(250, lambda: stage.document("b", frequency=70))
    run(stage, 450)
    assert stage.starts("b") == [300, 370, 440]
    assert errors(caplog) == ["A configuration document was skipped."]


def test_two_documents_with_one_state_are_one_stream(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.document("b", frequency=70, identity="same")
    stage.at(50, lambda: stage.document("a", frequency=70, identity="same"))
    stage.at(350, lambda: stage.documents.pop("b"))
    run(stage, 500)
    # The one that was there goes on, and the other one takes its place in its rhythm.
    assert [(moment, name) for moment, name in stage.runs] == [
        *((moment, "b") for moment in (0, 70, 140, 210, 280, 350)),
        *((moment, "a") for moment in (420, 490)),
    ]
    assert errors(caplog) == [
        "Configuration documents share one state.",
        "A document is not collected, because another one has the same state.",
    ]


def test_connectors_that_keep_their_state_apart_are_told_apart(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    class Apart(stage.plugins["timed"]):  # type: ignore[misc]
        def cache_key(self, prefix: str = "pointer") -> str:
            return f"{super().cache_key(prefix)}.{self.configuration.domain}"

    stage.plugins["apart"] = Apart
    stage.document("a", identity="same", connector="apart", domain="a")
    stage.document("b", identity="same", connector="apart", domain="b")
    run(stage, 50)
    assert sorted(name for _, name in stage.runs) == ["a", "b"]
    assert errors(caplog) == []


# --- a source of documents that fails ---

TROUBLE = [
    AccessException("the store is down"),
    ConfigurationException("not a directory"),
    KeyError("surprise"),
    OSError("gone"),
]


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
def test_a_source_that_fails_stops_nothing(stage: Stage, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    loads: list[float] = []

    def load() -> None:
        loads.append(stage.clock.passed)
        if 50 < stage.clock.passed < 950:
            raise error

    stage.document("a", frequency=70)
    stage.load = load
    stage.at(940, lambda: stage.document("b", frequency=70))
    assert run(stage, 1200) == 0
    assert stage.starts("a") == [70 * number for number in range(18)]
    assert 950 <= stage.starts("b")[0] <= 950 + REFRESH
    failures = said(caplog, "The configuration could not be loaded; what is known stays in use.")
    assert len(failures) == len([moment for moment in loads if 50 < moment < 950])
    # Soon at first, and then no more often than it would be looked at anyway.
    assert 12 < len(failures) < 25
    assert failures[0]["streams"] == 1
    assert failures[0]["next_in"] <= 2


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error).__name__)
def test_a_source_that_fails_at_the_start_is_waited_for(stage: Stage, error: Exception) -> None:
    def load() -> None:
        if stage.clock.passed < 500:
            raise error

    stage.document("a", frequency=70)
    stage.load = load
    assert run(stage, 700) == 0
    assert 500 <= stage.starts("a")[0] <= 500 + REFRESH


def test_a_source_that_does_not_answer_stops_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    def load() -> None:
        if stage.clock.passed > 50:
            stage.hang(LOADER, threading.Event().wait)

    stage.document("a", frequency=70)
    stage.load = load
    assert run(stage, 600) == 0
    assert stage.starts("a") == [0, 70, 140, 210, 280, 350, 420, 490, 560]
    told = "The configuration has not been loaded yet; its source, the cache or the output does not answer."
    assert len(said(caplog, told)) == 4
    # That thread had to be left behind.
    assert stage.left == [0]


def test_a_source_that_does_not_answer_at_the_start_can_be_stopped(stage: Stage) -> None:
    stage.load = lambda: stage.hang(LOADER, threading.Event().wait)
    assert run(stage, 250) == 0
    assert stage.left == [0]


def test_handlers_that_cannot_be_opened_yet_are_waited_for(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    def setup(self: Any) -> None:
        if stage.clock.passed < 100:
            raise AccessException("the network is not up yet")

    stage.plugins["output"].setup = setup
    stage.document("a")
    assert run(stage, 300) == 0
    assert 100 <= stage.starts("a")[0] <= 200
    failures = said(caplog, "The configuration could not be loaded; what is known stays in use.")
    assert {record["exception"] for record in failures} == {"the network is not up yet"}


@pytest.mark.parametrize("setting", ["cache", "output", "config"])
def test_a_wrong_setting_ends_it_at_once(stage: Stage, setting: str) -> None:
    stage.document("a")
    with pytest.raises(ConfigurationException, match="no_such_handler"):
        stage.run(100, **{setting: "no_such_handler"})


def test_last_runs_that_cannot_be_read_are_found_out_later(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(stage.cache)
    real: Callable[..., Any] = kind.read

    def read(self: Any, keys: Any) -> Any:
        # The loader reads before anything else does.
        monkeypatch.setattr(kind, "read", real)
        raise AccessException("made up")

    monkeypatch.setattr(kind, "read", read)
    stage.document("a", frequency=600)
    stage.ran_elsewhere("a", ago=200)
    run(stage, 450)
    assert stage.starts("a") == [400]


def test_what_removed_streams_left_unfinished_is_finished_at_the_start(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.document("a")
    stage.store("pending", "gone", json.dumps([]))
    run(stage, 50)
    assert stage.stored("pending", "gone") is None
