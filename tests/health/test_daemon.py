"""What the daemon knows of its streams, and tells: in a time of its own, and as a process."""

import json
import logging
import socket
import urllib.request
from datetime import timedelta
from typing import Any

import pytest

from grove.caches.local_memory import Handler as MemoryCache
from grove.connectors import BaseConnector
from grove.exceptions import RequestFailedException
from grove.helpers import clock
from grove.history import Counts, History
from grove.state import HISTORY
from tests.daemon.conftest import Stage, groved, stage
from tests.daemon.processes import Daemon

__all__ = ["groved", "stage"]


def delivering(*periods: tuple[float, float]) -> Any:
    """A run saves an entry of that moment, within these seconds of the stage."""

    def act(connector: BaseConnector) -> None:
        passed = clock.monotonic() - 1000.0
        if any(begin <= passed < end for begin, end in periods):
            connector.save([{"id": clock.now().isoformat()}])

    return act


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(record.__dict__.get("event"), record.__dict__.get("stream")) for record in caplog.records]
    return [(str(event), str(stream)) for event, stream in found if event in ("stale", "fresh")]


def view(stage: Stage, name: str) -> dict[str, Any]:
    """How the stream stands, as the page would have it."""
    (found,) = (s for s in stage.supervisor.snapshot().as_json()["streams"] if s["name"] == name)
    return dict(found)


# --- what falls short ---


def test_it_is_told_once_when_a_stream_becomes_stale_and_once_when_it_is_well_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stage.document("a", expect={"newest_within": 150})
    stage.document("b")
    stage.acts["a"] = delivering((0, 200), (1000, 1200))
    seen: list[str] = []
    for moment in (190, 900, 1100, 1900):
        stage.at(moment, lambda: seen.append(view(stage, "a")["state"]))
    stage.run(2000)
    assert seen == ["ok", "stale", "ok", "stale"]
    assert events(caplog) == [("stale", "a"), ("fresh", "a"), ("stale", "a")]


