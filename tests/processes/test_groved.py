"""`groved` in two processes: what becomes of them, and of what they collect."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.processes.conftest import COUNT, Several, fetch

AGAIN = "A worker process has ended, and is started again."


def beat(several: Several, number: int, frequency: int = 3600) -> str:
    """A stream that the worker with this number collects."""
    (name,) = several.names(number, "local_heartbeat")
    several.document(name, count=1, interval=0, frequency=frequency)
    return name


def patient(several: Several) -> None:
    """A stream for each worker, that waits once it has saved a page."""
    for number in (1, 2):
        several.probe(*several.names(number, "daemon_probe"), "patient")


def until_delivered(several: Several, count: int) -> None:
    while len(several.delivered()) < count:
        pass


# --- the end ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all(several: Several, watched: Any, number: signal.Signals) -> None:
    patient(several)
    running, pids = several.start_several()
    workers = [watched(pid) for pid in pids.values()]
    until_delivered(several, 2)
    done = running.end(number)
    assert done.code == 0
    assert all(worker.has_ended() for worker in workers)
    assert [line["detail"] for line in done.logs if line["message"] == "Grove has stopped."] == [
        {"streams": 1, "given_up": 0, "code": 0}
    ] * COUNT
    assert several.leases() == []


def test_a_signal_to_all_at_once_as_a_service_manager_sends_it(several: Several) -> None:
    patient(several)
    running, pids = several.start_several()
    until_delivered(several, 2)
    for pid in (*pids.values(), running.process.pid):
        os.kill(pid, signal.SIGTERM)
    done = running.finish()
    assert done.code == 0
    assert len([line for line in done.logs if line["message"] == "Grove has stopped."]) == COUNT
    assert several.leases() == []


def test_a_worker_that_does_not_end_is_killed(several: Several, watched: Any) -> None:
    running, pids = several.start_several(code="import grove.processes.supervisor as s\ns.LIMIT = 0.5")
    stopped = watched(pids[2])
    os.kill(pids[2], signal.SIGSTOP)
    done = running.end()
    assert done.code == 0
    assert done.log("Worker processes did not end in time, and are killed.")["detail"] == {"count": 1}
    assert stopped.has_ended()


def test_a_second_signal_ends_all_at_once(several: Several, watched: Any) -> None:
    for number in (1, 2):
        several.probe(*several.names(number, "daemon_probe"), "hanging")
    running, pids = several.start_several()
    workers = [watched(pid) for pid in pids.values()]
    until_delivered(several, 2)
    running.send(signal.SIGTERM)
    running.until("Stopping.")
    running.send(signal.SIGINT)
    done = running.finish()
    assert done.code == 128 + signal.SIGINT
    assert all(worker.has_ended() for worker in workers)
    # They were not asked to wait for what hangs.
    assert "Grove has stopped." not in done.stderr


def test_without_a_supervisor_workers_end_by_themselves(several: Several, watched: Any) -> None:
    patient(several)
    running, pids = several.start_several()
    workers = [watched(pid) for pid in pids.values()]
    until_delivered(several, 2)
    running.process.kill()
    assert all(worker.has_ended() for worker in workers)
    assert several.leases() == []
    done = running.finish()
    assert done.code == -signal.SIGKILL
    assert len([line for line in done.logs if line["message"] == "Grove has stopped."]) == COUNT


# --- workers that end ---


def test_a_worker_that_is_killed_is_started_again_and_goes_on(several: Several, watched: Any) -> None:
    one, two = beat(several, 1, frequency=1), beat(several, 2, frequency=1)
    running, pids = several.start_several()
    os.kill(pids[2], signal.SIGKILL)
    told = running.until(AGAIN)["detail"]
    assert told == {"worker": "2 of 2", "exception": "It was killed by SIGKILL.", "failures": 1, "next_in": 1.0}
    again = running.until("A worker process was started.")["detail"]
    assert again["worker"] == "2 of 2"
    assert again["worker_id"] != pids[2]
    assert running.until("A run has ended.", stream=two)["context"]["runtime_id"] == str(again["worker_id"])
    # It waits longer the next time.
    os.kill(again["worker_id"], signal.SIGKILL)
    assert running.until(AGAIN)["detail"]["next_in"] == 2.0
    done = running.end()
    assert done.code == 0
    # The other one has nothing to do with it.
    assert not [line for line in done.logs if line["detail"].get("worker") == "1 of 2" and line["message"] == AGAIN]
    died = next(place for place, line in enumerate(done.logs) if line["message"] == AGAIN)
    assert [line for line in done.logs[died:] if line["detail"].get("stream") == one]
    assert several.leases() == []


# --- the configuration ---


def test_all_look_at_the_configuration_again(several: Several) -> None:
    running, _ = several.start_several()
    names = {beat(several, number) for number in (1, 2)}
    (several.documents / "broken.json").write_text("{")
    running.send(signal.SIGHUP)
    ended = [running.until("A run has ended.", outcome="succeeded") for _ in names]
    assert {line["detail"]["stream"] for line in ended} == names
    assert len({line["context"]["runtime_id"] for line in ended}) == COUNT
    done = running.end()
    assert done.code == 0
    assert done.log("A configuration document was skipped.")
    assert done.log("There is nothing to collect: no enabled configuration document was found.")


# --- the port ---


def test_one_port_for_all(several: Several) -> None:
    names = [beat(several, number) for number in (1, 2)]
    several.document("secretive", secrets={"key": "nowhere"}, key="canary-5a1e", identity="secretive")
    (several.documents / "broken.json").write_text("{")
    running, pids = several.start_several()
    url = several.url
    # One may have ended before the other worker was there.
    while sum(line["message"] == "A run has ended." for line in running.logs) < 3:
        running.until("A run has ended.")
    assert fetch(f"{url}readyz") == (200, "ready\n")
    status, text = fetch(f"{url}status.json")
    found = json.loads(text)
    assert status == 200
    assert {stream["name"] for stream in found["streams"]} == {*names, "secretive"}
    assert (found["workers"]["count"], found["document_problems"], found["matching"]) == (100, 1, 3)
    assert "canary-5a1e" not in text
    metrics = fetch(f"{url}metrics")[1].splitlines()
    assert "grove_workers 100.0" in metrics
    assert "grove_document_problems 1.0" in metrics
    for name in names:
        assert f'grove_stream_runs_total{{outcome="succeeded",stream="{name}"}} 1.0' in metrics
        assert sum(f'grove_stream_info{{connector="local_heartbeat",identity="{name}"' in line for line in metrics) == 1
    os.kill(pids[2], signal.SIGSTOP)
    assert fetch(f"{url}healthz")[0] == 503
    assert fetch(f"{url}readyz") == (503, "Worker process 2 of 2 does not answer.\n")
    os.kill(pids[2], signal.SIGCONT)
    assert fetch(f"{url}healthz") == (200, "ok\n")
    os.kill(pids[1], signal.SIGKILL)
    running.until(AGAIN)
    # Nobody has to start all of it again for that.
    assert fetch(f"{url}healthz") == (200, "ok\n")
    assert running.end().code == 0


def test_a_port_that_is_taken_is_told_before_anything_is_started(several: Several) -> None:
    several.environment["GROVE_STATUS_ADDRESS"] = "nowhere"
    done = several.start_daemon().finish()
    assert done.code == 78
    assert len(done.logs) == 1
