"""`grove run`: names, rehearsals and limits, what a pipe and a terminal get to see, and what goes wrong in it."""

import ctypes
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grove.caches import Key
from grove.caches.local_lmdb import Handler as Cache
from grove.helpers import clock
from grove.outputs import ObjectName
from grove.outputs.local_file import Handler as Output
from grove.testing.practice import PracticeAPI
from grove.testing.practice_faults import rate_limited, status
from tests.cli.shell import Shell

LIBC = ctypes.CDLL(None, use_errno=True)


def state_of(shell: Shell) -> dict[str, str]:
    """Every fact that the cache holds."""
    return {f"{key.pk} {key.sk}": value for key, value in Cache(shell.root / "state").scan("")}


# --- names ---


def test_a_name_chooses_a_stream(shell: Shell) -> None:
    shell.document("one")
    shell.document("two")
    done = shell.run("run", "two", "--json")
    assert done.code == 0, done.err
    assert [stream["name"] for stream in done.json["streams"]] == ["two"]
    assert {entry["_grove"]["identity"] for entry in shell.delivered} == {"two"}


def test_what_is_named_is_collected_whether_it_is_due_or_not(shell: Shell) -> None:
    shell.document("beat")
    shell.document("other")

    def outcomes(*arguments: str) -> dict[str, str]:
        done = shell.run("run", *arguments, "--json")
        return {stream["name"]: stream["outcome"] for stream in done.json["streams"]}

    assert outcomes() == {"beat": "succeeded", "other": "succeeded"}
    assert outcomes() == {"beat": "not_due", "other": "not_due"}
    assert outcomes("beat") == {"beat": "succeeded"}
    assert outcomes("--all") == {"beat": "succeeded", "other": "succeeded"}


@pytest.mark.parametrize(
    ("name", "hint"), [("prctice", "Did you mean 'practice'?"), ("zzz", "Known are 'other', 'practice'.")]
)
def test_an_unknown_name_is_wrong_usage(shell: Shell, name: str, hint: str) -> None:
    shell.document("practice")
    shell.document("other")
    (shell.root / "conf" / "broken.json").write_text("{")
    done = shell.run("run", "practice", name)
    assert (done.code, done.out) == (2, "")
    assert f"There is no enabled document called '{name}'. {hint}" in done.err
    assert "Some documents have problems: see `grove validate`." in done.err
    assert shell.delivered == []


def test_only_streams_without_a_document_are_recovered_for_others(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.document("one")
    shell.document("two")
    assert shell.run("run").code == 0
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(shell.root / "out"))
    name = ObjectName("logs", "local_heartbeat", "two", "all", 0, clock.now(), "0" * 16, ".json.gz", "attempt")
    staged = {**Output().stage(name, b"left behind"), "output": Output.__module__}
    key = Key(f"pending.{shell.config('two').reference()}", "all")
    Cache(shell.root / "state").set(*key, json.dumps([staged]))

    assert "no longer configured" not in shell.run("run", "one").err
    assert not Path(staged["path"]).exists()
    # Without its document, whoever comes along finishes what it left behind.
    (shell.root / "conf" / "two.json").unlink()
    assert "Finished a delivery of a stream that is no longer configured." in shell.run("run", "one").err
    assert Path(staged["path"]).exists()


# --- rehearsals ---


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_a_rehearsal_says_what_would_come_and_changes_nothing(shell: Shell, order: Any) -> None:
    with PracticeAPI(250, order=order) as api:
        shell.collects(api)
        first, last = (api.offered[index]["at"] for index in ((0, -1) if order == "oldest_first" else (-1, 0)))
        done = shell.run("run", "--dry-run", "--json")
        (stream,) = done.json["streams"]
        assert (done.code, done.json["dry_run"], stream["entries"]) == (0, True, 250)
        assert (stream["first_pointer"], stream["last_pointer"]) == (first, last)
        assert list((shell.root / "out").iterdir()) == []
        assert not (shell.root / "state").exists()

        assert shell.run("run").code == 0
        api.offer(7)
        before = state_of(shell)
        stream = shell.run("run", "practice", "--dry-run", "--json").json["streams"][0]
        assert stream["entries"] == 7
        assert state_of(shell) == before
        assert len(shell.delivered) == 250
        assert shell.run("run", "practice").code == 0
        assert api.compare(shell.delivered).exact


