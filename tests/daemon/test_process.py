"""R17, R18, R19: `groved` as a service manager runs it: signals, crashes, documents, and what is left behind."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from grove.testing.practice import PracticeAPI
from grove.testing.practice_documents import http_json
from grove.testing.practice_faults import rate_limited

from .processes import PATIENCE, Daemon, Running

STOPS = [signal.SIGTERM, signal.SIGINT]

# The streams that hang are given half a second, so that the tests do not take their time.
HURRY = "import grove.daemon\ngrove.daemon.GRACE = 0.5"


def collects(groved: Daemon, api: PracticeAPI, **fields: Any) -> None:
    groved.document(**{**http_json(api), "frequency": 3600, **fields})


def finish(groved: Daemon, api: PracticeAPI) -> None:
    """Another daemon brings the stream to its end; then nothing is lost, and nothing there twice."""
    groved.environment["GROVE_OUTPUT_HANDLER"] = "local_file"
    api.heal()
    running = groved.start_daemon()
    running.until("A run has ended.", outcome="succeeded")
    assert running.end().code == 0
    report = api.compare(groved.delivered())
    assert report.exact, report
    assert groved.leases() == []


# --- signals ---


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_while_it_has_nothing_to_do(groved: Daemon, number: signal.Signals) -> None:
    groved.document("beats", count=1, interval=0)
    running = groved.start_daemon()
    running.until("A run has ended.")
    done = running.end(number)
    assert done.code == 0
    assert done.log("Stopping.")["detail"] == {"signal": number.name}
    assert done.log("Grove has stopped.")["detail"] == {"streams": 1, "given_up": 0, "code": 0}
    assert groved.leases() == []
    assert all(line["context"]["runtime"].endswith("local_daemon.py") for line in done.logs)


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_while_a_page_is_fetched(groved: Daemon, number: signal.Signals) -> None:
    arrived, answer = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        assert answer.wait(PATIENCE)

    with PracticeAPI(50, page_size=10) as api:
        api.before(3, hold)
        collects(groved, api)
        running = groved.start_daemon()
        assert arrived.wait(PATIENCE)
        running.send(number)
        running.until("Stopping.")
        answer.set()
        done = running.finish()
        assert done.code == 0
        assert groved.leases() == []
        # The page that is asked for is dropped or saved. Those before it, which waited to be saved with it, are there.
        assert len(groved.delivered()) in (20, 30)
        finish(groved, api)


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_while_a_page_is_written(groved: Daemon, number: signal.Signals) -> None:
    groved.environment["GROVE_OUTPUT_HANDLER"] = "announced"
    with PracticeAPI(50, page_size=10) as api:
        collects(groved, api, gather=10)
        running = groved.start_daemon()
        running.until_told("staged")
        running.send(number)
        running.until("Stopping.")
        done = running.finish()
        assert done.code == 0
        assert groved.leases() == []
        # The next page may have come by then, and is saved too.
        assert len(groved.delivered()) in (10, 20)
        finish(groved, api)


def test_a_signal_while_a_rate_limit_is_waited_out(groved: Daemon) -> None:
    with PracticeAPI(50, page_size=10) as api:
        limited = threading.Event()
        api.fault(3, rate_limited(150))
        api.before(3, limited.set)
        collects(groved, api)
        running = groved.start_daemon()
        assert limited.wait(PATIENCE)
        done = running.end()
        assert done.code == 0
        assert done.log("Grove has stopped.")["detail"]["given_up"] == 0
        assert groved.leases() == []
        assert len(groved.delivered()) == 20
        finish(groved, api)


def test_a_signal_while_a_connector_hangs(groved: Daemon) -> None:
    groved.probe("bad", "hanging")
    groved.probe("patient", "patient")
    running = groved.start_daemon(code=HURRY)
    running.until("The configuration is loaded.")
    for _ in range(2):
        # Each has saved one page, and then hangs or waits.
        wait_for_entry(groved)
    done = running.end()
    assert done.code == 0
    assert done.log("Grove has stopped.")["detail"]["given_up"] == 1
    told = done.log("The stream did not stop in time, and is given up; the next run goes on from its last page.")
    assert told["detail"]["stream"] == "bad"
    assert groved.leases() == []


def test_a_signal_before_there_is_a_configuration(groved: Daemon) -> None:
    groved.documents.rmdir()
    running = groved.start_daemon()
    running.until("The configuration could not be loaded; what is known stays in use.")
    assert running.end().code == 0


@pytest.mark.parametrize("number", STOPS)
def test_a_second_signal_ends_it_at_once(groved: Daemon, number: signal.Signals) -> None:
    groved.probe("bad", "hanging")
    running = groved.start_daemon()
    running.until("The configuration is loaded.")
    wait_for_entry(groved)
    running.send(signal.SIGTERM)
    running.until("Stopping.")
    running.send(number)
    assert running.finish().code == 128 + number


# --- a page that is being delivered beside the next one ---


def delivering(groved: Daemon, api: PracticeAPI, code: str = "", **fields: Any) -> Running:
    """A daemon that waits to be told to go on before it delivers its first page; it asks for more meanwhile."""
    groved.environment["GROVE_OUTPUT_HANDLER"] = "announced"
    collects(groved, api, gather=10, **fields)
    running = groved.start_daemon(code=code)
    running.until_told("staged")
    return running


def test_a_page_that_cannot_be_delivered_in_time_is_dropped(groved: Daemon) -> None:
    with PracticeAPI(50, page_size=10) as api:
        running = delivering(groved, api, HURRY)
        running.send(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == 0
        assert running.finish().log("Grove has stopped.")["detail"]["given_up"] == 1
        assert groved.leases() == []
        assert groved.delivered() == []
        finish(groved, api)


def test_a_second_signal_while_a_page_is_delivered(groved: Daemon) -> None:
    with PracticeAPI(50, page_size=10) as api:
        running = delivering(groved, api)
        running.send(signal.SIGTERM)
        running.until("Stopping.")
        running.send(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == 128 + signal.SIGTERM
        assert groved.delivered() == []
        finish(groved, api)


def test_a_stream_that_is_removed_while_a_page_is_delivered(groved: Daemon) -> None:
    with PracticeAPI(50, page_size=10) as api:
        running = delivering(groved, api)
        for document in groved.documents.iterdir():
            document.unlink()
        running.send(signal.SIGHUP)
        running.until("The configuration is loaded.", removed=1)
        running.go_on()
        running.until("Stopped; the next run goes on from the last page that was saved.")
        assert running.end().code == 0
        assert groved.leases() == []
        assert len(groved.delivered()) in (10, 20)
        collects(groved, api)
        finish(groved, api)


def test_a_changed_document_does_not_disturb_what_is_delivered(groved: Daemon) -> None:
    with PracticeAPI(50, page_size=10) as api:
        running = delivering(groved, api)
        collects(groved, api, gather=20)
        running.send(signal.SIGHUP)
        running.until("The configuration is loaded.", changed=1)
        running.go_on()
        running.until("A run has ended.", outcome="succeeded", entries=50)
        assert running.end().code == 0
        assert api.compare(groved.delivered()).exact


def test_a_page_that_is_delivered_without_end_is_given_up(groved: Daemon) -> None:
    with PracticeAPI(50, page_size=10) as api:
        running = delivering(groved, api, run_timeout=1, frequency=1)
        running.until(
            "The stream hangs; its run is given up, and the next one goes on from the last page that was saved."
        )
        running.go_on()
        # Its delivery goes on, and is refused: the stream is another run's.
        running.until("A run has ended.", outcome="succeeded", entries=50)
        assert running.end().code == 0
        assert groved.leases() == []
        assert api.compare(groved.delivered()).exact


def wait_for_entry(groved: Daemon) -> None:
    """Until one more page is there than when this was last asked."""
    before = getattr(groved, "seen", 0)
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if len(groved.delivered()) > before:
            groved.seen = before + 1  # type: ignore[attr-defined]
            return
        pause.wait(0.01)
    raise AssertionError("nothing was delivered")


# --- streams that fail, and processes that die ---


def test_bad_streams_do_not_disturb_the_others(groved: Daemon) -> None:
    for behaviour in ("failing", "surprised", "exiting"):
        groved.probe(behaviour, behaviour, frequency=1, key="canary-5a1e")
    groved.probe("hanging", "hanging", frequency=1, run_timeout=1)
    groved.document("missing", "no_such_connector", frequency=1)
    groved.document("beats", count=1, interval=0, frequency=1)
    groved.environment["GROVE_WORKER_COUNT"] = "2"
    running = groved.start_daemon(code=HURRY)
    running.until("The stream hangs; its run is given up, and the next one goes on from the last page that was saved.")
    for _ in range(3):
        running.until("A run has ended.", stream="beats", outcome="succeeded")
    done = running.end()
    assert done.code == 0
    assert "canary-5a1e" not in done.stderr
    failed = {line["detail"]["stream"] for line in done.logs if line["detail"].get("outcome") == "failed"}
    assert failed == {"failing", "surprised", "exiting", "hanging"}
    (skipped,) = (line for line in done.logs if line["message"] == "A configuration document was skipped.")
    assert "missing" in skipped["detail"]["exception"]
    assert groved.leases() == []


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_a_killed_daemon_is_followed_by_one_that_goes_on(groved: Daemon, order: Any) -> None:
    with PracticeAPI(60, page_size=10, order=order) as api:
        collects(groved, api, gather=10)
        running = groved.start_daemon()
        # In the middle of the fourth page.
        api.before(4, running.process.kill)
        assert running.finish().code == -signal.SIGKILL
        assert 0 < len(groved.delivered()) <= 30
        finish(groved, api)


def test_a_crash_in_native_code_is_followed_by_one_that_goes_on(groved: Daemon) -> None:
    groved.probe("bad", "crashing")
    assert groved.start_daemon().finish().code == -signal.SIGSEGV
    assert groved.delivered() == [{"id": 1}]
    groved.probe("bad", "good")
    groved.environment["LOG_LEVEL"] = "DEBUG"
    running = groved.start_daemon()
    # The dead process's lease is nobody's, at once.
    running.until("The configuration is loaded.")
    running.until("A run has ended.", outcome="succeeded")
    assert running.end().code == 0
    assert groved.delivered() == [{"id": 1}]


def test_two_daemons_share_the_streams(groved: Daemon) -> None:
    with PracticeAPI(60, page_size=10) as api:
        arrived, answer = threading.Event(), threading.Event()
        api.before(2, lambda: arrived.set() or answer.wait(PATIENCE))
        collects(groved, api)
        first = groved.start_daemon()
        assert arrived.wait(PATIENCE)
        second = groved.start_daemon()
        second.until("The stream is being collected elsewhere.")
        answer.set()
        first.until("A run has ended.", outcome="succeeded")
        assert (first.end().code, second.end().code) == (0, 0)
        report = api.compare(groved.delivered())
        assert report.exact, report


# --- the configuration ---


def test_documents_come_and_go(groved: Daemon) -> None:
    groved.document("one", count=1, interval=0, frequency=3600)
    running = groved.start_daemon()
    running.until("A run has ended.", stream="one")
    groved.document("two", count=1, interval=0, frequency=3600)
    (groved.documents / "one.json").write_text("{")
    running.send(signal.SIGHUP)
    running.until("A configuration document is unusable; its last usable version is kept.")
    running.until("The configuration is loaded.", added=1, changed=0, removed=0, problems=1, streams=2)
    running.until("A run has ended.", stream="two")
    groved.probe("two", "patient")
    (groved.documents / "one.json").unlink()
    running.send(signal.SIGHUP)
    # Another connector is another stream.
    running.until("The configuration is loaded.", added=1, removed=2, streams=1)
    (groved.documents / "two.json").unlink()
    wait_for_probe(groved)
    running.send(signal.SIGHUP)
    running.until("Stopped; the next run goes on from the last page that was saved.")
    done = running.end()
    assert done.code == 0
    assert done.log("Grove has stopped.")["detail"]["streams"] == 0
    assert groved.leases() == []


def wait_for_probe(groved: Daemon) -> None:
    pause = threading.Event()
    while {"id": 1} not in groved.delivered():
        pause.wait(0.01)


def test_a_missing_directory_is_waited_for(groved: Daemon, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    groved.document("beats", count=1, interval=0)
    groved.documents.rename(elsewhere)
    running = groved.start_daemon()
    failed = running.until("The configuration could not be loaded; what is known stays in use.")
    assert "GROVE_CONFIG_LOCAL_FILE_PATH" in failed["detail"]["exception"]
    elsewhere.rename(groved.documents)
    running.send(signal.SIGHUP)
    running.until("A run has ended.", stream="beats", outcome="succeeded")
    assert running.end().code == 0


def test_what_it_starts_with_is_told(groved: Daemon) -> None:
    groved.environment |= {"GROVE_WORKER_COUNT": "3", "GROVE_CONFIG_REFRESH": "77", "LOG_LEVEL": "DEBUG"}
    groved.document("beats", count=1, interval=0, key="canary-5a1e")
    running = groved.start_daemon()
    started = running.until("Grove has started.")["detail"]
    assert {name: started[name] for name in ("cache", "output", "config", "secret", "workers", "config_refresh")} == {
        "cache": "local_lmdb",
        "output": "local_file",
        "config": "local_file",
        "secret": None,
        "workers": 3,
        "config_refresh": 77,
    }
    assert started["version"]
    planned = running.until("A stream is planned.")["detail"]
    assert (planned["stream"], planned["frequency"], planned["next_in"]) == ("beats", 600, 0.0)
    running.until("A run has ended.")
    assert "canary-5a1e" not in running.end().stderr


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"GROVE_WORKER_COUNT": "0"}, "GROVE_WORKER_COUNT is '0'"),
        ({"GROVE_CACHE_HANDLER": "local_lmbd"}, "Did you mean 'local_lmdb'"),
        ({"GROVE_OUTPUT_LOCAL_FILE_PATH": ""}, "GROVE_OUTPUT_LOCAL_FILE_PATH"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL is 'LOUD'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_named(groved: Daemon, environment: dict[str, str], words: str) -> None:
    groved.document("beats", count=1, interval=0)
    groved.environment |= environment
    done = groved.start_daemon().finish()
    assert done.code == 78
    assert words in done.log("Grove is not configured correctly.")["detail"]["exception"]
    assert "Traceback" not in done.stderr


def test_help_and_version(groved: Daemon) -> None:
    shown = groved.start_daemon("--help").finish()
    assert (shown.code, "SIGHUP" in shown.stdout, "Exit codes" in shown.stdout) == (0, True, True)
    assert groved.start_daemon("--version").finish().stdout.startswith("groved ")
    assert groved.start_daemon("surplus").finish().code == 2


def test_the_documented_entry_point() -> None:
    from grove.entrypoints import local_daemon

    about = local_daemon.runtime_information()
    assert about["runtime"] == local_daemon.__file__
    assert json.dumps(about)