def test_time_alone_makes_a_stream_stale(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.document("a", frequency=3600, expect={"newest_within": 90})
    stage.acts["a"] = delivering((0, 9999))
    stage.run(300)
    assert stage.starts("a") == [0]
    assert events(caplog) == [("stale", "a")]
    (told,) = (record for record in caplog.records if record.__dict__.get("event") == "stale")
    assert told.__dict__["reasons"] == ["newest entry is 2 min old, expected within 90 s"]


def test_a_new_stream_has_as_long_as_its_document_says(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.document("a", frequency=3600, expect={"newest_within": 1000})
    stage.acts["a"] = lambda connector: None
    stage.run(900)
    assert events(caplog) == []


def test_a_stream_that_is_removed_is_forgotten(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.document("a", expect={"newest_within": 10})
    stage.at(200, lambda: stage.documents.pop("a"))
    stage.at(300, lambda: stage.document("a", expect={"newest_within": 10}))
    stage.run(500, config_refresh=50)
    assert events(caplog) == [("stale", "a"), ("stale", "a")]


def test_nothing_is_looked_at_where_nothing_is_expected(stage: Stage) -> None:
    stage.document("a", frequency=3600)
    stage.run(100)
    assert stage.supervisor._next_look == 0.0


# --- what is known ---


def test_what_a_run_has_done(stage: Stage) -> None:
    stage.document("a")
    stage.acts["a"] = delivering((0, 70))
    seen: list[dict[str, Any]] = []
    stage.at(150, lambda: seen.append(view(stage, "a")))
    stage.run(160)
    (found,) = seen
    assert (found["state"], found["failures"], found["entries_last_day"]) == ("ok", 0, 2)
    assert found["pointer"] == stage.stored("pointer", "a")
    assert found["last_run"]["entries"] == 0
    assert found["next_run"] == "2026-03-29T01:02:00.000Z"
    totals = stage.supervisor.streams[next(iter(stage.supervisor.streams))].totals
    assert (totals.runs["succeeded"], totals.counts.entries) == (3, 2)


def test_a_stream_that_runs(stage: Stage) -> None:
    stage.document("a")
    seen: list[dict[str, Any]] = []
    stage.acts["a"] = lambda connector: seen.append(view(stage, "a"))
    stage.run(10)
    assert (seen[0]["state"], seen[0]["next_run"]) == ("running", None)
    assert seen[0]["holder"]


def test_failures_are_known_and_kept(stage: Stage) -> None:
    def fail(connector: BaseConnector) -> None:
        raise RequestFailedException("no answer")

    stage.document("a")
    stage.acts["a"] = fail
    seen: list[dict[str, Any]] = []
    stage.at(50, lambda: seen.append(view(stage, "a")))
    stage.run(55)
    assert (seen[0]["state"], seen[0]["problems"]) == ("failing", ["failed: no answer"])
    history = History.decode(stage.stored(HISTORY, "a"))
    assert history is not None
    assert (history.failures, history.error) == (1, "no answer")


def test_a_run_that_never_had_its_stream_is_kept_too(stage: Stage) -> None:
    stage.document("a", secrets={"key": "somewhere"})
    seen: list[dict[str, Any]] = []
    stage.at(50, lambda: seen.append(view(stage, "a")))
    stage.run(55)
    assert seen[0]["state"] == "failing"
    history = History.decode(stage.stored(HISTORY, "a"))
    assert history is not None
    assert "GROVE_SECRET_HANDLER" in history.error


def test_a_run_that_hangs_is_a_failure(stage: Stage) -> None:
    stage.document("a", run_timeout=100)
    seen: list[dict[str, Any]] = []

    stage.acts["a"] = lambda connector: stage.hang(connector, lambda: connector.stopping.wait(30))
    stage.at(110, lambda: seen.append(view(stage, "a")))
    stage.run(115)
    assert seen[0]["problems"] == ["failed: It made no progress for 100 seconds (`run_timeout`), and was given up."]


def test_what_another_process_has_collected(stage: Stage) -> None:
    stage.document("a")
    stage.run(1)

    def elsewhere() -> None:
        now = clock.now()
        history = History(now, now, "succeeded", now - timedelta(days=1), "", Counts(1, 77), delivered=now)
        stage.store(HISTORY, "a", history.encode())
        stage.store("pointer", "a", "99")
        stage.ran_elsewhere("a")

    seen: list[dict[str, Any]] = []
    stage.at(30, elsewhere)
    stage.at(70, lambda: seen.append(view(stage, "a")))
    stage.run(80)
    assert (seen[0]["last_run"]["entries"], seen[0]["pointer"]) == (77, "99")


def test_what_was_known_before_the_daemon_came(stage: Stage) -> None:
    now = clock.now()
    history = History(now, now, "succeeded", now, "", Counts(1, 77))
    stage.document("a")
    stage.store(HISTORY, "a", history.encode())
    stage.ran_elsewhere("a")
    seen: list[dict[str, Any]] = []
    stage.at(30, lambda: seen.append(view(stage, "a")))
    stage.run(40)
    assert seen[0]["last_run"]["entries"] == 77


def test_what_is_held_elsewhere(stage: Stage) -> None:
    stage.document("a")
    until = (clock.now() + timedelta(seconds=500)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    stage.store("execution_lock", "a", until)
    stage.store("lease", "a", json.dumps({"owner": "7-other", "nonce": "n", "since": "2026-03-29"}))
    seen: list[dict[str, Any]] = []
    stage.at(30, lambda: seen.append(view(stage, "a")))
    stage.run(40)
    assert (seen[0]["state"], seen[0]["holder"]) == ("running", "7-other")


def test_not_ready_before_the_configuration_is_loaded(stage: Stage) -> None:
    stage.document("a")
    seen: list[Any] = []
    stage.load = lambda: seen.append(stage.supervisor.snapshot().as_json())
    stage.run(10)
    assert (seen[0]["ready"], seen[0]["streams"]) == (False, [])
    assert stage.supervisor.snapshot().waiting_for == ("The process is ending.",)
    assert isinstance(stage.cache, MemoryCache)


# --- as a process ---


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def test_the_port_of_a_daemon(groved: Daemon) -> None:
    groved.environment["GROVE_STATUS_ADDRESS"] = "127.0.0.1:0"
    groved.document("beat", frequency=3600, count=1, interval=0)
    running = groved.start_daemon()
    url = running.until("Grove has started.")["detail"]["status"]
    running.until("A run has ended.", stream="beat")
    assert fetch(f"{url}healthz") == "ok\n"
    assert fetch(f"{url}readyz") == "ready\n"
    (stream,) = json.loads(fetch(f"{url}status.json"))["streams"]
    assert (stream["name"], stream["state"], stream["last_run"]["entries"]) == ("beat", "ok", 1)
    port = int(url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as stalled:
        stalled.sendall(b"GET /")
        assert running.end().code == 0


def test_without_the_setting_nothing_listens(groved: Daemon) -> None:
    running = groved.start_daemon()
    assert running.until("Grove has started.")["detail"]["status"] is None
    assert running.end().code == 0


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:99999"])
def test_an_address_that_is_none_ends_the_daemon(groved: Daemon, address: str) -> None:
    groved.environment["GROVE_STATUS_ADDRESS"] = address
    done = groved.start_daemon().finish()
    assert done.code == 78
    assert "GROVE_STATUS_ADDRESS" in done.stderr


def test_a_port_that_is_taken_ends_the_daemon(groved: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        groved.environment["GROVE_STATUS_ADDRESS"] = f"127.0.0.1:{taken.getsockname()[1]}"
        done = groved.start_daemon().finish()
    assert done.code == 78
    assert "nothing can listen there" in done.stderr
