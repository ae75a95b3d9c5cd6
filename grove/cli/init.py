"""`grove init`: a first document of a source, with what is known of it, and the way on from there."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from grove.cli._documents import complete_connectors, did_you_mean

_FORMATS = ("yaml", "json")
_SCHEMAS, _SECRETS = ".schema", ".secrets"
_DEFAULT_DIRECTORY = "conf"
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WIDTH = 100


@click.command(epilog="Exit codes: 0 the document is there; 2 wrong usage, or there is such a document already.")
@click.argument("source", required=False, shell_complete=complete_connectors)
@click.option("--name", help="What to call the stream. [default: that of the source]")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Where documents lie. [default: $GROVE_CONFIG_LOCAL_FILE_PATH, or {_DEFAULT_DIRECTORY}]",
)
@click.option("--identity", help="Whose logs, as the source wants it.")
@click.option(
    "--set",
    "given",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Another field of the document, as YAML or JSON has it.",
)
@click.option("--format", "style", type=click.Choice(_FORMATS), default="yaml", show_default=True)
def init(
    source: str | None,
    name: str | None,
    directory: Path | None,
    identity: str | None,
    given: tuple[str, ...],
    style: str,
) -> int:
    """Write a first document that collects SOURCE, and say what is left to do.

    It holds no credential, only where one is to be put. What is there already is never written over.
    """
    source = source or _asked()
    if source is None:
        return 2
    name = name or source.replace("_", "-")
    if not _FILE_NAME.fullmatch(name):
        raise click.UsageError(f"{name!r} cannot be the name of a file; use letters, digits, dots and dashes.")
    folder = directory or Path(os.environ.get("GROVE_CONFIG_LOCAL_FILE_PATH") or _DEFAULT_DIRECTORY)
    draft = _draft(source, name, {**({"identity": identity} if identity else {}), **_values(given)})
    path = folder / f"{name}.{style}"
    existing = [folder / f"{name}{ending}" for ending in (".yaml", ".yml", ".json")]
    for other in existing:
        if other.exists():
            raise click.UsageError(f"{other} is there already. Give this one another --name.")
    try:
        _write(draft, path, style)
    except OSError as err:
        raise click.UsageError(f"{err.filename or path} cannot be written: {err.strerror}.") from err
    _say_what_is_left(draft, path)
    return 0


def _asked() -> str | None:
    """The source that a person at a terminal chooses; elsewhere, a list of them, and None."""
    from grove.cli.connectors import summaries

    found = dict(summaries())
    is_asking = sys.stdin.isatty() and sys.stdout.isatty()
    width = max(map(len, found))
    for name, summary in found.items():
        click.echo(
            f"{name:<{width}}  {textwrap.shorten(summary, _WIDTH - width, placeholder=' ...')}", err=not is_asking
        )
    if not is_asking:
        click.echo("\nName one of these: grove init SOURCE", err=True)
        return None

    def known(text: str) -> str:
        if text not in found:
            raise click.BadParameter(f"There is no source {text!r}.{did_you_mean(text, found)}")
        return text

    chosen: str = click.prompt("\nWhich source", value_proc=known)
    return chosen


def _values(given: tuple[str, ...]) -> dict[str, Any]:
    from grove.configs import parse_value

    values = {}
    for part in given:
        name, separator, text = part.partition("=")
        if not separator or not name:
            raise click.UsageError(f"--set {part!r} is not of the form FIELD=VALUE.")
        try:
            values[name] = parse_value(text)
        except ValueError as err:
            raise click.UsageError(f"--set {name}: {err}.") from err
    return values


# --- what a document of the source needs ---


@dataclass(frozen=True, slots=True)
class _Draft:
    """A document in the making: `values` are there, `open` fields are to be filled in, `secrets` to be put away."""

    source: str
    name: str
    about: str
    identity: str
    values: dict[str, Any]
    open: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    optional: dict[str, tuple[Any, str]] = field(default_factory=dict)


def _draft(source: str, name: str, given: dict[str, Any]) -> _Draft:
    """click.UsageError where there is no such source, or where a credential is given."""
    from grove.cli.connectors import describe
    from grove.constants import PLUGIN_GROUP_CONNECTOR
    from grove.exceptions import ConfigurationException
    from grove.helpers import plugin
    from grove.models import ConnectorConfig, is_credential

    try:
        about = describe(source)
        kind = plugin.load_class(source, PLUGIN_GROUP_CONNECTOR)
    except ConfigurationException as err:
        raise click.UsageError(str(err)) from err
    descriptions = {part["name"]: part["description"] for part in about["fields"]}
    identity = _about_identity(about["about"]) or descriptions.get("identity") or ""
    signs_in = _signs_in_with(kind, given, identity, {*descriptions, "key"})
    required = [part["name"] for part in about["fields"] if part["required"]]
    credentials = {name for name in (*signs_in, *required) if is_credential(name)}
    for name_given in given:
        if name_given in ("name", "connector", "secrets"):
            raise click.UsageError(f"--set {name_given}: it has a place of its own: see `grove init --help`.")
        if is_credential(name_given):
            raise click.UsageError(f"--set {name_given}: a credential on a command line can be seen by others.")
    needed = ["identity", *sorted(signs_in - credentials), *required]
    common = ConnectorConfig.model_fields
    optional = {
        part["name"]: (part["default"], part["description"])
        for part in about["fields"]
        if part["default"] is not None and part["name"] not in (*credentials, *needed)
    }
    for every in ("operation", "frequency", "lookback", "processors", "outputs"):
        if every not in descriptions:
            default = common[every].get_default(call_default_factory=True)
            optional[every] = (default, common[every].description or "")
    return _Draft(
        source=source,
        name=name,
        about=about["about"].split("\n\n")[0],
        identity=_about_identity(about["about"])
        or descriptions.get("identity")
        or common["identity"].description
        or "",
        values=given,
        open={name: descriptions.get(name, "") for name in dict.fromkeys(needed) if name not in {*given, *credentials}},
        secrets={secret: _locator(name, secret) for secret in sorted(credentials)},
        optional={name: part for name, part in optional.items() if name not in given},
    )


def _signs_in_with(kind: Any, given: dict[str, Any], identity: str, fields: set[str]) -> set[str]:
    """The fields that hold what the connector signs in with: of the first way, where there are several.

    Where the class does not declare them, they are those that it speaks of first where it says what `identity` is.
    """
    from grove.configs import is_built_in

    if not is_built_in(kind):
        return {"key"}
    for names in kind.credentials(given) if hasattr(kind, "credentials") else ():
        return set(names) & fields
    mentioned = (set(re.findall(r"`(\w+)`", sentence)) & fields - {"identity"} for sentence in _sentences(identity))
    return next(filter(None, mentioned), set())


def _about_identity(about: str) -> str:
    """What the connector says of `identity` and `key`, in one paragraph."""
    return " ".join(sentence for sentence in _sentences(about) if "`identity`" in sentence or "`key`" in sentence)


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", " ".join(text.split()))


def _locator(name: str, secret: str) -> str:
    """Where the secret store that is set, or files, would have a secret."""
    store = os.environ.get("GROVE_SECRET_HANDLER") or "local_file"
    if store == "environment":
        return re.sub(r"[^A-Z0-9]", "_", f"{name}_{secret}".upper())
    return f"{name}.{secret}"


# --- writing it ---


def _write(draft: _Draft, path: Path, style: str) -> None:
    from grove.cli import _schemas

    schemas = path.parent / _SCHEMAS
    schemas.mkdir(parents=True, exist_ok=True)
    schema = schemas / f"{draft.source}.json"
    schema.write_text(json.dumps(_schemas.for_connector(draft.source), indent=2) + "\n", encoding="utf-8")
    secrets = path.parent / _SECRETS
    if draft.secrets and _secret_folder(path) == secrets:
        secrets.mkdir(mode=0o700, exist_ok=True)
        ignore = secrets / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# Credentials are no part of a repository.\n*\n", encoding="utf-8")
    text = _yaml(draft) if style == "yaml" else _json(draft)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


def _json(draft: _Draft) -> str:
    document = {
        "$schema": f"{_SCHEMAS}/{draft.source}.json",
        "name": draft.name,
        "connector": draft.source,
        **{name: draft.values.get(name) for name in ("identity", *draft.open, *draft.values)},
        **({"secrets": draft.secrets} if draft.secrets else {}),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _yaml(draft: _Draft) -> str:
    lines = [f"# yaml-language-server: $schema={_SCHEMAS}/{draft.source}.json", "#", *_comment(draft.about), "#"]
    lines += [f"# More: grove connectors show {draft.source}", ""]
    lines += [f"name: {_value(draft.name)}", f"connector: {draft.source}", "", *_comment(draft.identity)]
    for name in dict.fromkeys(("identity", *draft.open, *draft.values)):
        description = draft.open.get(name, "")
        if name != "identity":
            lines += ["", *_comment(description)] if description else [""]
        lines.append(f"{name}: {_value(draft.values[name])}" if name in draft.values else f"{name}:")
    if draft.secrets:
        lines += ["", *_comment(_where_secrets_are())]
        lines += ["secrets:", *(f"  {name}: {_value(locator)}" for name, locator in draft.secrets.items())]
    lines += ["", "# What follows is as it is without being said."]
    for name, (default, description) in draft.optional.items():
        lines += ["", *_comment(description), f"# {name}: {_value(default)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _value(value: Any) -> str:
    """As JSON, which is YAML too; a plain text without quotes."""
    is_plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value)
    if is_plain and value.lower() not in ("true", "false", "null"):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _secret_folder(path: Path) -> Path | None:
    """Where the credentials of the document at `path` lie; None where they are in no file."""
    if (os.environ.get("GROVE_SECRET_HANDLER") or "local_file") != "local_file":
        return None
    return Path(os.environ.get("GROVE_SECRET_LOCAL_FILE_PATH_PREFIX") or path.parent / _SECRETS)


def _where_secrets_are() -> str:
    store = os.environ.get("GROVE_SECRET_HANDLER") or "local_file"
    if store == "local_file":
        return f"Fetched for each run from a file, in {_SECRETS} if nothing else is set: git leaves that out."
    return f"Fetched for each run from {store}: say here where it is there."


# --- the way on ---


def _say_what_is_left(draft: _Draft, path: Path) -> None:
    click.echo(f"Wrote {path}.")
    steps = []
    if draft.open:
        fields = ", ".join(f"`{name}`" for name in draft.open)
        explained = textwrap.indent(textwrap.fill(draft.identity, _WIDTH), "     ") if "identity" in draft.open else ""
        steps.append(f"Fill in {fields} there.\n{explained}".rstrip())
    wanted = {"GROVE_CONFIG_LOCAL_FILE_PATH": str(path.parent)}
    folder = _secret_folder(path)
    if draft.secrets and folder is None:
        steps.append(f"Put {', '.join(f'`{name}`' for name in draft.secrets)} where `secrets` says.")
    elif draft.secrets and folder is not None:
        for name, locator in draft.secrets.items():
            command = f"install -m 600 /dev/stdin {shlex.quote(str(folder / locator))}"
            steps.append(f"Put `{name}` into a file: type this, paste it, then Enter and Ctrl-D.\n\n     {command}")
        wanted |= {"GROVE_SECRET_HANDLER": "local_file", "GROVE_SECRET_LOCAL_FILE_PATH_PREFIX": str(folder)}
    missing = [f"export {name}={shlex.quote(value)}" for name, value in wanted.items() if os.environ.get(name) != value]
    commands = "\n".join(f"     {line}" for line in [*missing, "grove validate"])
    steps.append(f"See whether all is right:\n\n{commands}")
    for number, step in enumerate(steps, 1):
        click.echo(f"\n  {number}. {step}")
