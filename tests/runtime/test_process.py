"""The `grove` command as a timer starts it: what it prints, when it ends, and with which code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Finished, Grove

CANARY = "canary-5a1e"


def test_heartbeats(grove: Grove) -> None:
    grove.document("beats")
    done = grove.run()
    assert done.code == 0, done.stderr
    assert [line["message"]["type"] for line in done.entries] == ["heartbeat"] * 5
    assert {line["level"] for line in done.logs} <= {"INFO", "DEBUG"}
    assert all(line["context"]["runtime"].endswith("local_process.py") for line in done.logs)
    runtime = done.entries[0]["message"]["_grove"]["runtime"]
    assert set(runtime) == {"runtime", "runtime_id", "runtime_host"}


def test_run_is_the_same(grove: Grove) -> None:
    grove.document("beats", count=1, interval=0)
    assert len(grove.run("run").entries) == 1


def test_the_installed_command(grove: Grove) -> None:
    grove.document("beats", count=1, interval=0)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("grove"))], env=grove.environment, capture_output=True, text=True
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr


def test_a_stream_that_is_not_due_waits(grove: Grove) -> None:
    grove.document("beats", count=1, interval=0)
    grove.run()
    again = grove.run()
    assert (again.code, again.entries) == (0, [])
    assert again.log("The stream is not due yet.")["detail"]["stream"] == "beats"


def test_a_broken_document_does_not_stop_the_others(grove: Grove) -> None:
    grove.document("beats", count=1, interval=0)
    (grove.documents / "broken.json").write_text('{"key": "' + CANARY + '"')
    done = grove.run()
    assert done.code == 78
    assert len(done.entries) == 1
    assert "broken.json:1:" in done.log("A configuration document was skipped.")["detail"]["exception"]
    assert CANARY not in done.stderr


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"connector": "local_hartbeat"}, "There is no connector 'local_hartbeat'. Did you mean 'local_heartbeat'?"),
        (
            {"processors": [{"name": "p", "processor": "filter_entries", "filters": ["a["]}]},
            "processors.0.filters.0: 'a[' is no JMESPath expression",
        ),
        ({"processors": [{"name": "p", "processor": "nothing"}]}, "There is no processor 'nothing'."),
        ({"frequency": "often"}, "The field 'frequency' has to be a whole number"),
    ],
    ids=lambda fields: next(iter(fields)) if isinstance(fields, dict) else "",
)
def test_an_unusable_document_is_one_of_configuration(grove: Grove, fields: dict[str, object], words: str) -> None:
    grove.document("beats", count=1, interval=0)
    grove.document("bad", **fields)  # type: ignore[arg-type]
    done = grove.run()
    assert (done.code, len(done.entries)) == (78, 1)
    problem = done.log("A configuration document was skipped.")["detail"]["exception"]
    assert "bad.json:1:" in problem
    assert words in problem


def test_secrets_without_a_store_are_a_matter_of_configuration(grove: Grove) -> None:
    grove.document("beats", count=1, interval=0)
    grove.document("bad", secrets={"key": "/nowhere"})
    done = grove.run()
    assert (done.code, len(done.entries)) == (78, 1)
    assert "bad" in done.log("The stream's configuration is unusable.")["detail"]["stream"]


@pytest.mark.parametrize("behaviour", ["failing", "surprised", "exiting"])
def test_a_failing_stream_does_not_stop_the_others(grove: Grove, behaviour: str) -> None:
    grove.document("beats", count=1, interval=0)
    grove.probe("bad", behaviour, key=CANARY)
    done = grove.run()
    assert done.code == 1, done.stderr
    assert len(done.entries) == 2
    counts = done.log("Collection finished.")["detail"]
    assert (counts["succeeded"], counts["failed"]) == (1, 1)
    assert [line["detail"]["identity"] for line in done.logs if line["level"] == "ERROR"] == ["bad"]
    assert CANARY not in done.stderr


def test_a_surprise_is_logged_with_its_traceback(grove: Grove) -> None:
    grove.probe("bad", "surprised", key="no-such-key")
    (line,) = [line for line in grove.run().logs if line["level"] == "ERROR"]
    assert "Traceback" in line["detail"]["exception"]
    assert "in surprised" in line["detail"]["exception"]


def test_a_connector_with_the_older_constructor(grove: Grove) -> None:
    grove.document("old", "probe_old", behaviour="good")
    done = grove.run()
    assert (done.code, len(done.entries)) == (0, 1), done.stderr


def test_a_secret_that_is_missing_stops_its_stream_only(grove: Grove) -> None:
    grove.environment["GROVE_SECRET_HANDLER"] = "local_file"
    grove.document("beats", count=1, interval=0)
    grove.probe("bad", "good", secrets={"key": "/nowhere"})
    done = grove.run()
    assert (done.code, len(done.entries)) == (1, 1)
    assert "field 'key' of 'bad'" in done.log("The stream could not be collected.")["detail"]["exception"]


def test_secrets_are_fetched_for_every_run(grove: Grove, tmp_path: Path) -> None:
    grove.environment["GROVE_SECRET_HANDLER"] = "local_file"
    grove.environment["GROVE_SECRET_LOCAL_FILE_PATH_PREFIX"] = str(tmp_path)
    grove.probe("bad", "failing", secrets={"key": "token"})
    (tmp_path / "token").write_text(CANARY)
    done = grove.run()
    assert done.code == 1
    assert "The vendor refused [redacted]." in done.stderr
    assert CANARY not in done.stderr


def test_documents_that_share_a_pointer_are_named(grove: Grove) -> None:
    grove.document("one", count=1, interval=0, identity="same")
    grove.document("two", count=1, interval=0, identity="same")
    done = grove.run()
    assert done.code == 78
    problem = done.log("Configuration documents share one state.")["detail"]["exception"]
    assert "'one', 'two'" in problem


def test_a_stream_that_is_collected_elsewhere(grove: Grove) -> None:
    grove.document("beats", interval=3600)
    first = grove.start()
    assert first.stdout is not None
    assert json.loads(first.stdout.readline())["message"]["type"] == "heartbeat"
    second = grove.run()
    assert (second.code, second.entries) == (75, [])
    grove.document("other", count=1, interval=0)
    assert grove.run().code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_gives_the_leases_back(grove: Grove, number: signal.Signals) -> None:
    grove.document("beats", interval=3600)
    grove.probe("other", "waiting")
    process = grove.start()
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    process.send_signal(number)
    began = time.monotonic()
    done = Finished(process)
    assert time.monotonic() - began < 10
    assert done.code == 0, done.stderr
    assert done.log("Collection finished.")["detail"]["stopped"] == 2
    grove.document("beats", count=1, interval=0)
    grove.probe("other", "good")
    again = grove.run()
    assert again.code == 0, again.stderr
    assert again.log("Collection finished.")["detail"]["succeeded"] == 2


def test_a_stream_that_does_not_stop_is_abandoned(grove: Grove) -> None:
    grove.probe("bad", "hanging")
    process = grove.start(code="import grove.oneshot\ngrove.oneshot.GRACE = 0.5")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    done = Finished(process)
    assert done.code == 1
    messages = [line["message"] for line in done.logs]
    assert "The stream did not stop in time, and is abandoned; the next run goes on from its last page." in messages
    # Its lease was given back.
    grove.probe("bad", "good")
    again = grove.run()
    assert again.code == 0, again.stderr
    assert again.entries == []


def test_a_second_signal_ends_it_at_once(grove: Grove) -> None:
    grove.probe("bad", "hanging")
    process = grove.start()
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.terminate()
    for line in process.stderr:
        if "Stopping." in line:
            break
    process.terminate()
    assert process.wait(timeout=5) == 128 + signal.SIGTERM


def test_more_streams_than_workers(grove: Grove) -> None:
    grove.environment["GROVE_WORKER_COUNT"] = "2"
    for number in range(7):
        grove.probe(f"stream-{number}", "good")
    done = grove.run()
    assert (done.code, len(done.entries)) == (0, 7)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"GROVE_WORKER_COUNT": "many"}, "GROVE_WORKER_COUNT is 'many'"),
        ({"GROVE_WORKER_COUNT": "0"}, "GROVE_WORKER_COUNT is '0'"),
        ({"GROVE_LOCK_DURATION": "-1"}, "GROVE_LOCK_DURATION is '-1'"),
        ({"GROVE_CONFIG_REFRESH": "1.5"}, "GROVE_CONFIG_REFRESH is '1.5'"),
        ({"GROVE_CACHE_HANDLER": "local_lmbd"}, "Did you mean 'local_lmdb'"),
        ({"GROVE_OUTPUT_HANDLER": "local_stout"}, "Did you mean 'local_stdout'"),
        ({"GROVE_CONFIG_HANDLER": "x"}, "'x' in grove.configs"),
        ({"GROVE_CONFIG_LOCAL_FILE_PATH": "/nowhere"}, "'/nowhere', which is not a directory"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL is 'LOUD'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_named(grove: Grove, environment: dict[str, str], words: str) -> None:
    grove.document("beats", count=1, interval=0)
    grove.environment |= environment
    done = grove.run()
    assert (done.code, done.stdout) == (78, "")
    (line,) = done.logs
    assert line["level"] == "CRITICAL"
    assert words in line["detail"]["exception"]
    assert "exception" in line["detail"]
    assert "Traceback" not in done.stderr


def test_a_newcomer_learns_the_next_step(grove: Grove) -> None:
    del grove.environment["GROVE_CONFIG_LOCAL_FILE_PATH"]
    done = grove.run()
    assert done.code == 78
    assert "Set GROVE_CONFIG_LOCAL_FILE_PATH to the directory" in done.stderr


def test_a_person_reads_sentences(grove: Grove) -> None:
    del grove.environment["GROVE_CONFIG_LOCAL_FILE_PATH"]
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from grove.cli import main; main()"], env=grove.environment, stderr=theirs
    )
    os.close(theirs)
    with os.fdopen(ours, "rb") as terminal:
        line = terminal.readline()
    assert process.wait() == 78
    assert line == b"grove: Grove is not configured correctly.\r\n"


def test_nothing_to_collect_is_said(grove: Grove) -> None:
    grove.document("off", disabled=True)
    done = grove.run()
    assert done.code == 0
    assert [line["level"] for line in done.logs] == ["WARNING"]
