"""`${VAR}` and `${VAR:-default}` in the texts of a document, for those that ask for it.

Not everywhere, because queries and expressions may have `${` in them. Where it is on, `$${` stands for `${`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from grove.configs._problems import Path
from grove.constants import ENV_GROVE_CONFIG_INTERPOLATE
from grove.exceptions import ConfigurationException
from grove.logging import register_secret
from grove.models import is_credential

__all__ = ["interpolated", "is_wanted"]

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?")

_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})

# What stands in these may be a credential, whatever it is called.
_SENSITIVE = frozenset({"auth", "body", "headers", "params", "url"})


def is_wanted(document: Mapping[str, Any]) -> bool:
    """What the document's `interpolate` says, else GROVE_CONFIG_INTERPOLATE. ConfigurationException for the latter."""
    own = document.get("interpolate")
    if isinstance(own, bool):
        return own
    setting = os.environ.get(ENV_GROVE_CONFIG_INTERPOLATE, "").strip().lower()
    if setting not in _YES | _NO:
        raise ConfigurationException(f"{ENV_GROVE_CONFIG_INTERPOLATE} is {setting!r}; it has to be true or false.")
    return setting in _YES


def interpolated(value: Any, report: Callable[[Path, str, str], None], path: Path = ()) -> Any:
    """`value` with what the environment says in place of its references.

    `report` is called with the path, a message and advice for each reference to a variable that is not set, or that
    cannot be read. What comes into a field for credentials is kept out of logs.
    """
    if isinstance(value, dict):
        return {name: interpolated(part, report, (*path, name)) for name, part in value.items()}
    if isinstance(value, list):
        return [interpolated(part, report, (*path, index)) for index, part in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match["name"]
        if name is None:
            report(path, "This is no reference to a variable.", "Write ${NAME} or ${NAME:-default}; $${ stands for ${.")
            return ""
        found = os.environ.get(name) or match["default"]
        if found is None:
            state = "empty" if name in os.environ else "not set"
            report(path, f"The variable {name} is {state}.", f"Set it, or write ${{{name}:-default}}.")
            return ""
        if _may_be_secret(path):
            register_secret(found)
        return found

    made = _REFERENCE.sub(replaced, value)
    if _may_be_secret(path):
        register_secret(made)
    return made


def _may_be_secret(path: Path) -> bool:
    return path[0] in _SENSITIVE or any(isinstance(part, str) and is_credential(part) for part in path)
