"""`grove validate`: everything that is wrong with the configuration, before anything is collected."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from grove.cli._terminal import json_option, print_json, quietly

if TYPE_CHECKING:
    from grove.configs import Problem
    from grove.models import ConnectorConfig
    from grove.runtime import Settings

_FORMATS = ("text", "json", "github")
# Seconds that an output has to answer.
_PATIENCE = 5.0


@click.command(
    epilog="Exit codes: 0 nothing is wrong; 2 wrong usage; 78 something is. What a run only warns about, such as a "
    "field that nothing uses, is wrong here."
)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--offline", is_flag=True, help="Ask neither the secret store nor the output nor the cache.")
@click.option(
    "--format", "style", type=click.Choice(_FORMATS), default="text", show_default=True, help="How problems are shown."
)
@json_option
@click.pass_context
def validate(ctx: click.Context, paths: tuple[Path, ...], offline: bool, style: str, as_json: bool) -> int:
    """Say everything that is wrong with the configuration, and where.

    PATH is a document or a directory of them; without one, it is the configuration that `grove` runs. First come the
    documents themselves, then the plugins that they and the settings name, with every expression, and last whether
    secrets can be fetched, the output reached and the cache written to.
    """
    quietly(ctx)
    from grove.exceptions import GroveException
    from grove.oneshot import EXIT_CONFIGURATION, EXIT_OK

    try:
        count, problems = _examined(paths, offline)
    except GroveException as err:
        from grove.configs import Problem

        count, problems = 0, [Problem("configuration", "setting", str(err))]
    code = EXIT_CONFIGURATION if problems else EXIT_OK
    if as_json or style == "json":
        facts = [problem.facts() for problem in problems]
        print_json({"documents": count, "offline": offline, "exit_code": code, "problems": facts})
    else:
        _show(problems, count, offline, style)
    return code


def _show(problems: list[Problem], count: int, offline: bool, style: str) -> None:
    from grove.cli._problems import for_github, for_people

    for problem in problems:
        click.echo(for_github(problem) if style == "github" else "\n".join(for_people(problem)))
        if style == "text":
            click.echo()
    documents = f"{count} document{'' if count == 1 else 's'}"
    if problems:
        click.echo(f"{len(problems)} problem{'' if len(problems) == 1 else 's'}, {documents}.")
    else:
        left_out = " Secrets, output and cache were not asked." if offline else ""
        click.echo(f"{documents}: nothing is wrong.{left_out}")


def _examined(paths: tuple[Path, ...], offline: bool) -> tuple[int, list[Problem]]:
    """How many documents there are, and what is wrong. GroveException where there is no way to them."""
    from grove.configs import Problem
    from grove.configs.local_file import Handler
    from grove.runtime import DocumentSource, Settings

    settings = Settings.read()
    source = DocumentSource(settings, Handler(paths) if paths else None)
    documents = source.load()
    problems = [*documents.problems, *documents.warnings]
    if not documents.count and not problems:
        where = ", ".join(map(str, paths)) or "the configuration"
        help = "Documents end in .json, .yaml or .yml; `grove init` writes a first one."
        problems.append(Problem(where, "no-document", "There is no document in it.", help))
    problems.sort(key=lambda problem: (problem.source, problem.line, problem.column))
    problems += _plugins(documents.streams, settings)
    if not offline:
        problems += _secrets(documents.streams, settings)
        problems += _output(settings)
        problems += _cache(settings)
    return documents.count, problems


# --- the plugins that are named ---


def _plugins(streams: list[ConnectorConfig], settings: Settings) -> Iterator[Problem]:
    from grove.configs import Problem, problem_of
    from grove.constants import (
        ENV_GROVE_CACHE_HANDLER,
        ENV_GROVE_OUTPUT_HANDLER,
        ENV_GROVE_SECRET_HANDLER,
        PLUGIN_GROUP_CACHE,
        PLUGIN_GROUP_OUTPUT,
        PLUGIN_GROUP_PROCESSOR,
        PLUGIN_GROUP_SECRET,
    )
    from grove.exceptions import GroveException
    from grove.helpers import plugin

    named = [(ENV_GROVE_OUTPUT_HANDLER, name.strip(), PLUGIN_GROUP_OUTPUT) for name in settings.output.split(",")]
    named.append((ENV_GROVE_CACHE_HANDLER, settings.cache, PLUGIN_GROUP_CACHE))
    if settings.secret:
        named.append((ENV_GROVE_SECRET_HANDLER, settings.secret, PLUGIN_GROUP_SECRET))
    for variable, name, group in named:
        try:
            plugin.load_class(name, group)
        except GroveException as err:
            yield Problem(variable, f"unknown-{group.removeprefix('grove.').removesuffix('s')}", str(err))
    for config in streams:
        if config.secrets and not settings.secret:
            yield problem_of(
                config,
                "missing-secret-store",
                f"The document has secrets, and {ENV_GROVE_SECRET_HANDLER} is not set.",
                "Set it to the store that holds them: local_file for files, environment for variables.",
                ("secrets",),
            )
        for index, item in enumerate(config.processors):
            try:
                plugin.load_handler(item.processor, PLUGIN_GROUP_PROCESSOR, item)
            except GroveException as err:
                yield problem_of(config, "unusable-processor", str(err), path=("processors", index))


# --- what lies outside ---


def _secrets(streams: list[ConnectorConfig], settings: Settings) -> Iterator[Problem]:
    from grove.configs import Problem, problem_of
    from grove.constants import ENV_GROVE_SECRET_HANDLER, PLUGIN_GROUP_SECRET
    from grove.exceptions import ConfigurationException, GroveException
    from grove.helpers import plugin

    wanting = [config for config in streams if config.secrets]
    if not wanting or not settings.secret or settings.secret not in plugin.available(PLUGIN_GROUP_SECRET):
        return
    try:
        store = plugin.load_handler(settings.secret, PLUGIN_GROUP_SECRET)
    except ConfigurationException as err:
        yield Problem(ENV_GROVE_SECRET_HANDLER, "setting", str(err))
        return
    for config in wanting:
        for field, locator in config.secrets.items():
            try:
                store.load(config.model_copy(update={"secrets": {field: locator}}))
            except GroveException as err:
                # Where it stands, and that it could not be fetched, is said by the problem itself.
                help = str(err).partition("could not be fetched. ")[2] or str(err)
                yield problem_of(
                    config,
                    "missing-secret",
                    f"The secret for the field {field!r} cannot be fetched from {settings.secret}.",
                    help,
                    ("secrets", field),
                )


def _output(settings: Settings) -> Iterator[Problem]:
    from grove.configs import Problem
    from grove.constants import ENV_GROVE_OUTPUT_HANDLER, PLUGIN_GROUP_OUTPUT
    from grove.exceptions import GroveException
    from grove.helpers import plugin
    from grove.outputs._several import load, members

    if any(name.strip() not in plugin.available(PLUGIN_GROUP_OUTPUT) for name in settings.output.split(",")):
        return
    try:
        output = load(settings.output)
        output.setup()
    except GroveException as err:
        yield Problem(ENV_GROVE_OUTPUT_HANDLER, "output", str(err))
        return
    for member in members(output):
        for host, port in _addresses(member):
            try:
                socket.create_connection((host, port), _PATIENCE).close()
            except OSError as err:
                why = err.strerror or str(err) or type(err).__name__
                yield Problem(
                    ENV_GROVE_OUTPUT_HANDLER,
                    "output",
                    f"{host}:{port} does not answer: {why}.",
                    "Check the address, and whether this host gets there.",
                )


def _addresses(output: Any) -> Iterator[tuple[str, int]]:
    """Where an output connects to, as far as it says so, and this host goes there without a proxy."""
    config = getattr(output, "config", None)
    url = getattr(config, "url", None)
    if isinstance(url, str) and not any(os.environ.get(f"{name}_PROXY") for name in ("HTTPS", "HTTP", "ALL")):
        parts = urlsplit(url)
        with suppress(ValueError):
            if parts.hostname:
                yield parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    for server in (getattr(config, "bootstrap_servers", None) or "").split(","):
        host, _, port = server.strip().rpartition(":")
        if host and port.isdigit():
            yield host, int(port)


def _cache(settings: Settings) -> Iterator[Problem]:
    from grove.configs import Problem
    from grove.constants import ENV_GROVE_CACHE_HANDLER, PLUGIN_GROUP_CACHE
    from grove.exceptions import GroveException
    from grove.helpers import plugin
    from grove.runtime import open_cache

    if settings.cache not in plugin.available(PLUGIN_GROUP_CACHE):
        return
    place = f"validate.{socket.gethostname()}.{os.getpid()}"
    try:
        cache = open_cache(settings)
        cache.set(place, "all", "is it writable?")
        cache.delete(place, "all")
    except GroveException as err:
        yield Problem(ENV_GROVE_CACHE_HANDLER, "cache", str(err))
