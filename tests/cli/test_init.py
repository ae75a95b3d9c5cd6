"""`grove init`: a document that is nearly right, and what is left to do said in commands that can be typed."""

import json
import re
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from grove.cli import _schemas
from grove.cli.init import _draft, _json, _values, _yaml
from grove.configs import BaseConfig, Problem
from grove.configs.local_file import Handler
from grove.connectors import BaseConnector
from grove.constants import PLUGIN_GROUP_CONNECTOR
from grove.helpers import plugin
from tests.cli.shell import Shell

BUILT_IN = sorted(
    name for name, found in plugin.available(PLUGIN_GROUP_CONNECTOR).items() if found.value.startswith("grove.")
)


@pytest.fixture
def fresh(shell: Shell) -> Shell:
    """A shell in which nothing is set, as a new user has it."""
    for name in list(shell.environment):
        if name.startswith("GROVE_"):
            del shell.environment[name]
    (shell.root / "conf").rmdir()
    return shell


def problems(path: Path) -> list[Problem]:
    handler: BaseConfig = Handler([path])
    handler.get()
    return [*handler.problems, *handler.warnings]


@pytest.mark.parametrize("style", ["yaml", "json"])
@pytest.mark.parametrize("source", BUILT_IN)
def test_of_every_source_only_what_is_open_is_missing(source: str, style: str, tmp_path: Path) -> None:
    draft = _draft(source, "a", {})
    path = tmp_path / f"a.{style}"
    path.write_text(_yaml(draft) if style == "yaml" else _json(draft))
    found = problems(path)
    assert {problem.path for problem in found} == set(draft.open)
    assert "identity" in draft.open
    assert "`identity`" in draft.identity or source == "http_json"
    if source not in ("http_json", "local_heartbeat"):
        assert draft.secrets


def test_filled_in_it_is_right_for_the_editor_too(tmp_path: Path) -> None:
    draft = _draft("zoom_activities", "a", {"identity": "0123", "client_id": "no"})
    path = tmp_path / "a.yaml"
    path.write_text(_yaml(draft))
    assert problems(path) == []
    (config,) = Handler([path]).get()
    assert (config.identity, config.secrets) == ("0123", {"key": "a.key"})
    document = json.loads(_json(draft))
    assert list(Draft7Validator(_schemas.for_connector("zoom_activities")).iter_errors(document)) == []


def test_what_is_optional_may_be_uncommented_as_it_stands(tmp_path: Path) -> None:
    draft = _draft("okta_system_log", "a", {"identity": "acme"})
    text = re.sub(r"(?m)^# (\w+: )", r"\1", _yaml(draft).partition("# What follows")[2])
    head = _yaml(draft).partition("# What follows")[0]
    path = tmp_path / "a.yaml"
    path.write_text(f"{head}\n{text.partition(chr(10))[2]}")
    assert problems(path) == []
    assert "domain: okta.com" in path.read_text()


# --- the first minutes ---


def test_a_new_user_follows_what_it_says(fresh: Shell) -> None:
    done = fresh.run("init", "okta_system_log", "--name", "okta")
    assert (done.code, done.err) == (0, "")
    assert "Wrote conf/okta.yaml." in done.out
    assert "the organisation's name in its address" in done.out
    commands = [line.strip() for line in done.out.splitlines() if line.startswith("     ")]
    for line in commands:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            fresh.environment[name] = value
        elif line.startswith("install "):
            place = Path(shlex.split(line)[-1])
    assert commands[-1] == "grove validate"
    assert fresh.run("validate", "--offline").code == 78
    document = fresh.root / "conf" / "okta.yaml"
    document.write_text(document.read_text().replace("identity:\n", "identity: acme\n"))
    missing = fresh.run("validate")
    assert (missing.code, "missing-secret" in missing.out) == (78, True)
    (fresh.root / place).write_text("a-token\n")
    right = fresh.run("validate")
    assert (right.code, right.out) == (0, "1 document: nothing is wrong.\n")


def test_credentials_have_a_place_that_git_leaves_out(fresh: Shell) -> None:
    fresh.run("init", "okta_users")
    secrets = fresh.root / "conf" / ".secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert (secrets / ".gitignore").read_text().splitlines()[-1] == "*"
    fresh.run("init", "local_heartbeat", "--directory", "other")
    assert not (fresh.root / "other" / ".secrets").exists()


