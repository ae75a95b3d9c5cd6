"""Everything that is wrong with a document is found at once, each thing where it stands, and no credential is shown."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import model_validator

from grove.configs import Problem
from grove.configs.local_file import Handler
from grove.connectors import BaseConnector
from grove.helpers import plugin
from grove.models import ConnectorConfig

CANARY = "canary-5a1e"

Load = Callable[..., list[Problem]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """What is wrong with a document of this text, in a file of this name."""
    monkeypatch.chdir(tmp_path)

    def load(text: str, name: str = "a.yaml") -> list[Problem]:
        Path(name).write_text(text)
        handler = Handler([Path(name)])
        handler.get()
        return sorted([*handler.problems, *handler.warnings], key=lambda problem: (problem.line, problem.column))

    return load


def brief(problems: list[Problem]) -> list[tuple[str, int, int, str]]:
    return [(problem.code, problem.line, problem.column, problem.path) for problem in problems]


FAULTY = """\
name: okta
connector: okta_system_log
identity:
key: canary-5a1e
domian: okta-emea.com # canary-5a1e
domain: 5
frequency: often
disabled: nope
outputs: {logs: rwa}
processors:
  - name: bots
    processor: filter_entries
    filters: ["actor.type == 'bot'", "actor["]
  - name: x
    processor: filter_entris
  - {name: y, processor: split_path, sourec: items}
