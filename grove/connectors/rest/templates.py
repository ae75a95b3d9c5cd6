"""Templates: `{name}` in texts, and in texts within lists and objects, stands for a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from grove.exceptions import ConfigurationException, RequestFailedException

__all__ = ["fill", "fill_url", "names"]

_NAME = re.compile(r"\{(\+?)([A-Za-z_]\w*)\}")


def names(template: Any) -> set[str]:
    """Every name that a template uses."""
    if isinstance(template, str):
        return {name for _, name in _NAME.findall(template)}
    if isinstance(template, Mapping):
        return set().union(*(names(part) for part in template.values()))
    if isinstance(template, list | tuple):
        return set().union(*(names(part) for part in template))
    return set()


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """`template` with its values. What is nothing but `{name}` keeps the type of its value.

    A text with a value that is None is None as a whole, and is left out of the list or object it stands in.
    ConfigurationException for a name that there is no value for.
    """
    if isinstance(template, str):
        return _fill_text(template, values)
    if isinstance(template, Mapping):
        filled = {name: fill(part, values) for name, part in template.items()}
        return {name: part for name, part in filled.items() if part is not None or template[name] is None}
    if isinstance(template, list | tuple):
        pairs = [(part, fill(part, values)) for part in template]
        return [made for part, made in pairs if made is not None or part is None]
    return template


def fill_url(template: str, values: Mapping[str, Any]) -> str:
    """`template` with its values, percent-encoded but for those of `{+name}`.

    ConfigurationException where one is missing, RequestFailedException where one is no text (a lone surrogate).
    """

    def encoded(match: re.Match[str]) -> str:
        value = _value(match[2], values)
        if value is None or value == "":
            raise ConfigurationException(f"The field {match[2]!r} is empty; it is a part of the address.")
        return str(value) if match[1] else quote(str(value), safe="")

    try:
        return _NAME.sub(encoded, template)
    except UnicodeError:
        pass
    # Not chained: the error has the values.
    raise RequestFailedException(f"The address {template!r} cannot be sent: a value in it is no text.")


def _fill_text(template: str, values: Mapping[str, Any]) -> Any:
    found = _NAME.findall(template)
    if not found:
        return template
    given = {name: _value(name, values) for _, name in found}
    if any(value is None for value in given.values()):
        return None
    whole = _NAME.fullmatch(template)
    if whole:
        return given[whole[2]]
    return _NAME.sub(lambda match: str(given[match[2]]), template)


def _value(name: str, values: Mapping[str, Any]) -> Any:
    try:
        return values[name]
    except KeyError:
        raise ConfigurationException(f"The field {name!r} is missing from the configuration document.") from None
