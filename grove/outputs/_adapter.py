"""Calls into outputs that somebody else wrote, whichever version of the API they were written for."""

import inspect
from functools import lru_cache
from typing import Any

from grove.outputs import BaseOutput

__all__ = ["overrides_serialize", "submit_with"]


@lru_cache(maxsize=256)
def _accepted(kind: type) -> frozenset[str] | None:
    """The names of `submit`'s parameters; None where it takes any keyword, or cannot be looked at."""
    try:
        parameters = inspect.signature(kind.submit).parameters  # type: ignore[attr-defined]
    except (TypeError, ValueError, AttributeError):
        return None
    if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()):
        return None
    return frozenset(parameters)


def submit_with(output: BaseOutput, **arguments: Any) -> None:
    """`output.submit` with those of `arguments` that it knows: older handlers have no `name`."""
    accepted = _accepted(type(output))
    if accepted is not None:
        arguments = {name: value for name, value in arguments.items() if name in accepted}
    output.submit(**arguments)


@lru_cache(maxsize=256)
def _serialize_of(kind: type) -> Any:
    return getattr(kind, "serialize", None)


def overrides_serialize(output: BaseOutput) -> bool:
    """Whether the handler serialises entries in a way of its own."""
    if "serialize" in getattr(output, "__dict__", {}):
        return True
    return _serialize_of(type(output)) is not BaseOutput.serialize