secrets: {kee: canary-5a1e}
"""

FOUND = [
    ("missing-field", 3, 10, "identity"),
    ("unknown-field", 5, 1, "domian"),
    ("wrong-value", 6, 9, "domain"),
    ("wrong-type", 7, 12, "frequency"),
    ("wrong-type", 8, 11, "disabled"),
    ("wrong-value", 9, 17, "outputs.logs"),
    ("bad-jmespath", 13, 38, "processors.0.filters.1"),
    ("unknown-processor", 15, 16, "processors.1.processor"),
    ("missing-field", 16, 5, "processors.2.source"),
    ("unknown-field", 16, 38, "processors.2.sourec"),
    ("unknown-field", 17, 11, "secrets.kee"),
]


def test_everything_is_found_at_once_where_it_stands(load: Load) -> None:
    problems = load(FAULTY)
    assert brief(problems) == FOUND
    helps = {problem.path: problem.help for problem in problems}
    assert helps["processors.1.processor"] == "Did you mean 'filter_entries'?"
    assert helps["processors.2.sourec"] == "Did you mean 'source'?"
    assert helps["outputs.logs"] == "Did you mean 'raw'?"
    assert helps["secrets.kee"] == "Did you mean 'key'?"
    # What is close is there already.
    assert helps["domian"] == "Take it away."
    assert {problem.document for problem in problems} == {"okta"}


def test_what_is_shown_of_a_line_is_no_credential(load: Load) -> None:
    problems = load(FAULTY)
    shown = {problem.path: (problem.quote, problem.caret, problem.width) for problem in problems}
    assert CANARY not in repr([str(problem) for problem in problems]) + repr(shown) + repr(problems)
    assert shown["domian"] == ("domian: ***", 0, 6)
    assert shown["frequency"] == ("frequency: often", 11, 5)
    assert shown["processors.0.filters.1"] == ('    filters: ["actor.type == \'bot\'", "actor["]', 37, 8)
    assert shown["secrets.kee"] == ("secrets: {kee: ***}", 10, 3)


@pytest.mark.parametrize("indent", [None, 2, "\t"], ids=["one line", "spaces", "tabs"])
def test_json_is_looked_through_in_the_same_way(load: Load, indent: Any) -> None:
    document = {
        "name": "okta \N{DEER}\u2028",
        "key": CANARY,
        "connector": "okta_sytem_log",
        "identity": "acme",
        "frequency": CANARY[:6],
    }
    text = json.dumps(document, indent=indent)
    problems = load(text, "a.json")
    assert [problem.path for problem in problems] == ["connector", "frequency"]
    for problem in problems:
        line = text.split("\n")[problem.line - 1]
        assert line[problem.column - 1 :].startswith(json.dumps(document[problem.path]))
        assert CANARY not in problem.quote
        if len(line) < 160:
            meant = problem.quote[problem.caret : problem.caret + problem.width]
            assert meant == json.dumps(document[problem.path])


@pytest.mark.parametrize(
    ("text", "place", "quote", "words"),
    [
        (f'{{"name": "a",\n  "key": "{CANARY}"\n  "identity": 1}}', (3, 3), '  "identity": ***}', "A comma is missing"),
        (f'{{"name": "a", "key": "{CANARY}",}}', (1, 37), None, "comma"),
        (f'{{"key": "{CANARY}}}', (1, 9), '{"key": ***', "quote that opens here"),
        (f'{{"key": "{CANARY}"}} {{"key": "{CANARY}"}}', (1, 24), '{"key": ***} {"key": ***}', "Several documents are"),
        (f"{{'key': '{CANARY}'}}", (1, 2), "{'key': ***}", "double quotes"),
        (f'{{"key": {CANARY}}}', (1, 9), '{"key": ***}', "double quotes"),
        (f'{{"key" "{CANARY}"}}', (1, 8), "{***}", "colon is missing"),
    ],
)
def test_broken_json_is_shown_without_values(
    load: Load, text: str, place: tuple[int, int], quote: str | None, words: str
) -> None:
    (problem,) = load(text, "a.json")
    assert (problem.code, problem.line, problem.column) == ("bad-json", *place) or quote is None
    assert problem.quote == quote or quote is None
    assert words in problem.help
    assert CANARY not in problem.quote + str(problem)


@pytest.mark.parametrize(
    ("text", "quote", "caret"),
    [
        (f"name: a\nkey: {CANARY}: x\n", "key: ***: ***", 8),
        (f"name: a\nkey: '{CANARY}\n", "key: ***", 5),
        (f"name: a\nkey: @{CANARY}\n", "key: ***", 5),
        (f"name: a\nkey: {CANARY}\n  token: x\n", "  ***: ***", 5),
        (f"key: {CANARY}\n {CANARY}: {CANARY} {CANARY}\n", " ***: ***", 4),
    ],
)
def test_broken_yaml_is_shown_without_values(load: Load, text: str, quote: str, caret: int) -> None:
    (problem,) = load(text)
    assert problem.code == "bad-yaml"
    assert (problem.quote, problem.caret) == (quote, caret)
    assert CANARY not in str(problem)


def test_a_credential_of_several_lines_is_not_shown(load: Load) -> None:
    text = f"name: a\nconnector: local_heartbeat\nidentity: one\nkey: |\n  -----\n  {CANARY}\ncuont: {{a: |\n"
    load(text)
    problems = load(f'name: a\nconnector: local_heartbeat\nidentity: {{x: "{CANARY}\n  {CANARY}", y: 1}}\n')
    assert [problem.quote for problem in problems] == ["identity: {x: ***"]


# --- whose fields they are ---


def test_a_field_that_nothing_uses_is_warned_about_and_no_obstacle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: a\nconnector: local_heartbeat\nidentity: one\ncuont: 1\n_note: x\n$schema: x\n")
    handler = Handler([path])
    for _ in range(2):
        assert [config.name for config in handler.get()] == ["a"]
        assert handler.problems == []
        assert [problem.path for problem in handler.warnings] == ["cuont"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert vars(record)["exception"] == f"{path}:4:1: Nothing uses the field 'cuont'. Did you mean 'count'?"
    assert vars(record)["code"] == "unknown-field"


def test_fields_of_a_connector_that_somebody_else_wrote_are_its_own(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Theirs(BaseConnector):
        CONNECTOR = "theirs"

        def credentials(self) -> None:
            raise AssertionError("it is no business of ours")

    real = plugin.load_class
    monkeypatch.setattr(plugin, "load_class", lambda name, group: Theirs if name == "theirs" else real(name, group))
    assert load("name: a\nconnector: theirs\nidentity: one\nanything: 1\nsecrets: {what: ever}\n") == []


def test_what_a_connector_of_somebody_else_declares_is_checked(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    class Theirs(BaseConnector):
        class Configuration(ConnectorConfig):
            region: Literal["eu", "us"]
            token: str = ""

            @model_validator(mode="after")
            def _has_token(self) -> "Theirs.Configuration":
                if not self.token:
                    raise ValueError("a token is needed")
                return self

    real = plugin.load_class
    monkeypatch.setattr(plugin, "load_class", lambda name, group: Theirs if name == "theirs" else real(name, group))
    text = "name: a\nconnector: theirs\nidentity: one\nregion: euu\nanything: 1\n"
    (problem,) = load(text)
    assert (problem.code, problem.line, problem.help) == ("wrong-value", 4, "Did you mean 'eu'?")
    (problem,) = load(text.replace("euu", "eu"))
    assert (problem.line, "a token is needed" in problem.message) == (1, True)
    # A check of the whole may wait for what is fetched.
    assert load(text.replace("euu", "eu") + "secrets: {token: x}\n") == []


def test_a_plugin_that_cannot_be_loaded_says_why(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, group: str) -> Any:
        raise plugin.ConfigurationException(f"The plugin {name!r} needs the package 'boto3'.")

    monkeypatch.setattr(plugin, "load_class", broken)
    (problem,) = load("name: a\nconnector: okta_users\nidentity: one\n")
    assert (problem.code, problem.place) == ("unusable-connector", "a.yaml:2:12")
    assert "boto3" in problem.message


def test_secrets_stand_for_fields_that_are_not_there_yet(load: Load) -> None:
    text = "name: a\nconnector: zoom_activities\nidentity: one\n"
    assert brief(load(text)) == [("missing-field", 1, 1, "client_id"), ("missing-credential", 2, 1, "connector")]
    assert load(f"{text}secrets: {{client_id: x, key: y}}\n") == []


def test_what_is_encoded_is_checked_as_it_will_be(load: Load) -> None:
    text = "name: a\nconnector: okta_users\nidentity: one\nkey: x\ndomain: b2t0YS5jb20=\nencoding: {domain: base64}\n"
    assert load(text) == []
    assert brief(load(text.replace("b2t0", "####"))) == [("bad-encoding", 6, 11, "encoding")]


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_a_field_that_is_there_twice_is_shown(load: Load, name: str) -> None:
    text = '{"name": "a", "connector": "local_heartbeat",\n "identity": "one", "identity": "two"}'
    assert brief(load(text, name)) == [("duplicate-field", 2, 21, "identity")]


def test_http_json_knows_its_declarations_and_its_templates(load: Load) -> None:
    text = """\
