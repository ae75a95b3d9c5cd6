import copy
from typing import Any

import pytest

from grove.helpers.parsing import quick_copy, quote_aware_split, update_path


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ["a"]),
        ("a.b.c", ["a", "b", "c"]),
        ("'source.ip'.b", ["source.ip", "b"]),
        ('a."b.c"', ["a", "b.c"]),
        ("a.'it\"s'", ["a", 'it"s']),
        ("", [""]),
        ("a..b", ["a", "", "b"]),
        ("a.", ["a", ""]),
    ],
)
def test_split(text: str, parts: list[str]) -> None:
    assert quote_aware_split(text) == parts


def test_split_by_something_else() -> None:
    assert quote_aware_split("a|'b|c'", "|") == ["a", "b|c"]


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(ValueError, match="not closed"):
        quote_aware_split("a.'b")


@pytest.mark.parametrize(
    ("candidate", "path", "value", "replace", "expected"),
    [
        ({}, ["a"], 1, False, {"a": 1}),
        ({}, ["a", "b"], 1, False, {"a": {"b": 1}}),
        ({"a": {"x": 0}}, ["a", "b"], 1, False, {"a": {"x": 0, "b": 1}}),
        ({"a": [1]}, ["a"], 2, False, {"a": [1, 2]}),
        ({"a": [1]}, ["a"], [2, 3], False, {"a": [1, 2, 3]}),
        ({"a": [1]}, ["a"], [2], True, {"a": [2]}),
        ({"a": 1}, ["a"], 2, False, {"a": 2}),
    ],
)
def test_update(candidate: Any, path: list[str], value: Any, replace: bool, expected: Any) -> None:
    before = copy.deepcopy((path, value))
    assert update_path(candidate, path, value, replace) == expected
    assert candidate == expected
    assert (path, value) == before


def test_an_update_does_not_share_its_value() -> None:
    value: list[int] = [1]
    candidate = update_path({}, ["a"], value)
    update_path(candidate, ["a"], 2)
    assert value == [1]


@pytest.mark.parametrize(
    ("candidate", "path"),
    [({}, []), ({"a": 1}, ["a", "b"]), ({"a": {"b": []}}, ["a", "b", "c"]), ([], ["a"])],
)
def test_an_impossible_update_is_an_error(candidate: Any, path: list[str]) -> None:
    with pytest.raises(ValueError, match=r"path|object"):
        update_path(candidate, path, 1)


def test_a_copy_can_be_changed() -> None:
    entry = {"a": [{"b": 1}]}
    other = quick_copy(entry)
    other["a"][0]["b"] = 2
    assert entry == {"a": [{"b": 1}]}
