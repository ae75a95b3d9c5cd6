"""The documents that a command is about: by name, with a hint where a name is wrong, and for shell completion."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from grove.configs import Problem
    from grove.models import ConnectorConfig
    from grove.runtime import Documents

__all__ = ["choose", "complete_connectors", "complete_documents", "did_you_mean", "problems_of"]


def choose(documents: Documents, names: Sequence[str]) -> list[ConnectorConfig]:
    """The documents called `names`, in that order; all of them where there are no names.

    ConfigurationException where one of them cannot be used; click.UsageError where there is none of a name, with those
    that are close to it, or all of a few.
    """
    from grove.exceptions import ConfigurationException

    if not names:
        return documents.streams
    known = {config.name for config in documents.streams}
    for name in names:
        if name not in known:
            problems = problems_of(documents, name)
            if problems:
                raise ConfigurationException(" ".join(map(str, problems)))
            broken = " Some documents have problems: see `grove validate`." if documents.problems else ""
            raise click.UsageError(f"There is no enabled document called {name!r}.{did_you_mean(name, known)}{broken}")
    chosen: list[ConnectorConfig] = []
    for name in dict.fromkeys(names):
        chosen += [config for config in documents.streams if config.name == name]
    return chosen


def problems_of(documents: Documents, name: str) -> list[Problem]:
    """Why the document `name` cannot be used; nothing where it can, or is not there at all."""
    if any(config.name == name for config in documents.streams):
        return []
    return [problem for problem in documents.problems if problem.document == name]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence, with a blank before it, about which of `known` may be meant; empty where nothing is known."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f" Did you mean {', '.join(map(repr, near))}?"
    if 0 < len(known) <= 10:
        return f" Known are {', '.join(map(repr, known))}."
    return ""


# --- shell completion ---


def complete_documents(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The names of the documents on this host that begin with `incomplete`. Never fails, and never asks a network."""
    from grove.constants import DEFAULT_CONFIG_HANDLER
    from grove.runtime import Settings, load_documents

    logging.disable(logging.CRITICAL)
    try:
        settings = Settings.read()
        if settings.config != DEFAULT_CONFIG_HANDLER:
            return []
        names = {config.name for config in load_documents(settings).streams}
    except Exception:
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def complete_connectors(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The names of the connectors that are installed and begin with `incomplete`."""
    from grove.constants import PLUGIN_GROUP_CONNECTOR
    from grove.helpers import plugin

    return sorted(name for name in plugin.available(PLUGIN_GROUP_CONNECTOR) if name.startswith(incomplete))
