"""`grove check` against live sources: what it finds, what it says to do, and that it leaves no trace."""

import json
from dataclasses import replace
from typing import Any

import pytest

from grove.testing.practice import PracticeAPI
from grove.testing.practice_faults import Reply, rate_limited, status
from tests.cli.shell import Shell


def findings(shell: Shell, *arguments: str, expected: int = 0) -> dict[str, tuple[str, str, str | None]]:
    """What `check --json practice` says, by check."""
    done = shell.run("check", "practice", "--json", *arguments)
    assert done.code == expected, done.out + done.err
    assert done.err == ""
    return {one["check"]: (one["status"], one["message"], one["help"]) for one in done.json[0]["checks"]}


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_one_page_and_nothing_else(shell: Shell, order: Any) -> None:
    with PracticeAPI(250, order=order) as api:
        shell.collects(api)
        (found,) = shell.run("check", "practice", "--json").json
        first = api.offered[0 if order == "oldest_first" else -1]["at"]
        assert len(api.requests) == 1
    assert found.pop("seconds") > 0
    assert {one["check"]: one["status"] for one in found.pop("checks")} == {
        "document": "ok",
        "credentials": "ok",
        "request": "ok",
        "entries": "ok",
        "pointer": "ok",
        "order": "ok",
    }
    assert found == {
        "name": "practice",
        "connector": "http_json",
        "identity": "practice",
        "ok": True,
        "entries": 100,
        "more": True,
        "first_pointer": first,
        "limits": {},
    }
    assert sorted(path.name for path in shell.root.iterdir()) == ["conf", "out"]
    assert list((shell.root / "out").iterdir()) == []


def test_it_begins_where_a_first_run_does(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    assert shell.run("run").code == 0
    (found,) = shell.run("check", "practice", "--json").json
    assert found["entries"] == 100


def test_a_text_for_people(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    shell.document("beat")
    done = shell.terminal("check", "practice", "beat", "--show")
    assert done.code == 0
    assert "Asking the source of practice" in done.out
    assert "\x1b[32mok" in done.out
    assert f"ok    pointer      at = {api.offered[0]['at']}" in done.plain
    assert "Next: grove run practice --dry-run" in done.plain
    # Enough to see what it is made of, too little to learn anything.
    assert f'"at": "{api.offered[0]["at"]}"' in done.plain
    assert '"actor": "us***"' in done.plain
    assert api.offered[0]["actor"] not in done.plain
    assert "ok    entries      1 in this page" in done.plain


def test_wrong_credentials(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, key="wrong-token")
    found = findings(shell, expected=1)
    assert found["request"][0] == "fail"
    assert "answered status 401" in found["request"][1]
    assert "Check that the credentials are complete, in force, and of this tenant." in found["request"][1]
    assert "wrong-token" not in json.dumps(found)
    assert "pointer" not in found


def test_an_unreachable_host(shell: Shell, api: PracticeAPI, unused_port: int) -> None:
    shell.collects(api, url=f"http://127.0.0.1:{unused_port}/entries")
    state, message, help = findings(shell, expected=1)["request"]
    assert state == "fail"
    assert f"GET 127.0.0.1:{unused_port}/entries failed: connection refused." in message
    assert help is not None and "grove doctor" in help


@pytest.mark.parametrize(("path", "guess"), [("attt", "at"), ("created", "at"), ("actr", "actor")])
def test_a_wrong_pointer_path(shell: Shell, api: PracticeAPI, path: str, guess: str) -> None:
    shell.collects(api, pointer_path=path)
    state, message, help = findings(shell, expected=78)["pointer"]
    assert (state, message) == ("fail", f"none of the entries has a value at {path!r}")
    assert help == f"Did you mean {guess!r}? The first entry has: id, at, action, actor."


def test_a_pointer_path_that_not_every_entry_has(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, pointer_path="at", select="{id: id, at: (id != 'e-0000003' && at || null)}")
    state, message, help = findings(shell)["pointer"]
    assert (state, help) == ("warn", "They will be set aside in `quarantine`.")
    assert message.endswith("but 1 of the entries have none")


def test_the_wrong_order(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, order="newest_first")
    assert findings(shell)["order"] == (
        "warn",
        "declared newest first, but this page is oldest first",
        "Correct `order` in the document.",
    )


def test_waits_and_limits_are_told(shell: Shell, api: PracticeAPI) -> None:
    def limits(reply: Reply) -> Reply:
        return replace(reply, headers={**reply.headers, "X-RateLimit-Remaining": "57"})

    shell.collects(api)
    api.fault(1, rate_limited(1))
    api.fault(2, limits)
    found = findings(shell)
    assert found["limits"] == ("ok", "X-RateLimit-Remaining: 57", None)
    state, message, _ = found["waits"]
    assert state == "warn"
    assert message.startswith("answered status 429")
    assert message.endswith("Asked again after 1.0 s.")
    assert len(api.requests) == 2


def test_a_source_without_entries(shell: Shell) -> None:
    with PracticeAPI() as api:
        shell.collects(api)
        found = findings(shell)
    assert found["entries"] == ("ok", "0 in this page", None)
    assert found["pointer"] == ("skip", "no entry to look for it in", None)


def test_a_list_that_is_delivered_whole_has_no_pointer(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, snapshot=True, params={}, pointer_path="nothing")
    found = findings(shell)
    assert found["entries"][1] == "100 in this page, and there are more pages"
    assert found["pointer"] == ("skip", "every run delivers the whole list", None)


def test_secrets_are_fetched(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, key="", secrets={"key": "PRACTICE_KEY"})
    shell.environment["GROVE_SECRET_HANDLER"] = "environment"
    state, message, _ = findings(shell, expected=1)["credentials"]
    assert state == "fail"
    assert "PRACTICE_KEY" in message
    assert api.token is not None
    shell.environment["PRACTICE_KEY"] = api.token
    assert findings(shell)["credentials"] == ("ok", "key: fetched from the secret store", None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"connector": "no_such"}, "'no_such'"),
        ({"connector": "http_json"}, "'url'"),
        ({"secrets": {"key": "x"}}, "GROVE_SECRET_HANDLER is not set."),
        ({"processors": [{"name": "x", "processor": "split_paths"}]}, "split_path"),
    ],
)
def test_a_document_that_cannot_work(shell: Shell, fields: dict[str, Any], said: str) -> None:
    shell.document("practice", **fields)
    state, message, help = findings(shell, expected=78)["document"]
    assert state == "fail"
    assert said in f"{message} {help}"
    assert help


def test_a_name_is_needed_and_has_to_be_known(shell: Shell) -> None:
    shell.document("practice")
    assert shell.run("check").code == 2
    done = shell.run("check", "practise")
    assert done.code == 2
    assert "Did you mean 'practice'?" in done.err


def test_one_that_fails_does_not_hide_the_others(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    shell.document("broken", connector="no_such")
    shell.collects(api, "refused", key="wrong-token")
    done = shell.run("check", "broken", "refused", "practice", "--json")
    assert done.code == 78
    assert [one["ok"] for one in done.json] == [False, False, True]
    assert api.requests[-1].status == 200
    api.fault(1, status(404))
    assert shell.run("check", "practice").code == 1
