"""`grove doctor`: every kind of thing that it finds, each on a real set-up, and that it leaves all as it was."""

import ctypes
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from grove.caches.local_lmdb import Handler as Cache
from grove.cli import cli
from grove.helpers import clock
from grove.testing.practice import PracticeAPI
from grove.testing.practice_faults import rate_limited
from tests.cli.here import run_here
from tests.cli.shell import Done, Shell

LIBC = ctypes.CDLL(None, use_errno=True)


def diagnosis(shell: Shell, **environment: str) -> dict[str, list[tuple[str, str, str | None]]]:
    """What `doctor --json` says, by check; its exit code has to fit."""
    return findings_of(run_here(cli, "doctor", "--json", **{**shell.environment, **environment}))


def findings_of(done: Done) -> dict[str, list[tuple[str, str, str | None]]]:
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    for one in done.json["checks"]:
        found.setdefault(one["check"], []).append((one["status"], one["message"], one["help"]))
    failed = any(status == "fail" for lines in found.values() for status, _, _ in lines)
    assert (done.code, done.json["ok"], done.err) == (int(failed), not failed, "")
    return found


def statuses(found: dict[str, list[tuple[str, str, str | None]]], check: str) -> list[str]:
    return [status for status, _, _ in found[check]]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    root = tmp_path / "small"
    root.mkdir()
    if LIBC.mount(b"tmpfs", os.fsencode(root), b"tmpfs", 0, b"size=1m,mode=700"):
        pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
    yield root
    LIBC.umount2(os.fsencode(root), 2)


# --- all is well ---


def test_a_set_up_that_works(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    found = diagnosis(shell)
    assert all(status in ("ok", "skip") for lines in found.values() for status, _, _ in lines), found
    assert f"local_lmdb: the first run will make {shell.root / 'state'}" in found["cache"][0][1]
    # It has asked nobody, and made nothing.
    assert api.requests == []
    assert not (shell.root / "state").exists()
    assert [path.name for path in (shell.root / "out").iterdir()] == [".grove-output"]

    assert shell.run("run").code == 0
    before = dict(Cache(shell.root / "state").scan(""))
    found = diagnosis(shell)
    assert found["cache"][0][:2] == ("ok", f"local_lmdb: {shell.root / 'state'} opens")
    assert found["leases"] == [("ok", "none is held", None)]
    assert dict(Cache(shell.root / "state").scan("")) == before


def test_lines_for_people(shell: Shell) -> None:
    shell.document("beat")
    done = shell.terminal("doctor", GROVE_OUTPUT_LOCAL_FILE_PAHT="x")
    assert done.code == 0
    assert "\x1b[32mok" in done.out
    lines = done.plain.splitlines()
    at = next(index for index, line in enumerate(lines) if "PAHT" in line)
    assert lines[at].startswith("warn  settings       GROVE_OUTPUT_LOCAL_FILE_PAHT is set, and nothing knows it")
    assert lines[at + 1].strip() == "Did you mean GROVE_OUTPUT_LOCAL_FILE_PATH?"


# --- settings, documents, plugins ---


def test_settings_that_nothing_knows(shell: Shell) -> None:
    shell.document("beat")
    found = diagnosis(
        shell, GROVE_WORKERS_COUNT="3", GROVE_ANYTHING="1", GROVE_OUTPUT_KAFKA_TOPIC="known", GROVE_LOCK_DURATION="60"
    )
    assert found["settings"] == [
        (
            "warn",
            "GROVE_ANYTHING is set, and nothing knows it",
            "Take it away, or see `grove plugins` for what there is.",
        ),
        ("warn", "GROVE_WORKERS_COUNT is set, and nothing knows it", "Did you mean GROVE_WORKER_COUNT?"),
    ]


def test_a_setting_that_is_no_number(shell: Shell) -> None:
    shell.document("beat")
    found = diagnosis(shell, GROVE_WORKER_COUNT="many")
    assert found["settings"] == [("fail", "GROVE_WORKER_COUNT is 'many'; it has to be a whole number above 0.", None)]
    # What does not depend on it is looked at all the same.
    assert statuses(found, "network") == ["ok"]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ({}, ("warn", "there is no enabled document", "To begin with one: grove init")),
        ({"beat": {}}, ("ok", "1 document from local_file", None)),
        (
            {"one": {"identity": "x"}, "two": {"identity": "x"}},
            ("fail", "1 problem; 2 documents can be used all the same", "See `grove validate`."),
        ),
    ],
)
def test_documents(shell: Shell, documents: dict[str, Any], expected: tuple[str, str, str | None]) -> None:
    for name, fields in documents.items():
        shell.document(name, **fields)
    assert diagnosis(shell)["configuration"] == [expected]


def test_a_directory_of_documents_that_is_not_there(shell: Shell) -> None:
    found = diagnosis(shell, GROVE_CONFIG_LOCAL_FILE_PATH=str(shell.root / "nowhere"))
    assert found["configuration"][0][0] == "fail"
    assert "is not a directory. Create it" in found["configuration"][0][1]


def test_plugins_that_cannot_be_loaded(shell: Shell) -> None:
    shell.plugin("needy", "import module_that_is_not_there", "outputs")
    shell.document("beat", processors=[{"name": "x", "processor": "split_paths"}])
    done = shell.run("doctor", "--json", GROVE_OUTPUT_HANDLER="needy", GROVE_SECRET_HANDLER="environ")
    found = findings_of(done)
    misspelt, missing = (message for _, message, _ in found["plugins"])
    assert "it needs the package 'module_that_is_not_there'" in missing
    assert "Did you mean 'environment'" in misspelt
    # What a document names wrongly is the document's fault.
    assert statuses(found, "configuration") == ["fail"]


