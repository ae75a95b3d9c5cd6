"""`grove connectors`: which sources there are, and what each of them needs, from the connectors themselves."""

from __future__ import annotations

import inspect
import json
import textwrap
from typing import Any

import click
from pydantic import BaseModel

from grove.cli._documents import complete_connectors
from grove.connectors import BaseConnector
from grove.connectors.http_json import Connector as HttpJson
from grove.connectors.rest import RestConnector, Source
from grove.constants import CHRONOLOGICAL, PLUGIN_GROUP_CONNECTOR
from grove.exceptions import ConfigurationException
from grove.helpers import plugin
from grove.models import ConnectorConfig

_WIDTH = 120


@click.group()
def connectors() -> None:
    """List the sources that can be collected, and show what each of them needs."""


@connectors.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON array.")
def list_connectors(as_json: bool) -> int:
    """List every connector that is installed."""
    found = summaries()
    if as_json:
        click.echo(json.dumps([{"name": name, "summary": summary} for name, summary in found], indent=2))
        return 0
    width = max((len(name) for name, _ in found), default=0)
    for name, summary in found:
        click.echo(f"{name:<{width}}  {textwrap.shorten(summary, max(_WIDTH - width - 2, 40), placeholder=' ...')}")
    return 0


@connectors.command()
@click.argument("name", shell_complete=complete_connectors)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
def show(name: str, as_json: bool) -> int:
    """Show what a connector collects and needs, and a configuration document to start from."""
    try:
        about = describe(name)
    except ConfigurationException as err:
        raise click.UsageError(str(err)) from err
    if as_json:
        click.echo(json.dumps(about, indent=2))
        return 0
    click.echo(f"{name}\n")
    click.echo(about["about"] + "\n")
    for title, value in about["facts"].items():
        click.echo(f"  {title:<14}{value}")
    click.echo(
        "\nFields of its own, beside those of every document:\n" if about["fields"] else "\nNo fields of its own."
    )
    _echo_fields(about["fields"], "  ")
    for part in about["parts"]:
        click.echo(f"\n{part['title']}\n")
        click.echo(textwrap.indent(part["about"], "  "))
        _echo_fields(part["fields"], "    ")
    click.echo("\nA document to start from:\n")
    click.echo(textwrap.indent(json.dumps(about["document"], indent=2), "  "))
    return 0


def _echo_fields(fields: list[dict[str, Any]], indent: str) -> None:
    for field in fields:
        click.echo(f"{indent}{field['name']}  ({_nature(field)})")
        if field["description"]:
            text = textwrap.fill(field["description"], _WIDTH - len(indent) - 4)
            click.echo(textwrap.indent(text, f"{indent}    "))


def summaries() -> list[tuple[str, str]]:
    """Every connector that is installed, by name, and in a sentence what it collects."""
    return [(name, _summary(name)) for name in sorted(plugin.available(PLUGIN_GROUP_CONNECTOR))]


def describe(name: str) -> dict[str, Any]:
    """What is to be said about the connector `name`, as JSON. ConfigurationException where there is none."""
    kind = plugin.load_class(name, PLUGIN_GROUP_CONNECTOR)
    paragraphs = [inspect.getdoc(kind) or ""]
    configuration = getattr(kind, "Configuration", ConnectorConfig)
    if "`identity`" not in paragraphs[0]:
        paragraphs.append(_about_identity(configuration))
    fields, parts = _fields(configuration), []
    if issubclass(kind, HttpJson):
        for documented in (inspect.getmodule(kind), Source):
            paragraphs.append((inspect.getdoc(documented) or "").partition("\n\n")[2])
        fields += _fields(Source)
        parts = [_part(field, part) for field, of in Source.PARTS.items() for part in of]
    return {
        "name": name,
        "about": "\n\n".join(filter(None, paragraphs)),
        "facts": _facts(kind),
        "fields": fields,
        "parts": parts,
        "document": _document(name, kind, fields),
    }


def _summary(name: str) -> str:
    try:
        kind = plugin.load_class(name, PLUGIN_GROUP_CONNECTOR)
    except ConfigurationException as err:
        return f"cannot be loaded: {err}"
    text = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".")


