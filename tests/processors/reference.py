"""The processors once more, in plain Python without a line in common: each makes new values and changes none.

`jmespath` is asked anew for each entry, as a simple collector does it; paths are given as lists of steps.
"""

import json
from collections.abc import Iterator
from typing import Any

import jmespath

Steps = list[Any]


def filter_entries(entry: dict[str, Any], filters: list[str]) -> list[dict[str, Any]]:
    return [] if any(_found(entry, filters)) else [entry]


def _found(value: Any, paths: list[str]) -> Iterator[Any]:
    """What each path finds. Nobody asks for more than is needed: the next one may not apply."""
    for path in paths:
        yield jmespath.search(path, value)


def filter_paths(entry: dict[str, Any], sources: list[Steps]) -> list[dict[str, Any]]:
    for source in sources:
        entry = _without(entry, source)
    return [entry]


def _without(value: Any, path: Steps) -> Any:
    if not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: part for name, part in value.items() if name != path[0]}
    return {name: _without(part, path[1:]) if name == path[0] else part for name, part in value.items()}


def split_path(entry: dict[str, Any], source: str, steps: Steps) -> list[dict[str, Any]]:
    elements = jmespath.search(source, entry)
    if isinstance(elements, list) and elements:
        return [_with(entry, steps, element) for element in elements]
    return [entry]


def _with(value: Any, steps: Steps, new: Any) -> Any:
    """A copy of `value` with `new` in the place of what is at `steps`."""
    if not steps:
        return new
    if isinstance(value, list):
        place = range(len(value))[steps[0]]
        return [_with(part, steps[1:], new) if index == place else part for index, part in enumerate(value)]
    return {name: _with(part, steps[1:], new) if name == steps[0] else part for name, part in value.items()}


def zip_paths(entry: dict[str, Any], source: str, steps: Steps, key: str, values: list[str]) -> list[dict[str, Any]]:
    items = jmespath.search(source, entry)
    if not isinstance(items, list | dict):
        return [entry]
    pairs = []
    for item in items if isinstance(items, list) else [items]:
        found = next((value for value in _found(item, values) if value is not None), None)
        name = jmespath.search(key, item)
        if name is not None and found is not None:
            pairs.append((name if isinstance(name, str) else _json(name), found))
    return [_with(entry, steps, dict(pairs))]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def extract_paths(entry: dict[str, Any], fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`fields` with `destination` as steps. ValueError where one lies in something that is no object."""
    made: dict[str, Any] = {}
    for field in fields:
        chosen = _chosen(entry, field["sources"]) if "sources" in field else field["static"]
        if chosen is not None:
            made = _put(made, field["destination"], chosen)
    return [made]


def _chosen(entry: dict[str, Any], sources: list[str]) -> Any:
    plain = []
    for value in _found(entry, sources):
        if value:
            return value
        if value in ("", 0, False):
            plain.append(value)
    return plain[0] if plain else None


def _put(made: Any, path: Steps, value: Any) -> Any:
    if not path:
        if isinstance(made, list):
            return [*made, *(value if isinstance(value, list) else [value])]
        return value
    if not isinstance(made, dict):
        raise ValueError("no object")
    inner = made.get(path[0]) if len(path) == 1 else made.get(path[0], {})
    return {**made, path[0]: _put(inner, path[1:], value)}
