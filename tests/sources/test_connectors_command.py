"""`grove connectors` says what every source is and needs, and says it from the connectors themselves."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from grove.cli.connectors import connectors, describe
from grove.connectors.http_json import Connector as HttpJson
from grove.connectors.rest import Source
from grove.constants import PLUGIN_GROUP_CONNECTOR
from grove.helpers import plugin
from grove.models import ConnectorConfig

NAMES = sorted(
    name for name, found in plugin.available(PLUGIN_GROUP_CONNECTOR).items() if found.value.startswith("grove.")
)


def run(*arguments: str, expected: int = 0) -> str:
    result = CliRunner().invoke(connectors, arguments, standalone_mode=True)
    assert result.exit_code == expected or result.return_value == expected, result.output
    return result.output


def test_every_connector_is_listed_with_a_sentence() -> None:
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(len(line.split()) > 3 and len(line) <= 120 for line in lines)
    assert [item["name"] for item in json.loads(run("list", "--json"))] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_a_source_needs_is_said(name: str) -> None:
    about = describe(name)
    kind = plugin.load_class(name, PLUGIN_GROUP_CONNECTOR)
    # ZITADEL's says where its entries have always been delivered to.
    assert {"zitadel_events": "zitadel_events_aggregate_user"}.get(name, name) == kind.CONNECTOR
    assert [
        field["name"] for field in about["fields"] if not field["description"] and field["name"] != "operation"
    ] == []
    if isinstance(getattr(kind, "SOURCE", None), Source):
        assert "`identity`" in about["about"], "nobody can guess what an identity is"
        assert "`key`" in about["about"]
    shown = run("show", name)
    assert "\n\n\n" not in shown
    for field in about["fields"]:
        assert f"  {field['name']}  (" in shown
    assert json.loads(run("show", name, "--json")) == json.loads(json.dumps(about))


@pytest.mark.parametrize("name", NAMES)
def test_whose_logs_they_are_tells_streams_apart(name: str) -> None:
    kind = plugin.load_class(name, PLUGIN_GROUP_CONNECTOR)
    wheres = {"fqdn", "domain", "subdomain", "scope", "object_type", "account", "table_name"}
    assert {field["name"] for field in describe(name)["fields"]} & wheres <= set(kind.STREAM_FIELDS)


@pytest.mark.parametrize("name", NAMES)
def test_what_has_to_be_installed_for_it_is_said(name: str) -> None:
    vendor = name.partition("_")[0]
    extra = {"gsuite": "google", "google": "google", "snowflake": "snowflake"}.get(vendor)
    assert describe(name)["facts"].get("needs") == (f"pip install 'grove[{extra}]'" if extra else None)


@pytest.mark.parametrize("name", NAMES)
def test_the_document_to_start_from_is_one(name: str) -> None:
    document = describe(name)["document"]
    config = ConnectorConfig(**document)
    assert config.connector == name


def test_the_fields_of_http_json_are_those_of_a_source() -> None:
    fields = {field["name"] for field in describe("http_json")["fields"]}
    assert Source.model_fields.keys() | {"pointer_path", "order"} == fields
    assert '"paging": {"type": "token"' in describe("http_json")["about"]
    assert issubclass(plugin.load_class("http_json", PLUGIN_GROUP_CONNECTOR), HttpJson)


def test_a_name_that_is_wrong() -> None:
    assert "Did you mean 'okta_system_log'" in run("show", "okta_systemlog", expected=2)