def test_secrets_that_cannot_be_fetched(shell: Shell) -> None:
    shell.document("one", secrets={"key": "ONE"})
    shell.document("two", secrets={"key": "TWO"})
    settings = {"GROVE_SECRET_HANDLER": "environment", "ONE": "canary-5a1e"}
    found = diagnosis(shell, **settings)
    ((status, message, _),) = found["secrets"]
    assert status == "fail"
    assert message.startswith("The secret for field 'key' of 'two'")
    assert "could not be fetched" in message
    assert diagnosis(shell, **settings, TWO="canary-77bb")["secrets"] == [
        ("ok", "those of 2 documents can be fetched from environment", None)
    ]


# --- the cache, and who is at work ---


def test_a_cache_that_others_can_write(shell: Shell) -> None:
    shell.document("beat")
    assert shell.run("run").code == 0
    (shell.root / "state").chmod(0o777)
    ((status, message, _),) = diagnosis(shell)["cache"]
    assert (status, f"Run: chmod 700 {shell.root / 'state'}" in message) == ("fail", True)


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can give a directory to somebody else")
def test_a_cache_of_somebody_else(shell: Shell) -> None:
    shell.document("beat")
    assert shell.run("run").code == 0
    os.chown(shell.root / "state", 12345, 12345)
    ((status, message, _),) = diagnosis(shell)["cache"]
    assert (status, "belongs to another user" in message) == ("fail", True)


def test_a_damaged_cache(shell: Shell) -> None:
    shell.document("beat")
    assert shell.run("run").code == 0
    (shell.root / "state" / "data.mdb").write_bytes(b"\xff" * 16384)
    found = diagnosis(shell)
    assert statuses(found, "cache") == ["fail"]
    assert "leases" not in found


def test_a_disk_that_is_nearly_full(shell: Shell, small: Path) -> None:
    shell.document("beat")
    (small / "out").mkdir()
    found = diagnosis(
        shell,
        GROVE_CACHE_LOCAL_LMDB_PATH=str(small / "state"),
        GROVE_OUTPUT_LOCAL_FILE_PATH=str(small / "out"),
    )
    assert found["cache"][1][::2] == ("fail", "Make room.")
    assert found["output"][1][::2] == ("fail", "Make room.")
    assert found["cache"][1][1].startswith("1 MiB are free where ")


def test_leases_and_who_holds_them(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    api.fault(1, rate_limited(60))
    running = shell.start("run")
    try:
        while not api.requests:
            assert running.poll() is None
        ((status, message, _),) = diagnosis(shell)["leases"]
        assert status == "ok"
        assert message.startswith(f"practice: held by process {running.pid}, for another ")
        running.send_signal(signal.SIGKILL)
        running.communicate()
        assert diagnosis(shell)["leases"] == [
            (
                "warn",
                f"practice: left behind by process {running.pid}, which has ended; the next run takes it over",
                None,
            )
        ]
    finally:
        running.kill()
        running.communicate()


# --- the output, and what is around ---


def test_an_output_that_cannot_be_written(shell: Shell, small: Path) -> None:
    shell.document("beat")
    readonly, remount = 1, 32
    assert LIBC.mount(b"tmpfs", os.fsencode(small), b"tmpfs", readonly | remount, b"") == 0
    ((status, message, _),) = diagnosis(shell, GROVE_OUTPUT_LOCAL_FILE_PATH=str(small))["output"]
    assert status == "fail"
    assert str(small) in message
    assert "read-only" in message or "may not read and write" in message


def test_an_output_that_only_takes(shell: Shell) -> None:
    shell.document("beat")
    found = diagnosis(shell, GROVE_OUTPUT_HANDLER="local_stdout,local_file")
    assert any(message.startswith("local_stdout is set up") for _, message, _ in found["output"])


def test_a_clock_that_is_behind(shell: Shell) -> None:
    shell.document("beat")
    assert shell.run("run").code == 0
    cache = Cache(shell.root / "state")
    ((key, _),) = cache.scan("last_run.")
    cache.set(*key, clock.datestamp(clock.now() + timedelta(hours=1)))
    ((status, message, help),) = diagnosis(shell)["clock"]
    assert status == "warn"
    assert message.endswith("and 1 stream ran last after that")
    assert help == "Set it, on this host or on the one that ran them."


@pytest.mark.parametrize(
    ("environment", "status", "said"),
    [
        (
            {"HTTPS_PROXY": "http://user:hunter2-secret@proxy.example.com:3128"},
            "ok",
            "through the proxy proxy.example.com:3128",
        ),
        ({"HTTPS_PROXY": "socks5://proxy.example.com"}, "fail", "no address like http://host:3128"),
        ({"REQUESTS_CA_BUNDLE": "/nowhere.pem"}, "fail", "'/nowhere.pem'"),
    ],
)
def test_the_network(shell: Shell, environment: dict[str, str], status: str, said: str) -> None:
    shell.document("beat")
    ((found, message, _),) = diagnosis(shell, **environment)["network"]
    assert (found, said in message) == (status, True), message
    assert "hunter2" not in message