name: a
connector: http_json
identity: acme
key: canary-5a1e
url: https://user:canary-5a1e@example.com/{tenant}
tenant: x
tenent: y
auth: {type: header, value: "Bearer {key}", nmae: canary-5a1e}
paging: {type: token, path: "a[", param: cursor}
entires: items
pointer_path: at
order: newest
follow_up: {url: "https://example.com/{id}", path: "canary-5a1e["}
"""
    problems = load(text)
    assert brief(problems) == [
        ("unknown-field", 7, 1, "tenent"),
        ("unknown-field", 8, 45, "auth.nmae"),
        ("bad-jmespath", 9, 29, "paging.path"),
        ("unknown-field", 10, 1, "entires"),
        ("wrong-value", 12, 8, "order"),
        ("bad-jmespath", 13, 52, "follow_up.path"),
    ]
    assert CANARY not in "".join(problem.quote + str(problem) for problem in problems)
    assert load(re.sub("(tenent|entires|auth|paging|order|follow_up).*\n", "", text) + "order: newest_first\n") == []


def test_a_disabled_document_may_name_what_is_not_installed(load: Load) -> None:
    for yes in ("true", "'yes'", "1"):
        assert load(f"name: a\nconnector: not_yet\nidentity: one\ndisabled: {yes}\n") == []
    assert brief(load("name: a\nconnector: not_yet\nidentity: one\ndisabled: true\nfrequency: x\n")) == [
        ("wrong-type", 5, 12, "frequency")
    ]


def test_of_a_long_line_the_part_around_the_mark_is_shown(load: Load) -> None:
    document = {"name": "a", "connector": "local_heartbeat", "identity": "i" * 500, "count": "five", "key": "k" * 500}
    (problem,) = load(json.dumps(document), "a.json")
    assert len(problem.quote) == 160
    assert problem.quote[problem.caret : problem.caret + problem.width] == '"five"'
    assert "kkk" not in problem.quote


def test_problems_come_in_the_order_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(FAULTY)
    handler = Handler([path])
    handler.get()
    assert [problem.line for problem in handler.problems] == sorted(problem.line for problem in handler.problems)


def test_a_field_that_is_called_like_a_part_of_pydantic_is_placed(load: Load) -> None:
    text = "name: a\nconnector: local_heartbeat\nidentity: one\nschema: {a: 1}\ncopy: 1\n"
    assert brief(load(text)) == [("unknown-field", 4, 1, "schema"), ("unknown-field", 5, 1, "copy")]