def test_an_editor_finds_the_schema(fresh: Shell) -> None:
    fresh.run("init", "okta_users")
    first = (fresh.root / "conf" / "okta-users.yaml").read_text().splitlines()[0]
    place = first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads((fresh.root / "conf" / place).read_text()) == _schemas.for_connector("okta_users")
    fresh.run("init", "okta_users", "--format", "json", "--name", "b")
    document = json.loads((fresh.root / "conf" / "b.json").read_text())
    assert document["$schema"] == place


def test_what_is_there_is_not_written_over(fresh: Shell) -> None:
    fresh.run("init", "okta_users", "--name", "a", "--format", "json")
    path = fresh.root / "conf" / "a.json"
    path.write_text("mine")
    for style in ("json", "yaml"):
        done = fresh.run("init", "okta_users", "--name", "a", "--format", style)
        assert (done.code, "a.json is there already" in done.err) == (2, True)
    assert path.read_text() == "mine"
    assert not (fresh.root / "conf" / "a.yaml").exists()


def test_a_directory_that_cannot_be_written_is_named(fresh: Shell) -> None:
    (fresh.root / "conf").write_text("a file")
    done = fresh.run("init", "okta_users")
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert "conf" in done.err


def test_values_may_be_given(fresh: Shell) -> None:
    done = fresh.run(
        *("init", "http_json", "--name", "a", "--identity", "0123", "--set", "url=https://example.com/x"),
        *("--set", "order=oldest_first", "--set", "pointer_path=at", "--set", "paging={type: link}"),
    )
    assert done.code == 0, done.err
    assert "Fill in" not in done.out
    (config,) = Handler([fresh.root / "conf" / "a.yaml"]).get()
    assert (config.identity, config.model_extra["paging"]) == ("0123", {"type": "link"})  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["okta_user"], "Did you mean 'okta_users'"),
        (["okta_users", "--name", "../x"], "cannot be the name of a file"),
        (["okta_users", "--set", "domain"], "is not of the form FIELD=VALUE"),
        (["okta_users", "--set", "domain=[a"], "--set domain: "),
        (["okta_users", "--set", "key=canary-5a1e"], "can be seen by others"),
        (["okta_users", "--set", "name=x"], "place of its own"),
    ],
)
def test_what_cannot_be_is_refused(fresh: Shell, arguments: list[str], words: str) -> None:
    done = fresh.run("init", *arguments)
    assert (done.code, words in done.err) == (2, True), done.err
    assert "canary" not in done.err
    assert not (fresh.root / "conf").exists()


@pytest.mark.parametrize(
    ("settings", "locator", "words"),
    [
        ({"GROVE_SECRET_HANDLER": "environment"}, "OKTA_USERS_KEY", "Put `key` where `secrets` says."),
        ({"GROVE_SECRET_HANDLER": "aws_ssm"}, "okta-users.key", "Put `key` where `secrets` says."),
        ({"GROVE_SECRET_LOCAL_FILE_PATH_PREFIX": "/run/secrets"}, "okta-users.key", "/run/secrets/okta-users.key"),
    ],
    ids=["environment", "elsewhere", "another directory"],
)
def test_the_secret_store_that_is_set_is_used(fresh: Shell, settings: dict[str, str], locator: str, words: str) -> None:
    fresh.environment |= settings
    done = fresh.run("init", "okta_users")
    assert words in done.out
    (document,) = (fresh.root / "conf").glob("*.yaml")
    assert f"  key: {locator}\n" in document.read_text()
    assert not (fresh.root / "conf" / ".secrets").exists()


def test_without_a_source_there_is_a_list_or_a_question(fresh: Shell) -> None:
    done = fresh.run("init")
    assert (done.code, done.out) == (2, "")
    assert "okta_system_log" in done.err
    assert "grove init SOURCE" in done.err
    asked = fresh.terminal("init", typed="okta_user\nokta_users\n")
    assert asked.code == 0, asked.plain
    assert "There is no source 'okta_user'. Did you mean 'okta_users'" in asked.plain
    assert (fresh.root / "conf" / "okta-users.yaml").exists()


def test_a_connector_of_somebody_else_gets_a_document_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Theirs(BaseConnector):
        """What they collect."""

        POINTER_PATH = "at"

    def load(name: str, group: str) -> Any:
        return Theirs

    monkeypatch.setattr(plugin, "load_class", load)
    draft = _draft("theirs", "a", _values(("region=eu",)))
    assert draft.secrets == {"key": "a.key"}
    assert draft.values == {"region": "eu"}
    assert "region: eu" in _yaml(draft)
