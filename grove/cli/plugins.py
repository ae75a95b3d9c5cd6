"""`grove plugins`: every plugin that is installed, and the settings that its class declares."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from grove.cli._terminal import json_option, print_json, styled, table
from grove.constants import (
    PLUGIN_GROUP_CACHE,
    PLUGIN_GROUP_CONFIG,
    PLUGIN_GROUP_CONNECTOR,
    PLUGIN_GROUP_OUTPUT,
    PLUGIN_GROUP_PROCESSOR,
    PLUGIN_GROUP_SECRET,
)
from grove.exceptions import ConfigurationException
from grove.helpers import plugin
from grove.models import ConnectorConfig, ProcessorConfig

_GROUPS = {
    group.removeprefix("grove."): group
    for group in (
        PLUGIN_GROUP_OUTPUT,
        PLUGIN_GROUP_CACHE,
        PLUGIN_GROUP_CONFIG,
        PLUGIN_GROUP_SECRET,
        PLUGIN_GROUP_PROCESSOR,
        PLUGIN_GROUP_CONNECTOR,
        "grove.entrypoints",
    )
}
_WIDTH = 120


@click.command()
@click.argument("group", required=False, type=click.Choice(list(_GROUPS)))
@click.argument("name", required=False)
@json_option
def plugins(group: str | None, name: str | None, as_json: bool) -> int:
    """List every plugin that is installed, with its settings: of one GROUP, or the one of it that is called NAME.

    Settings are variables of the environment; the fields of processors and connectors belong into documents.
    """
    found = [about for each in ([group] if group else _GROUPS) for about in described(_GROUPS[each])]
    if name is not None:
        found = [about for about in found if about["name"] == name]
        if not found:
            _refuse(name, group)
    if as_json:
        print_json({"plugins": found})
        return 0
    shown = None
    for about in found:
        if about["group"] != shown:
            shown = about["group"]
            click.echo(styled(shown, bold=True) if about is found[0] else "\n" + styled(shown, bold=True))
        _show(about)
    return 0


def _refuse(name: str, group: str | None) -> None:
    try:
        plugin.lookup_handler(name, _GROUPS[group or "outputs"])
    except ConfigurationException as err:
        raise click.UsageError(str(err)) from err


# --- from the classes themselves ---


def described(group: str) -> Iterator[dict[str, Any]]:
    """What there is to say of each plugin of `group`, in the order of their names."""
    used = plugin.available(group)
    for found in sorted(entry_points(group=group), key=lambda each: each.name):
        yield _about(found, group, used=found == used[found.name])


def _about(found: EntryPoint, group: str, *, used: bool) -> dict[str, Any]:
    distribution = found.dist
    about: dict[str, Any] = {
        "group": group,
        "name": found.name,
        "value": found.value,
        "distribution": distribution.name if distribution else None,
        "version": distribution.version if distribution else None,
        "used": used,
        "summary": "",
        "extra": None,
        "settings": [],
        "fields": [],
        "error": None,
    }
    if not used:
        return {**about, "error": "another distribution offers a plugin of this name, and that one is used"}
    try:
        kind = plugin.load_class(found.name, group)
        about |= {
            "summary": " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split()),
            "extra": getattr(kind, "EXTRA", None),
            "settings": [_setting(settings, name) for settings in _settings(kind) for name in settings.model_fields],
            "fields": list(_fields(getattr(kind, "Configuration", None))),
        }
    except ConfigurationException as err:
        about["error"] = str(err)
    except Exception as err:
        # What somebody's class does when it is asked for its fields must not hide the other plugins.
        about["error"] = f"its settings cannot be read: {type(err).__name__}: {err}"
    return about


def _settings(kind: Any) -> list[type[BaseSettings]]:
    """Where a handler declares its settings: its own `Configuration`, or the models that its module makes for it."""
    own = getattr(kind, "Configuration", None)
    if inspect.isclass(own):
        return [own] if issubclass(own, BaseSettings) else []
    return [
        found
        for name, found in vars(inspect.getmodule(kind)).items()
        if inspect.isclass(found)
        and issubclass(found, BaseSettings)
        and (name == "Configuration" or found.__module__ == kind.__module__)
    ]


def _setting(settings: type[BaseSettings], name: str) -> dict[str, Any]:
    field = settings.model_fields[name]
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    prefix = str(settings.model_config.get("env_prefix", ""))
    return _declared(field, (alias if isinstance(alias, str) else f"{prefix}{name}").upper())


def _fields(kind: Any) -> Iterator[dict[str, Any]]:
    """The fields of a document, or of a processor in one, that only this plugin knows."""
    if not inspect.isclass(kind) or not issubclass(kind, ConnectorConfig | ProcessorConfig):
        return
    common = ConnectorConfig if issubclass(kind, ConnectorConfig) else ProcessorConfig
    for name, field in kind.model_fields.items():
        if repr(field) != repr(common.model_fields.get(name)):
            yield _declared(field, field.alias or name)


def _declared(field: FieldInfo, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "required": field.is_required(),
        "default": _plain(field.get_default(call_default_factory=True)),
        "description": field.description or "",
    }


def _plain(value: Any) -> Any:
    """A default as JSON has it. None where there is none, or an empty one."""
    if value is PydanticUndefined or not str(value):
        return None
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return str(value)
    return value


# --- for people ---


def _show(about: dict[str, Any]) -> None:
    notes = []
    if not about["value"].startswith("grove.") or about["distribution"] != "grove":
        notes.append(f"from {about['distribution']} {about['version']}")
    if about["extra"]:
        notes.append(f"pip install 'grove[{about['extra']}]'")
    name = styled(about["name"], fg="red" if about["error"] else None)
    click.echo(f"  {name}" + (f"  ({'; '.join(notes)})" if notes else ""))
    text = f"cannot be used: {about['error']}" if about["error"] else about["summary"]
    if text:
        click.echo(textwrap.indent(textwrap.fill(text, _WIDTH - 6), "      "))
    declared = about["settings"] if about["group"] == PLUGIN_GROUP_CONNECTOR else about["settings"] + about["fields"]
    if declared:
        rows = [[each["name"], _default(each), each["description"]] for each in declared]
        click.echo(textwrap.indent("\n".join(table(["", "", ""], rows)[1:]), "      "))


def _default(declared: dict[str, Any]) -> str:
    if declared["required"]:
        return "required"
    default = declared["default"]
    return "none" if default is None else default if isinstance(default, str) else json.dumps(default)
