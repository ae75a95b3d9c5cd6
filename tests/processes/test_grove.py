"""`grove` once, in two processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest

from grove.testing.practice import PracticeAPI, read_delivered
from grove.testing.practice_documents import http_json
from tests.processes.conftest import Several
from tests.runtime.conftest import Finished

FAILED = "A worker process has not done its work; the next run goes on from the last page of its streams."


def by_stream(several: Several) -> dict[str, list[dict[str, Any]]]:
    """What was delivered, by the identity of its stream."""
    found = defaultdict(list)
    for entry in read_delivered(several.out):
        found[entry["_grove"]["identity"]].append(entry)
    return found


def workers(entries: dict[str, list[dict[str, Any]]]) -> dict[str, set[str]]:
    """The streams that each process has collected, by its id."""
    found = defaultdict(set)
    for name, delivered in entries.items():
        for entry in delivered:
            found[entry["_grove"]["runtime"]["runtime_id"]].add(name)
    return found


def test_many_streams_are_collected_once_and_each_always_by_the_same_worker(several: Several) -> None:
    names = [f"tenant-{number}" for number in range(16)]
    with PracticeAPI(50, page_size=20) as api:
        for name in names:
            several.document(**http_json(api, name=name, identity=name))
        assert several.run().code == 0
        first = by_stream(several)
        assert first.keys() == set(names)
        for entries in first.values():
            report = api.compare(entries)
            assert report.exact, report
        assert len(workers(first)) == 2
        api.offer(10)
        # One that comes, and one that goes, move no other.
        several.document(**http_json(api, name="another", identity="another"))
        (several.documents / "tenant-0.json").unlink()
        done = several.run("run", "--all")
        assert done.code == 0
        assert done.log("Collection finished.")["detail"]["succeeded"] == 16
        second = by_stream(several)
        for name in {*names, "another"} - {"tenant-0"}:
            report = api.compare(second[name])
            assert report.exact, report
        before = workers(first)
        later = [found for process, found in workers(second).items() if process not in before]
        assert len(later) == 2
        for together in before.values():
            assert [found for found in later if together - {"tenant-0"} <= found]
            assert [found for found in later if not together & found]


def test_one_report_for_all(several: Several) -> None:
    names = [*several.names(1, "probe", 2), *several.names(2, "probe", 2)]
    for name in names:
        several.probe(name, "good")
    done = several.run("run", "--json")
    found = json.loads(done.stdout)
    assert (done.code, found["exit_code"], found["problems"]) == (0, 0, [])
    assert {stream["name"]: stream["entries"] for stream in found["streams"]} == dict.fromkeys(names, 1)
    assert done.log("Collection finished.")["detail"]["streams"] == 4
    # What is not due does not count.
    assert several.run().log("Collection finished.")["detail"]["not_due"] == 4


def test_a_stream_that_is_named(several: Several) -> None:
    for number in (1, 2):
        several.probe(*several.names(number, "probe"), "good")
    (name,) = several.names(2, "probe")
    done = several.run("run", name, "--json")
    assert [stream["name"] for stream in json.loads(done.stdout)["streams"]] == [name]
    wrong = several.run("run", "nobody")
    assert wrong.code == 2
    assert wrong.stderr.count("There is no enabled document called 'nobody'") == 1


def test_lines_of_entries_and_logs_are_whole(several: Several) -> None:
    several.environment |= {"GROVE_OUTPUT_HANDLER": "local_stdout", "LOG_LEVEL": "DEBUG"}
    text = "x" * 30_000
    entries = [
        {"id": f"e-{number:04}", "at": f"2026-01-01T00:00:{number % 60:02}.000Z", "text": text} for number in range(40)
    ]
    names = [*several.names(1, "http_json", 2), *several.names(2, "http_json", 2)]
    with PracticeAPI(entries, page_size=10) as api:
        for name in names:
            several.document(**http_json(api, name=name, identity=name))
        done = several.run()
    assert done.code == 0
    assert len(done.entries) == 160
    assert {entry["identity"] for entry in done.entries} == set(names)
    assert all(entry["message"]["text"] == text for entry in done.entries)
    assert done.log("Collection finished.")


# --- exit codes ---


def test_problems_of_documents_are_told_once(several: Several) -> None:
    several.probe(*several.names(1, "probe"), "good")
    several.probe(*several.names(2, "probe"), "good")
    (several.documents / "broken.json").write_text("{")
    done = several.run("run", "--json")
    assert done.code == 78
    found = json.loads(done.stdout)
    assert len(found["problems"]) == 1
    assert [stream["outcome"] for stream in found["streams"]] == ["succeeded"] * 2
    assert done.log("A configuration document was skipped.")


@pytest.mark.parametrize("number", [1, 2])
def test_a_stream_fails(several: Several, number: int) -> None:
    several.probe(*several.names(number, "probe"), "failing")
    several.probe(*several.names(3 - number, "probe"), "good")
    done = several.run()
    assert done.code == 1
    finished = done.log("Collection finished.")["detail"]
    assert (finished["failed"], finished["succeeded"]) == (1, 1)


def test_locked_everywhere_and_in_one_worker_only(several: Several) -> None:
    names = [*several.names(1, "daemon_probe"), *several.names(2, "daemon_probe")]
    for name in names:
        several.probe(name, "patient")
    holder = several.start_daemon()
    for _ in names:
        holder.until("Grove has started.")
    several.environment["GROVE_PROCESSES"] = "2"
    while len(several.delivered()) < 2:
        assert holder.process.poll() is None
    done = several.run()
    assert done.code == 75
    assert done.log("Collection finished.")["detail"]["locked"] == 2
    several.probe(*several.names(1, "daemon_probe", 2)[1:], "good")
    assert several.run().code == 0
    assert holder.end().code == 0


def test_a_worker_that_dies_has_failed(several: Several) -> None:
    (bad,), (good,) = several.names(1, "daemon_probe"), several.names(2, "daemon_probe")
    several.probe(bad, "crashing")
    several.probe(good, "good")
    done = several.run("run", "--json")
    assert done.code == 1
    told = done.log(FAILED)["detail"]
    assert told == {"worker": "1 of 2", "exception": "It was killed by SIGSEGV."}
    assert [stream["name"] for stream in json.loads(done.stdout)["streams"]] == [good]
    assert several.run("run", good).code == 0


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"GROVE_PROCESSES": "none"}, "GROVE_PROCESSES is 'none'; it has to be a whole number above 0."),
        ({"GROVE_PROCESSES": "1000"}, "GROVE_PROCESSES is '1000'; 64 is the most."),
        ({"GROVE_OUTPUT_LOCAL_FILE_PATH": ""}, "GROVE_OUTPUT_LOCAL_FILE_PATH"),
    ],
    ids=["no number", "too many", "of an output"],
)
@pytest.mark.parametrize("command", ["grove", "groved"])
def test_a_wrong_setting_is_told_once(several: Several, command: str, environment: dict[str, str], words: str) -> None:
    several.probe(*several.names(2, "probe"), "good")
    several.environment |= environment
    done = several.run() if command == "grove" else several.start_daemon().finish()
    assert done.code == 78
    assert words in done.log("Grove is not configured correctly.")["detail"]["exception"]
    assert done.stdout == ""


def test_a_signal_reaches_all(several: Several) -> None:
    for number in (1, 2):
        several.probe(*several.names(number, "daemon_probe"), "patient")
    process = several.start()
    while len(several.delivered()) < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    done = Finished(process)
    assert done.code == 0
    assert done.log("Collection finished.")["detail"]["stopped"] == 2
    assert several.leases() == []


def test_one_process_has_no_supervisor(several: Several) -> None:
    several.environment["GROVE_PROCESSES"] = "1"
    several.probe("only", "good")
    process = several.start()
    assert process.communicate(timeout=60)
    (entry,) = read_delivered(several.out)
    assert entry["_grove"]["runtime"]["runtime_id"] == str(process.pid)


def test_what_is_left_over_is_finished_by_the_first_worker(several: Several) -> None:
    several.environment |= {"GROVE_PROCESSES": "1", "GROVE_OUTPUT_HANDLER": "dying", "DIE": "1"}
    several.probe("gone", "good")
    assert several.run().code == 9
    (several.documents / "gone.json").unlink()
    several.probe(*several.names(1, "probe"), "good")
    del several.environment["DIE"]
    assert len(several.delivered()) == 0
    for number in (2, 1):
        code = f"""
from dataclasses import replace
from grove.oneshot import Collector
from grove.processes.share import Share
from grove.runtime import Settings, load_documents
Collector({{}}, replace(Settings.read(), share=Share({number}, 2))).run(load_documents())
"""
        subprocess.run([sys.executable, "-c", code], env=several.environment, check=True)
        # The stream that is configured is the first one's, too.
        assert len(several.delivered()) == (0 if number == 2 else 2)
