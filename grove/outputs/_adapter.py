"""Calls handlers whose `submit()` was written for an earlier version of the interface."""

import inspect
import weakref
from collections.abc import Callable
from typing import Any

from grove.exceptions import ConfigurationException
from grove.outputs import BaseOutput

__all__ = ["overrides_serialize", "submit_with"]

_ALWAYS = ("data", "part", "operation", "connector", "identity", "descriptor", "name")

Plan = tuple[tuple[str, str], ...]
"""The keywords to pass: (parameter, value)."""

_plans: weakref.WeakKeyDictionary[type, Plan] = weakref.WeakKeyDictionary()


def submit_with(
    output: Any,
    *,
    data: bytes,
    part: int,
    operation: str,
    connector: str,
    identity: str,
    descriptor: str,
    name: str,
) -> None:
    """Call `output.submit()` with those of the arguments that it takes, by keyword.

    ConfigurationException where it demands one that nobody knows; otherwise what `submit()` raises.
    """
    values = {
        "data": data,
        "part": part,
        "operation": operation,
        "connector": connector,
        "identity": identity,
        "descriptor": descriptor,
        "name": name,
        "kind": getattr(output, "KIND", BaseOutput.KIND),
    }
    output.submit(**{parameter: values[value] for parameter, value in _plan(output)})


def overrides_serialize(output: Any) -> bool:
    """Whether `output` has a `serialize()` of its own, which then has to be called for every page."""
    return "serialize" in getattr(output, "__dict__", ()) or (
        getattr(type(output), "serialize", None) is not BaseOutput.serialize
    )


def _plan(output: Any) -> Plan:
    handler = type(output)
    if "submit" in getattr(output, "__dict__", ()):
        return _look_at(output.submit, handler)
    plan = _plans.get(handler)
    if plan is None:
        plan = _plans[handler] = _look_at(output.submit, handler)
    return plan


def _look_at(submit: Callable[..., Any], handler: type) -> Plan:
    try:
        parameters = inspect.signature(submit).parameters.values()
    except (TypeError, ValueError):
        # It cannot be looked at, so it has to take what a handler of today takes.
        return tuple((name, name) for name in _ALWAYS)
    plan: dict[str, str] = {}
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            plan.update((name, name) for name in _ALWAYS)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            continue
        elif parameter.name in _ALWAYS and parameter.kind is not parameter.POSITIONAL_ONLY:
            plan[parameter.name] = parameter.name
        elif parameter.default is not parameter.empty:
            # A handler's own default for the kind says more than we know.
            continue
        elif parameter.name in ("kind", "suffix"):
            plan[parameter.name] = "kind"
        else:
            raise ConfigurationException(
                f"submit() of the output {handler.__module__}.{handler.__qualname__} demands the argument "
                f"{parameter.name!r}, which is never passed. Passed are: {', '.join(_ALWAYS)}."
            )
    return tuple(plan.items())
