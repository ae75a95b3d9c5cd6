"""`grove schema`: what an editor is told is what the documents' readers think."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft7Validator

from grove.cli import _schemas
from grove.cli.connectors import describe
from grove.cli.schema import schema
from grove.configs.local_file import Handler
from grove.constants import PLUGIN_GROUP_CONNECTOR
from grove.helpers import plugin

BUILT_IN = sorted(
    name for name, found in plugin.available(PLUGIN_GROUP_CONNECTOR).items() if found.value.startswith("grove.")
)
ALL = Draft7Validator(_schemas.for_all())

OKTA: dict[str, Any] = {
    "$schema": "./okta.json",
    "_note": "anything",
    "name": "a",
    "connector": "okta_system_log",
    "identity": 5,
    "secrets": {"key": "x"},
    "frequency": 60,
    "processors": [{"name": "p", "processor": "filter_entries", "filters": ["a"], "on_error": "fail"}],
    "outputs": {"logs": "raw"},
}


def complaints(document: Any, validator: Draft7Validator = ALL) -> list[str]:
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_connector_has_a_schema_that_takes_its_own_example(name: str) -> None:
    found = _schemas.for_connector(name)
    Draft7Validator.check_schema(found)
    example = describe(name)["document"]
    # What an example leaves open is of no form yet.
    open_fields = {field for field, value in example.items() if value == "..."}
    for validator in (Draft7Validator(found), ALL):
        left = [
            error
            for error in validator.iter_errors(example)
            if not {str(part) for part in error.absolute_path} & open_fields
        ]
        assert left == []
        assert complaints({**example, "connector": "another"}, validator) != []
        assert complaints({key: value for key, value in example.items() if key != "identity"}, validator) != []


def test_the_schema_of_all_is_one() -> None:
    Draft7Validator.check_schema(_schemas.for_all())
    references = set(re.findall(r'"#/definitions/([^"]+)"', json.dumps(ALL.schema)))
    assert {reference.replace("%20", " ") for reference in references} == set(ALL.schema["definitions"])


MISTAKES: list[dict[str, Any]] = [
    {"feilds": 1},
    {"connector": "okta_sytem_log"},
    {"frequency": "often"},
    {"domain": "no domain"},
    {"outputs": {"logs": "rwa"}},
    {"secrets": {"kee": "x"}},
    {"processors": [{"name": "p", "processor": "filter_entries", "filterz": ["a"]}]},
    {"processors": [{"name": "p", "processor": "filter_entris", "filters": ["a"]}]},
    {"expect": {"newest": 5}},
]


@pytest.mark.parametrize("change", MISTAKES, ids=lambda change: next(iter(change)))
def test_editor_and_grove_agree(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "a.json"
    for document, is_right in ((OKTA, True), ({**OKTA, **change}, False)):
        path.write_text(json.dumps(document))
        handler = Handler([path])
        handler.get()
        assert (handler.problems + handler.warnings == []) == is_right
        assert (complaints(document) == []) == is_right
        assert (complaints([document, OKTA]) == []) == is_right


def test_a_required_field_may_come_from_a_secret_store() -> None:
    zoom = {"name": "a", "connector": "zoom_activities", "identity": "x", "key": "y"}
    assert complaints(zoom) != []
    assert complaints({**zoom, "client_id": "z"}) == []
    assert complaints({**zoom, "secrets": {"client_id": "z"}}) == []


def test_http_json_may_have_fields_of_its_own() -> None:
    document = {
        "name": "a",
        "connector": "http_json",
        "identity": "x",
        "url": "https://example.com/{tenant}",
        "tenant": "y",
        "auth": {"type": "header", "value": "Bearer {key}"},
        "paging": {"type": "token", "path": "next", "param": "cursor"},
        "pointer_path": "at",
        "order": "newest_first",
    }
    assert complaints(document) == []
    assert complaints({**document, "paging": {"type": "tokne"}}) != []
    assert complaints({**document, "order": "newest"}) != []


def test_every_field_says_what_it_is_for() -> None:
    properties = _schemas.for_connector("okta_system_log")["definitions"]["document"]["properties"]
    assert [name for name, part in properties.items() if not part.get("description")] == ["$schema"]


def test_the_command_prints_one_of_them_or_all() -> None:
    runner = CliRunner()
    one = runner.invoke(schema, ["--connector", "okta_users"], standalone_mode=False)
    assert json.loads(one.output) == _schemas.for_connector("okta_users")
    assert json.loads(runner.invoke(schema, [], standalone_mode=False).output) == ALL.schema
    wrong = runner.invoke(schema, ["--connector", "okta_user"])
    assert (wrong.exit_code, "Did you mean 'okta_users'" in wrong.output) == (2, True)
