"""`grove state explain`: in processes of their own, after runs against a practice source."""

import json

from grove.testing.practice import PracticeAPI
from tests.cli.shell import Shell


def test_what_was_collected_is_explained(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    assert shell.run("run").code == 0
    asked = shell.run("state", "explain", "practice", "--json")
    found = asked.json
    assert found["entries"] == 250
    assert (found["runs"], found["runs_to_the_end"], found["quarantined"], found["late"]) == (1, 1, 0, 0)
    until = found["covered_until"]
    assert until <= found["to"]
    whole = shell.run("state", "explain", "practice", "--to", until)
    assert whole.code == 0, whole.out
    assert "Yes: everything that the source had of that time has been collected." in whole.out
    assert "They brought 250 new entries" in whole.out


def test_time_that_nobody_asked_for_is_not_collected_yet(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    assert shell.run("run").code == 0
    found = shell.run("state", "explain", "practice", "--to", "2999-01-01")
    assert found.code == 1
    assert "Not yet" in found.out or "cannot be said" in found.out


def test_before_the_first_run_nothing_is_known(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    found = shell.run("state", "explain", "practice", "--json", "--from", "10:00", "--to", "2999-01-01T11:00+01:00")
    assert found.code == 1
    assert found.json["answer"] == "unknown"
    assert found.json["to"] == "2999-01-01T10:00:00Z"
    json.dumps(found.json)


def test_wrong_usage(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    unknown = shell.run("state", "explain", "practise")
    assert (unknown.code, "practice" in unknown.err) == (2, True)
    assert shell.run("state", "explain", "practice", "--from", "yesterday").code == 2
    assert shell.run("state", "explain", "practice", "--from", "11:00", "--to", "10:00").code == 2
