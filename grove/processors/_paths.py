"""The ways in which settings of processors name parts of an entry, checked when a document is loaded.

`Expression` is any JMESPath; `Place` is JMESPath that leads to one place, so that what lies there can be replaced;
`Names` are names between dots, of which quotes protect those that hold dots themselves: `'source.ip'.port`.
"""

from typing import Annotated, Any

import jmespath
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from grove import _core
from grove.exceptions import ProcessorError
from grove.helpers.parsing import quote_aware_split

__all__ = ["Expression", "Names", "Place", "Steps", "follow", "search", "steps_of"]

Steps = tuple[str | int, ...]
"""Names of objects' members, and indexes of lists."""

LONGEST = 10_000


def _expression(text: str) -> str:
    try:
        if len(text) <= LONGEST:
            _core.pointer_path(text)
            return text
    except (ValueError, RecursionError):
        pass
    raise _refused(text, "is no JMESPath expression")


def _place(text: str) -> str:
    if steps_of(_expression(text)) is None:
        raise _refused(text, "does not lead to one place; use names, dots and indexes, such as a.b or a[0].b")
    return text


def _names(text: str) -> str:
    try:
        if text and quote_aware_split(text):
            return text
    except ValueError:
        pass
    raise _refused(text, "is no path of names between dots, with every quote closed")


def _refused(text: str, why: str) -> PydanticCustomError:
    return PydanticCustomError("path", "{path} {why}", {"path": repr(text[:200]), "why": why})


Expression = Annotated[str, AfterValidator(_expression)]
Place = Annotated[str, AfterValidator(_place)]
Names = Annotated[str, AfterValidator(_names)]


def search(path: _core.PointerPath, value: Any) -> Any:
    """What `path` finds in `value`, which may be a part of either; ProcessorError where it cannot be applied."""
    try:
        return path.search(value)
    except Exception as err:
        raise ProcessorError(f"The expression {path.expression!r} cannot be applied: {type(err).__name__}.") from err


def steps_of(expression: str) -> Steps | None:
    """The steps that a JMESPath expression takes; None where it does anything but take steps."""
    return _steps(jmespath.compile(expression).parsed)


def _steps(node: Any) -> Steps | None:
    if node["type"] in ("field", "index"):
        return (node["value"],)
    if node["type"] not in ("subexpression", "index_expression"):
        return None
    found = [_steps(child) for child in node["children"]]
    return None if None in found else tuple(step for steps in found if steps for step in steps)


def follow(value: Any, steps: Steps) -> Any:
    """What lies at `steps` in `value`, itself; None where there is nothing."""
    for step in steps:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
    return value