def test_a_rehearsal_needs_no_output_and_minds_no_other_run(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    shell.document("other")
    api.fault(2, rate_limited(30))
    running = shell.start("run", "practice")
    try:
        # Its lease is held for as long as the source wants it to wait.
        while len(api.requests) < 2:
            assert running.poll() is None
        done = shell.run("run", "--dry-run", "--json", "practice", GROVE_OUTPUT_LOCAL_FILE_PATH="/nowhere")
        assert done.json["streams"][0]["outcome"] == "succeeded", done.err
        locked = shell.run("run", "practice", "--json")
        assert (locked.code, locked.json["streams"][0]["outcome"]) == (75, "locked")
    finally:
        running.kill()
        running.communicate()


def test_a_rehearsal_goes_through_the_processors_and_sets_aside_what_fails(shell: Shell, api: PracticeAPI) -> None:
    broken = {"name": "split", "processor": "split_path", "source": "id"}
    shell.collects(api, processors=[broken], outputs={"logs": "raw", "processed": "processed"})
    (stream,) = shell.run("run", "--dry-run", "--json").json["streams"]
    assert stream["entries"] == 250


# --- limits ---


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_a_limit_ends_a_stream_after_a_whole_page(shell: Shell, order: Any) -> None:
    with PracticeAPI(450, order=order) as api:
        shell.collects(api)
        done = shell.run("run", "--limit", "101", "--json")
        (stream,) = done.json["streams"]
        assert (done.code, stream["outcome"], stream["entries"], stream["limit_reached"]) == (0, "stopped", 200, True)
        assert len(shell.delivered) == 200
        # The next run goes on from there, and is due at once.
        (stream,) = shell.run("run", "--json").json["streams"]
        assert (stream["outcome"], stream["entries"], stream["limit_reached"]) == ("succeeded", 250, False)
        assert api.compare(shell.delivered).exact


def test_a_limit_holds_for_a_list_that_is_delivered_whole(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, snapshot=True, params={})
    (stream,) = shell.run("run", "--limit", "100", "--json").json["streams"]
    assert (stream["outcome"], stream["entries"]) == ("stopped", 100)
    assert len(shell.delivered) == 100


def test_a_limit_that_is_not_reached_is_none(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    (stream,) = shell.run("run", "--limit", "1000", "--json").json["streams"]
    assert (stream["outcome"], stream["entries"], stream["limit_reached"]) == ("succeeded", 250, False)


# --- what is said ---


def test_the_report_for_programs(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    api.fault(2, status(403, b"no"))
    done = shell.run("run", "--json")
    (stream,) = done.json["streams"]
    assert (done.code, done.json["exit_code"], done.json["problems"]) == (1, 1, [])
    assert stream.pop("seconds") > 0
    assert "answered status 403, saying: no" in stream.pop("error")
    assert stream == {
        "name": "practice",
        "connector": "http_json",
        "identity": "practice",
        "operation": "all",
        "outcome": "failed",
        "entries": 100,
        "quarantined": 0,
        "limit_reached": False,
        "next": "grove check practice",
        "pointer": api.offered[99]["at"],
    }


def test_a_report_and_entries_do_not_share_stdout(shell: Shell) -> None:
    shell.document("beat")
    done = shell.run("run", "--json", GROVE_OUTPUT_HANDLER="local_stdout")
    assert (done.code, done.out) == (2, "")
    assert "stdout is for the report" in done.err
    assert shell.run("run", "--json", "--dry-run", GROVE_OUTPUT_HANDLER="local_stdout").json["exit_code"] == 0


def test_a_pipe_hears_nothing_but_logs(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    done = shell.run("run")
    assert done.out == ""
    assert all(json.loads(line)["level"] == "INFO" for line in done.err.splitlines())


def test_a_terminal_shows_progress_and_a_summary(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    shell.document("beat")
    done = shell.terminal("run")
    assert done.code == 0
    assert "0 of 2 streams done" in done.out
    lines = done.plain.splitlines()
    assert [line.split() for line in lines] == [
        ["stream", "outcome", "entries", "pointer", "time"],
        ["beat", "succeeded", "1", *lines[1].split()[3:]],
        ["practice", "succeeded", "250", api.offered[-1]["at"], *lines[2].split()[4:]],
    ]
    assert "\x1b[32msucceeded\x1b[0m" in done.out
    again = shell.terminal("run", NO_COLOR="1")
    assert "2 not due yet. To collect one now: grove run beat" in again.plain
    assert "\x1b[9" not in again.out


def test_a_terminal_that_gets_the_entries_has_no_progress_between_them(shell: Shell) -> None:
    shell.document("beat")
    done = shell.terminal("run", GROVE_OUTPUT_HANDLER="local_stdout")
    assert done.code == 0
    assert "streams done" not in done.out
    assert len([line for line in done.plain.splitlines() if line.startswith("{")]) == 1


def test_a_terminal_says_what_failed_and_what_to_do(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, key="wrong-token")
    done = shell.terminal("run")
    assert done.code == 1
    (error,) = (line for line in done.plain.splitlines() if line.startswith("error: "))
    assert "practice: Collection did not complete. GET" in error
    assert "answered status 401" in error
    assert "Check that the credentials are complete, in force, and of this tenant." in error
    assert "Next: grove check practice" in done.plain
    assert "wrong-token" not in done.out
    assert "Traceback" not in done.out


def test_debug_shows_everything(shell: Shell) -> None:
    shell.document("beat")
    done = shell.terminal("--debug", "run")
    assert '"level":"INFO"' in done.plain


def test_bare_grove_is_run(shell: Shell, tmp_path: Path) -> None:
    shell.document("beat")
    assert shell.terminal().plain.splitlines()[1].split()[:3] == ["beat", "succeeded", "1"]


# --- the likely mistakes: what happened, where, and what to do next ---


@pytest.fixture
def small(shell: Shell) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many bytes; read-only where that is none."""
    root = shell.root / "small"

    def mount(size: int) -> Path:
        root.mkdir()
        flags, options = (0, f"size={size},mode=700") if size else (1, "mode=700")
        if LIBC.mount(b"tmpfs", os.fsencode(root), b"tmpfs", flags, options.encode()):
            pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
        return root

    yield mount
    LIBC.umount2(os.fsencode(root), 2)


def explained(shell: Shell, code: int, *said: str, **environment: str) -> str:
    """What a terminal shows of a `grove run` that fails: it has to say all of this, and nothing of a traceback."""
    done = shell.terminal("run", **environment)
    text = " ".join(done.plain.split())
    assert done.code == code, text
    for part in said:
        assert part in text
    assert "Traceback" not in text
    assert "defect" not in text
    return text


def test_no_directory_of_documents(shell: Shell) -> None:
    del shell.environment["GROVE_CONFIG_LOCAL_FILE_PATH"]
    explained(
        shell, 78, "GROVE_CONFIG_LOCAL_FILE_PATH", "Set GROVE_CONFIG_LOCAL_FILE_PATH to the", "Next: grove doctor"
    )


def test_no_documents(shell: Shell) -> None:
    explained(shell, 0, "no enabled configuration document was found", "Next: grove init")


def test_a_broken_document(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    (shell.root / "conf" / "broken.json").write_text('{"name": ')
    explained(shell, 78, f"{shell.root}/conf/broken.json:1:10:", "practice succeeded 250", "Next: grove validate")


def test_an_unreachable_output(shell: Shell, api: PracticeAPI, unused_port: int) -> None:
    shell.collects(api)
    explained(
        shell,
        1,
        f"127.0.0.1:{unused_port}/logs did not accept a page",
        "connection refused",
        "See whether it is in order; the next run sends the page again.",
        "Next: grove doctor",
        GROVE_OUTPUT_HANDLER="remote_http",
        GROVE_OUTPUT_REMOTE_HTTP_URL=f"http://127.0.0.1:{unused_port}/logs",
        GROVE_OUTPUT_REMOTE_HTTP_RETRIES="1",
    )


def test_an_output_directory_that_is_not_there(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    explained(shell, 78, "'/nowhere', which is not a directory. Create it", GROVE_OUTPUT_LOCAL_FILE_PATH="/nowhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can give a directory to somebody else")
def test_a_foreign_cache(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    assert shell.run("run").code == 0
    os.chown(shell.root / "state", 12345, 12345)
    explained(shell, 1, f"{shell.root}/state belongs to another user. Use one of your own.", "Next: grove doctor")


def test_a_stream_that_is_collected_elsewhere(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    api.fault(1, rate_limited(30))
    running = shell.start("run")
    try:
        while not api.requests:
            assert running.poll() is None
        explained(shell, 75, "practice locked", "practice: is being collected by another process.")
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize("variable", ["GROVE_OUTPUT_LOCAL_FILE_PATH", "GROVE_CACHE_LOCAL_LMDB_PATH"])
def test_a_read_only_disk(shell: Shell, api: PracticeAPI, small: Callable[[int], Path], variable: str) -> None:
    shell.collects(api)
    root = small(0)
    place = root if "OUTPUT" in variable else root / "state"
    explained(
        shell,
        1,
        f"{place} cannot be written: the file system is read-only; mount it writable.",
        "Next: grove doctor",
        **{variable: str(place)},
    )


@pytest.mark.parametrize("variable", ["GROVE_OUTPUT_LOCAL_FILE_PATH", "GROVE_CACHE_LOCAL_LMDB_PATH"])
def test_a_full_disk(shell: Shell, small: Callable[[int], Path], variable: str) -> None:
    with PracticeAPI(3_000) as api:
        shell.collects(api, gather=1)
        root = small(40_960)
        place = root if "OUTPUT" in variable else root / "state"
        explained(
            shell,
            1,
            "cannot be written: the disk is full (",
            "free some space, and collection goes on where it stands.",
            "Next: grove doctor",
            **{variable: str(place)},
        )


def test_missing_secrets(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, key="", secrets={"key": "PRACTICE_KEY"})
    explained(shell, 78, "GROVE_SECRET_HANDLER is not set. Set it to the store that holds them", "Next: grove validate")
    explained(shell, 1, "PRACTICE_KEY", "Next: grove", GROVE_SECRET_HANDLER="environment")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GROVE_CACHE_HANDLER", "lmdb", "There is no plugin called 'lmdb' in grove.caches. Did you mean 'local_lmdb'?"),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL is 'LOUD'; use DEBUG, INFO, WARNING, ERROR or CRITICAL."),
        ("GROVE_WORKER_COUNT", "0", "GROVE_WORKER_COUNT is '0'; it has to be a whole number above 0."),
    ],
)
def test_wrong_settings(shell: Shell, variable: str, value: str, said: str) -> None:
    shell.document("beat")
    explained(shell, 78, said, "Next: grove doctor", **{variable: value})