def _about_identity(configuration: type[BaseModel]) -> str:
    """What the fields of a vendor are: of the class, or the one it has in common with the vendor's other sources."""
    documented = (base for base in configuration.__mro__ if "`identity`" in (base.__doc__ or ""))
    return inspect.getdoc(next(documented, None)) or ""


def _facts(kind: type[BaseConnector]) -> dict[str, str]:
    facts = {"module": kind.__module__}
    if isinstance(kind.POINTER_PATH, str):
        facts["order"] = "oldest first" if kind.LOG_ORDER == CHRONOLOGICAL else "newest first"
        facts["pointer"] = kind.POINTER_PATH
    source = getattr(kind, "SOURCE", None)
    if isinstance(source, Source):
        facts["address"] = source.url
        if source.snapshot:
            facts["order"] = facts["pointer"] = "none: the whole list in every run"
        elif source.asks_since or source.trim:
            facts["first run"] = _span(source.first_run)
        if source.lookback:
            facts["lookback"] = _span(source.lookback)
        if source.pause:
            facts["pause"] = f"{_span(source.pause)} before each page but the first"
        if source.retention:
            facts["kept"] = f"{_span(source.retention)} by the vendor"
    if kind.EXTRA:
        facts["needs"] = f"pip install 'grove[{kind.EXTRA}]'"
    if kind.STREAM_FIELDS:
        facts["streams"] = f"told apart by identity, operation, {', '.join(kind.STREAM_FIELDS)}"
    return facts


def _fields(configuration: type[BaseModel]) -> list[dict[str, Any]]:
    common = ConnectorConfig.model_fields if issubclass(configuration, ConnectorConfig) else {}
    properties = configuration.model_json_schema().get("properties", {})
    found = []
    for name, field in configuration.model_fields.items():
        if name in common and repr(field) == repr(common[name]):
            continue
        schema = properties.get(field.alias or name, {})
        found.append(
            {
                # As it is called in a document, where that is no name for an attribute.
                "name": name.removesuffix("_"),
                "required": field.is_required(),
                "default": None if field.is_required() else _plain(field.get_default(call_default_factory=True)),
                "description": field.description or "",
                "schema": {key: part for key, part in schema.items() if key not in ("title", "description", "default")},
            }
        )
    return found


def _part(field: str, kind: type[BaseModel]) -> dict[str, Any]:
    """One of the things that a field with fields of its own may be."""
    named = kind.model_fields.get("type")
    title = f"`{field}`" if named is None else f"`{field}` of type `{named.default}`"
    fields = [one for one in _fields(kind) if one["name"] != "type"]
    return {"title": title, "about": inspect.getdoc(kind) or "", "fields": fields}


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


def _nature(field: dict[str, Any]) -> str:
    schema = field["schema"]
    kind = _kind(schema)
    return f"{kind}, required" if field["required"] else f"{kind}, default {json.dumps(field['default'])}"


def _kind(schema: dict[str, Any]) -> str:
    """Which values a JSON schema allows; null is said by the default."""
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_kind(part) for part in schema["anyOf"] if part.get("type") != "null")
    if schema.get("type") == "array" and schema.get("items"):
        return f"list of {_kind(schema['items'])}"
    return str(schema.get("type", "object" if schema.keys() & {"$ref", "oneOf"} else "any"))


def _document(name: str, kind: type[BaseConnector], fields: list[dict[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {"name": name.replace("_", "-"), "connector": name, "identity": "..."}
    source = getattr(kind, "SOURCE", None)
    signs_in = issubclass(kind, RestConnector) and kind._credentials is not RestConnector._credentials
    if not issubclass(kind, RestConnector) or source is None or source.auth or signs_in:
        document["key"] = "..."
    for field in fields:
        if field["required"]:
            # What a value may be is said above; the first of several is as good as any.
            document[field["name"]] = (field["schema"].get("enum") or ["..."])[0]
    return document


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return "1 day" if seconds == 86_400 else f"{seconds:g} s"
