"""`grove status`: from the cache, without a daemon, in processes of their own."""

import json

import lmdb

from grove.caches import Batch, Key
from grove.caches.local_lmdb import Handler as LmdbCache
from grove.helpers import clock
from grove.history import History
from grove.models import ConnectorConfig
from grove.runtime import state_key
from grove.testing.practice import PracticeAPI
from tests.cli.shell import Shell


def store(shell: Shell, kind: str, name: str, value: str) -> None:
    """Put a fact of a stream into the cache."""
    config = ConnectorConfig(**json.loads((shell.root / "conf" / f"{name}.json").read_text()))
    reference, operation = state_key(config)
    LmdbCache(shell.root / "state").apply(Batch().set(Key(f"{kind}.{reference}", operation), value))


def streams(shell: Shell, *arguments: str) -> dict:
    found = shell.run("status", "--json", *arguments)
    assert found.code == 0, found.err
    return {stream["name"]: stream for stream in found.json["streams"]}


def test_before_the_first_run(shell: Shell) -> None:
    shell.document("quiet")
    found = shell.run("status")
    assert found.code == 0
    assert found.out.splitlines() == [
        "stream  state  last run  new  last 24 h  newest entry  next run",
        "quiet   new    never                                   due",
        "",
        "1 stream: 1 new.",
    ]


def test_after_a_run(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, expect={"entries_per_day": 1})
    assert shell.run("run").code == 0
    stream = streams(shell)["practice"]
    assert (stream["state"], stream["problems"], stream["failures"]) == ("ok", [], 0)
    run = stream["last_run"]
    assert (run["outcome"], run["error"], run["entries"]) == ("succeeded", None, 250)
    assert run["pages"] >= 1
    assert (run["dropped"], run["quarantined"]) == (0, 0)
    assert stream["entries_last_day"] == sum(hour[0] for hour in stream["hours"]) == 250
    assert stream["pointer"] is not None
    assert stream["newest"] is not None
    assert stream["holder"] is None
    text = shell.run("status").out
    assert "practice  ok" in text
    assert text.endswith("1 stream: 1 ok.\n")


def test_failing_streams_come_first_and_are_explained(shell: Shell, api: PracticeAPI) -> None:
    shell.document("fine")
    shell.collects(api, "refused", key="wrong-key-wrong-key")
    assert shell.run("run").code == 1
    found = shell.run("status")
    assert found.code == 0
    assert [line.split()[:2] for line in found.out.splitlines()[1:3]] == [["refused", "failing"], ["fine", "ok"]]
    assert "refused: failed: " in found.out
    assert "wrong-key" not in found.out
    check = shell.run("status", "--check")
    assert check.code == 1
    assert check.out.startswith("failing: refused: failed: ")
    assert len(check.out.splitlines()) == 1
    as_json = shell.run("status", "--check", "--json")
    assert (as_json.code, as_json.json["exit_code"]) == (1, 1)


def test_all_is_well(shell: Shell) -> None:
    shell.document("fine")
    assert shell.run("run").code == 0
    check = shell.run("status", "--check")
    assert (check.code, check.out) == (0, "ok: 1 stream\n")


def test_stale_streams(shell: Shell) -> None:
    shell.document("old", expect={"newest_within": "1h"})
    shell.document("unseen", expect={"newest_within": "1h"})
    assert shell.run("run", "old").code == 0
    assert shell.run("status", "old", "--check").code == 0
    store(shell, "pointer", "old", "2020-01-01T00:00:00Z")
    check = shell.run("status", "--check")
    assert check.code == 1
    assert check.out.splitlines()[0].startswith("stale: old: newest entry is ")
    assert check.out.splitlines()[1] == "stale: unseen: has never run"
    assert streams(shell)["old"]["shortfalls"] == ["newest_within"]


def test_who_holds_a_stream(shell: Shell) -> None:
    shell.document("held")
    assert shell.run("run").code == 0
    store(shell, "execution_lock", "held", "2999-01-01T00:00:00.000000Z")
    store(shell, "lease", "held", json.dumps({"owner": "77-abc", "nonce": "n", "since": "2026-01-01"}))
    stream = streams(shell)["held"]
    assert (stream["state"], stream["holder"], stream["held_until"]) == (
        "running",
        "77-abc",
        "2999-01-01T00:00:00.000Z",
    )


def test_a_process_that_has_died_holds_nothing(shell: Shell) -> None:
    shell.document("held")
    assert shell.run("run").code == 0
    store(shell, "execution_lock", "held", "2999-01-01T00:00:00.000000Z")
    owners = shell.root / "state" / "owners"
    (owners / "77-dead.lock").touch()
    store(shell, "lease", "held", json.dumps({"owner": "77-dead", "nonce": "n", "since": "2026-01-01"}))
    assert streams(shell)["held"]["holder"] is None


def test_a_damaged_cache_is_named(shell: Shell) -> None:
    shell.document("fine")
    assert shell.run("run").code == 0
    environment = lmdb.open(str(shell.root / "state"))
    with environment.begin(write=True) as txn:
        (spoilt,) = (key for key in txn.cursor().iternext(values=False) if key.startswith(b"history."))
        txn.put(spoilt, b"?" + txn.get(spoilt))
    environment.close()
    found = shell.run("status")
    assert found.code == 1
    assert str(shell.root / "state") in found.err
    assert "history.local_heartbeat" in found.err


def test_an_empty_pointer_is_a_failure(shell: Shell) -> None:
    shell.document("fine")
    store(shell, "pointer", "fine", "")
    assert streams(shell)["fine"]["state"] == "failing"


def test_only_the_named_streams(shell: Shell) -> None:
    for name in ("one", "two"):
        shell.document(name)
    assert list(streams(shell, "two")) == ["two"]
    wrong = shell.run("status", "tow")
    assert wrong.code == 2
    assert "Did you mean 'two'" in wrong.err


def test_broken_documents_are_named(shell: Shell) -> None:
    shell.document("fine")
    (shell.root / "conf" / "bad.json").write_text("{")
    assert shell.run("run", "fine").code == 78
    check = shell.run("status", "--check")
    assert check.code == 78
    assert "bad.json" in check.out
    assert shell.run("status").code == 0


def test_without_documents(shell: Shell) -> None:
    assert shell.run("status").out.startswith("There is nothing to collect")
    assert shell.run("status", "--check").code == 78


def test_a_cache_that_cannot_be_used_is_a_sentence(shell: Shell) -> None:
    shell.document("fine")
    found = shell.run("status", GROVE_CACHE_HANDLER="nothing")
    assert found.code == 78
    assert found.err.startswith("Error: ")
    assert "Traceback" not in found.err


def test_on_a_terminal(shell: Shell) -> None:
    shell.document("fine")
    assert shell.run("run").code == 0
    shown = shell.terminal("status")
    assert "\x1b[32mok\x1b" in shown.out
    assert "\x1b[" not in shell.terminal("status", NO_COLOR="1").out
    assert shown.plain.splitlines()[1].startswith("fine    ok     ")


def test_the_history_of_one_run_is_small(shell: Shell) -> None:
    shell.document("fine")
    assert shell.run("run").code == 0
    ((_, text),) = LmdbCache(shell.root / "state").scan("history.")
    history = History.decode(text)
    assert history is not None
    assert clock.seconds_until(history.ended) < 0
    assert len(text) < 400
