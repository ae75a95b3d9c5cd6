"""Finds handlers, connectors and processors by the name that they were installed under."""

import difflib
import functools
import threading
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from grove.exceptions import ConfigurationException
from grove.helpers import migration

# What a missing module says about the extra that brings it.
_EXTRAS = {
    "boto3": "aws",
    "botocore": "aws",
    "confluent_kafka": "kafka",
    "hvac": "vault",
    "redis": "redis",
    "rich": "cli",
}

_lock = threading.Lock()


@functools.cache
def _scan(group: str) -> dict[str, EntryPoint]:
    # Reading the metadata of every installed distribution takes milliseconds: once per group and process.
    return {found.name: found for found in entry_points(group=group)}


def available(group: str) -> dict[str, EntryPoint]:
    """The plugins installed in `group`, by name."""
    with _lock:
        return _scan(group)


def refresh() -> None:
    """Forget what was found, for a process that installs plugins while it runs."""
    with _lock:
        _scan.cache_clear()


def lookup_handler(name: str, group: str) -> EntryPoint:
    """Where the plugin `name` of `group` is; ConfigurationException where none has that name."""
    found = available(group)
    try:
        return found[name]
    except KeyError:
        pass
    near = difflib.get_close_matches(name, found, n=3, cutoff=0.5)
    if near:
        hint = f"Did you mean {_listed(near)}?"
    elif found:
        hint = f"Installed are {_listed(sorted(found))}."
    else:
        hint = "No plugin of this kind is installed."
    raise ConfigurationException(f"There is no plugin called {name!r} in {group}. {hint}")


def load_class(name: str, group: str) -> Any:
    """What the entry point `name` of `group` refers to, imported but not called.

    ConfigurationException where it is unknown, or cannot be imported; the message says which extra is
    missing.
    """
    found = lookup_handler(name, group)
    try:
        return found.load()
    except Exception as err:
        # What a plugin does at import may fail in more ways than by missing something.
        why = _why(err, found)
        raise ConfigurationException(f"The plugin {name!r} of {group} cannot be loaded: {why}") from err


def load_handler(name: str, group: str, *args: Any, **kwargs: Any) -> Any:
    """The plugin `name` of `group`, called with the arguments. Errors as `load_class`, and its own."""
    return load_class(name, group)(*args, **kwargs)


def _why(err: Exception, found: EntryPoint) -> str:
    if type(err).__module__.partition(".")[0] == "pydantic":
        changes = migration.advice(found.module)
        if changes:
            return f"it was written for pydantic 1, this is pydantic 2. {' '.join(changes)}"
    if isinstance(err, ModuleNotFoundError):
        missing = (err.name or "").partition(".")[0]
        if missing in _EXTRAS:
            return f"it needs the package {missing!r}. Install it with: pip install 'grove[{_EXTRAS[missing]}]'"
        if missing and missing != "grove":
            return f"it needs the package {missing!r}, which is not installed."
    return f"{found.value}: {type(err).__name__}: {err}"


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
