"""Text and path parsing that several processors and handlers share."""

import copy
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from grove import _core


def validation_error(exc: ValidationError, prefix: str = "") -> str:
    """What is wrong, by field, without the values: "identity: Field required; frequency: ...".

    `prefix` is the environment prefix of a handler's settings; fields are then named as their variables.
    """
    problems = []
    for error in exc.errors(include_input=False, include_url=False, include_context=False):
        field = ".".join(str(part) for part in error["loc"])
        if prefix:
            field = f"{prefix}{field}".upper()
        problems.append(f"{field}: {error['msg']}" if field else error["msg"])
    return "; ".join(problems)


def quick_copy(value: Any) -> Any:
    """A copy of `value` whose dicts and lists can be changed without changing `value`."""
    return _core.copy_entry(value)


def quote_aware_split(value: str, delimiter: str = ".") -> list[str]:
    """The parts of `value` between delimiters outside single or double quotes; the quotes are dropped.

    ValueError where a quote is not closed.
    """
    parts: list[str] = []
    part: list[str] = []
    quote = ""
    for character in value:
        if quote:
            if character == quote:
                quote = ""
            else:
                part.append(character)
        elif character in "'\"":
            quote = character
        elif character == delimiter:
            parts.append("".join(part))
            part = []
        else:
            part.append(character)
    if quote:
        raise ValueError(f"The quote {quote} in {value!r} is not closed.")
    parts.append("".join(part))
    return parts


def update_path(candidate: Any, path: Sequence[str], value: Any, replace: bool = False) -> Any:
    """`candidate` with `value` at `path`, creating objects on the way; it is changed in place and returned.

    A list that is there already gets `value` appended, or its elements if it is a list, unless `replace`
    is set. Neither `path` nor `value` is changed. ValueError where the path is empty or leads through
    something that is no object.
    """
    if not path:
        raise ValueError("The path is empty.")
    parent = candidate
    for depth, name in enumerate(path[:-1]):
        if not isinstance(parent, dict):
            break
        parent = parent.setdefault(name, {})
        if not isinstance(parent, dict):
            raise ValueError(f"{'.'.join(path[: depth + 1])} is no object, so nothing can be put below it.")
    if not isinstance(parent, dict):
        raise ValueError("Only an object can be updated by path.")
    name = path[-1]
    current = parent.get(name)
    if isinstance(current, list) and not replace:
        parent[name] = current + (value if isinstance(value, list) else [value])
    else:
        parent[name] = copy.copy(value) if isinstance(value, list | dict) else value
    return candidate
