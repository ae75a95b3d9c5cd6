"""Pointer paths find what jmespath finds, and never fail over an entry."""

import json
from typing import Any

import jmespath
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grove import _core
from tests import reference
from tests.strategies import Colour, Mapping, Mode, Text, wild_entries, wild_values


class Sounding:
    """Its text is of a class of its own."""

    def __str__(self) -> str:
        return Text("heard")


PLAIN = [
    "a",
    "a.b",
    '"@timestamp"',
    '"a.b".c',
    'a."b"',
    " a . b\n",
    '"a\\u0041"',
    '""',
    '"x\\"y"',
    '"\\ud800"',
    "@",
    "_a1",
]
OTHER = [
    "a[0]",
    "a[0].b",
    "a.*",
    "*",
    "a || b",
    "length(a)",
    "`1`",
    "'raw'",
    "a | b",
    "{x: a}",
    "[a, b]",
    "a[?b]",
    "!a",
]
WRONG = ["", " ", "a b", "a.", ".a", "1a", '"a', "a-b", "é", '"\\q"', '"\n"', "a[", "a\x0bb", "foo(", "'", "a\\"]


def pages() -> list[Any]:
    return [
        {"a": "1", "b": "2"},
        {"a": {"b": 1, "c": [1]}, "a.b": {"c": 5}, "@timestamp": 1.5, "aA": True, "": "empty", 'x"y': "quote"},
        {"a": [{"b": 3}, {"b": ""}], "\ud800": 0, "_a1": {"x": None}},
        {"a": None, "b": False},
        {"a": Mapping(b=Text("t")), "b": Mode.ON},
        Mapping(a=Colour.RED),
        {},
        [],
        "text",
        None,
        7,
    ]


@pytest.mark.parametrize("expression", PLAIN + OTHER)
def test_paths_find_what_jmespath_finds(expression: str) -> None:
    path = _core.pointer_path(expression)
    assert path.expression == expression
    assert path.pointers(pages()) == reference.pointers(expression, pages())


@pytest.mark.parametrize("expression", PLAIN + OTHER[:4])
def test_search_finds_what_jmespath_finds(expression: str) -> None:
    for entry in pages():
        assert _core.pointer_path(expression).search(entry) == jmespath.search(expression, entry)


@pytest.mark.parametrize("expression", WRONG)
def test_a_wrong_path_is_named(expression: str) -> None:
    with pytest.raises(ValueError, match="is not a JMESPath expression") as caught:
        _core.pointer_path(expression)
    assert repr(expression) in str(caught.value)
    with pytest.raises(ValueError):
        jmespath.compile(expression)


names = st.text(max_size=3) | st.sampled_from(["a", "b", "1", "true"])


@given(st.lists(names, min_size=1, max_size=3), st.lists(wild_entries | wild_values, max_size=4))
def test_any_name_can_be_quoted(parts: list[str], entries: list[Any]) -> None:
    expression = ".".join(json.dumps(part) for part in parts)
    below: Any = "found"
    for part in reversed(parts):
        below = {part: below}
    page = [*entries, below]
    path = _core.PointerPath(expression)
    assert path.pointers(page) == reference.pointers(expression, page)
    assert path.search(below) == "found"


@given(st.text("ab.\"'[]*@\\ \n|!0-é_", max_size=6))
def test_any_text_is_a_path_exactly_if_jmespath_takes_it(expression: str) -> None:
    try:
        expected = reference.pointers(expression, pages())
    except Exception:
        with pytest.raises(ValueError):
            _core.PointerPath(expression)
    else:
        assert _core.PointerPath(expression).pointers(pages()) == expected


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (None, None),
        ("", None),
        (Text(""), None),
        (0, "0"),
        (5.0, "5.0"),
        (1e16, "1e+16"),
        (True, "True"),
        ([1, "a"], "[1, 'a']"),
        (2**70, str(2**70)),
        (Text("t"), "t"),
        (Sounding(), "heard"),
        ("\ud800", "\ud800"),
    ],
)
def test_values_become_what_str_makes_of_them(value: Any, pointer: str | None) -> None:
    found = _core.pointer_path("a").pointers([{"a": value}])
    assert found == [pointer]
    assert type(found[0]) in (str, type(None))


@given(st.integers() | st.integers(-(2**70), 2**70))
@example(9)
@example(10)
@example(99)
@example(100)
@example(10**18 - 1)
@example(10**18)
@example(2**63 - 1)
@example(2**63)
@example(-(2**63))
@example(-(2**63) - 1)
@example(-1)
def test_integers_are_their_digits(number: int) -> None:
    assert _core.pointer_path("a").pointers([{"a": number}]) == [str(number)]


def test_a_lack_of_memory_is_not_taken_for_the_lack_of_a_pointer() -> None:
    class Large:
        def __str__(self) -> str:
            raise MemoryError

    for call in (_core.pointer_path("a").pointers, _core.hash_entry, _core.canonical):
        with pytest.raises(MemoryError):
            call([{"a": Large()}])


def test_a_path_shows_itself() -> None:
    assert repr(_core.pointer_path("a.b")) == "PointerPath('a.b')"


def test_a_value_that_str_refuses_is_no_pointer() -> None:
    assert _core.pointer_path("a").pointers([{"a": 10**5_000}, {"a": 1}]) == [None, "1"]


def test_an_expression_that_fails_finds_nothing() -> None:
    assert _core.pointer_path("length(a)").pointers([{"a": 1}, {"a": "four"}]) == [None, "4"]


def test_paths_are_kept() -> None:
    assert _core.pointer_path("a.b") is _core.pointer_path("a.b")
    with pytest.raises(TypeError):
        _core.pointer_path(None)  # type: ignore[arg-type]
