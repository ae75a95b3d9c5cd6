"""What commands about stored state begin with, and how they end: logs to read, the cache, an exit code for an error."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import click

from grove.caches import BaseCache
from grove.constants import PLUGIN_GROUP_CACHE
from grove.exceptions import ConcurrencyException, ConfigurationException, GroveException
from grove.helpers import plugin
from grove.logging import redact
from grove.oneshot import EXIT_CONFIGURATION, EXIT_LOCKED
from grove.runtime import Settings

__all__ = ["LockedElsewhere", "Misconfigured", "Refused", "open_cache", "session"]


class Refused(click.ClickException):
    """What a command could not do; the process ends with 1."""


class LockedElsewhere(Refused):
    """A stream is being collected; 75."""

    exit_code = EXIT_LOCKED


class Misconfigured(Refused):
    """A document or a setting is wrong; 78."""

    exit_code = EXIT_CONFIGURATION


@contextlib.contextmanager
def session(ctx: click.Context) -> Iterator[None]:
    """Within it, warnings go to stderr as lines to read, and an error of Grove's ends the command with a sentence."""
    from grove.cli._terminal import Progress, log_for_people
    from grove.entrypoints.local_process import runtime_information
    from grove.logging import configure

    debug = bool((ctx.find_root().obj or {}).get("debug"))
    try:
        configure(runtime_information(), "DEBUG" if debug else None)
        if not debug:
            log_for_people(Progress())
        yield
    except GroveException as err:
        if debug:
            raise
        raise _refusal(err)(redact(str(err))) from err
    finally:
        logging.captureWarnings(False)


def _refusal(err: GroveException) -> type[Refused]:
    if isinstance(err, ConfigurationException):
        return Misconfigured
    return LockedElsewhere if isinstance(err, ConcurrencyException) else Refused


def open_cache(settings: Settings) -> BaseCache:
    """The cache that the settings name, open. ConfigurationException or AccessException where it cannot be used."""
    cache: BaseCache = plugin.load_handler(settings.cache, PLUGIN_GROUP_CACHE)
    cache.setup()
    return cache
