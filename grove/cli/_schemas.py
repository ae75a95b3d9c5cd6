"""What documents may say, as JSON Schema for editors, from the classes that read them.

Draft-07, which is what editors know best: https://json-schema.org/draft-07/json-schema-validation
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel

from grove.configs import declarations, is_built_in
from grove.constants import PLUGIN_GROUP_CONNECTOR, PLUGIN_GROUP_PROCESSOR
from grove.exceptions import ConfigurationException
from grove.helpers import plugin
from grove.models import ConnectorConfig, ProcessorConfig

__all__ = ["for_all", "for_connector"]

_DRAFT = "http://json-schema.org/draft-07/schema#"
_COMMON = frozenset(ConnectorConfig.model_fields)
_ALWAYS = tuple(name for name, field in ConnectorConfig.model_fields.items() if field.is_required())
# What pydantic says for other readers.
_LEFT_OUT = frozenset({"discriminator", "title"})

Schema = dict[str, Any]


def for_connector(name: str) -> Schema:
    """The schema of a file with documents of the connector `name`. ConfigurationException where there is none."""
    definitions: dict[str, Schema] = {}
    definitions["document"] = _document(name, definitions)
    return _file(f"Grove: {name}", definitions)


def for_all() -> Schema:
    """The schema of a file with documents of any connector that is installed."""
    definitions: dict[str, Schema] = {}
    branches = []
    for name in sorted(plugin.available(PLUGIN_GROUP_CONNECTOR)):
        try:
            definitions[name] = _document(name, definitions)
        except ConfigurationException:
            # An extra is missing: then it can be named, and what it needs is not known.
            definitions[name] = {}
        branches.append(
            {
                "if": {"properties": {"connector": {"const": name}}, "required": ["connector"]},
                "then": {"$ref": f"#/definitions/{name}"},
            }
        )
    names = sorted(definitions.keys() & plugin.available(PLUGIN_GROUP_CONNECTOR).keys())
    definitions["document"] = {
        "type": "object",
        "properties": {"connector": {"enum": names, "description": _description("connector")}},
        "required": ["connector"],
        "allOf": branches,
    }
    return _file("Grove", definitions)


def _file(title: str, definitions: dict[str, Schema]) -> Schema:
    one = {"$ref": "#/definitions/document"}
    return {
        "$schema": _DRAFT,
        "title": title,
        "if": {"type": "array"},
        "then": {"items": one, "minItems": 1},
        "else": one,
        "definitions": definitions,
    }


def _document(name: str, definitions: dict[str, Schema]) -> Schema:
    """The schema of one document of the connector `name`; what it refers to is added to `definitions`."""
    kind = plugin.load_class(name, PLUGIN_GROUP_CONNECTOR)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for model in reversed(declarations(kind)):
        schema = _model(model, name, definitions)
        properties |= schema.get("properties", {})
        required += schema.get("required", [])
    properties = {_as_written(field): part for field, part in properties.items()}
    properties["connector"] = {"const": name, "description": _description("connector")}
    properties["$schema"] = {"type": "string"}
    properties["processors"] = {**properties["processors"], "items": _processors(definitions)}
    is_closed = is_built_in(kind) and not hasattr(kind, "template_names")
    if is_built_in(kind):
        fields = sorted(field for field in properties if field not in _COMMON | {"$schema"} or field == "key")
        names = {"enum": fields} if is_closed else {}
        properties["secrets"] = {**properties["secrets"], "propertyNames": names}
    # What is fetched from a secret store need not stand in the document.
    later = [_here_or_secret(_as_written(field)) for field in required if field not in _ALWAYS]
    return {
        "type": "object",
        "description": inspect.getdoc(kind) or "",
        "properties": properties,
        "patternProperties": {"^_": {}},
        "additionalProperties": not is_closed,
        "required": list(_ALWAYS),
        **({"allOf": later} if later else {}),
    }


def _here_or_secret(field: str) -> Schema:
    secret = {"properties": {"secrets": {"required": [field]}}, "required": ["secrets"]}
    return {"anyOf": [{"required": [field]}, secret]}


def _processors(definitions: dict[str, Schema]) -> Schema:
    """The schema of one processor of a document: by the name of its plugin."""
    names = sorted(plugin.available(PLUGIN_GROUP_PROCESSOR))
    branches = []
    for name in names:
        try:
            model = getattr(plugin.load_class(name, PLUGIN_GROUP_PROCESSOR), "Configuration", None)
        except ConfigurationException:
            continue
        if not (isinstance(model, type) and issubclass(model, ProcessorConfig)):
            continue
        place = f"processor {name}"
        if place not in definitions:
            definitions[place] = _model(model, place, definitions)
        branches.append(
            {
                "if": {"properties": {"processor": {"const": name}}, "required": ["processor"]},
                "then": {"$ref": f"#/definitions/{_escaped(place)}"},
            }
        )
    return {
        "type": "object",
        "properties": {"processor": {"enum": names}},
        "required": ["name", "processor"],
        "allOf": branches,
    }


def _model(model: type[BaseModel], owner: str, definitions: dict[str, Schema]) -> Schema:
    """The schema of `model`, without definitions of its own: those go to `definitions`, named after their `owner`."""
    schema = model.model_json_schema(ref_template=f"#/definitions/{_escaped(owner)} {{model}}")
    for name, part in schema.pop("$defs", {}).items():
        # Processors are told apart by their plugin.
        if name != ProcessorConfig.__name__:
            definitions[f"{owner} {name}"] = _draft_07(part)
    made: Schema = _draft_07(schema)
    if issubclass(model, ConnectorConfig):
        # A number is taken for a text, as YAML has no quotes for most.
        made["properties"] = {name: _or_number(part) for name, part in made["properties"].items()}
    return made


def _or_number(part: Schema) -> Schema:
    is_text = part.get("type") == "string" and "enum" not in part
    return {**part, "type": ["string", "number"]} if is_text else part


def _draft_07(schema: Any, *, names: bool = False) -> Any:
    """`schema` as of draft 2020-12 in the words of draft-07; with `names`, the keys are names of fields."""
    if isinstance(schema, list):
        return [_draft_07(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {}
    for key, part in schema.items():
        if names or key not in _LEFT_OUT:
            # In draft-07, a list's first items are a list of schemas.
            word = "items" if key == "prefixItems" and not names else key
            made[word] = part if key in ("default", "enum", "const") else _draft_07(part, names=key == "properties")
    return made


def _as_written(field: str) -> str:
    # `schema` is kept as `schema_`.
    return field.removesuffix("_")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1").replace(" ", "%20")


def _description(field: str) -> str:
    return ConnectorConfig.model_fields[field].description or ""
