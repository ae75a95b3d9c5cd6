"""Canonical bytes and hashes: one for each entry, whatever the road, and never one for two."""

import json
import os
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grove import _core
from grove.exceptions import DataFormatException
from tests import reference
from tests.strategies import Colour, Level, Mode, Text, json_values, wild_values


@given(json_values | wild_values)
@example({1: "a", "1": "b", Text("1"): "c"})
@example({"a!": 1, "a": 2, 'a"': 3, "a\x00": 4, 5: float("nan")})
@example([Colour.ODD, {"a": Colour.ODD}, Colour.BOTH, Colour.EXACT, Level.HIGH, {Colour.ODD: Mode.ON}])
@example({"\ue000": 1, "\ud800": 2, "\U00010000": 3, "\uffff": 4, "\x7f": 5, "\x80": 6})
@example({True: {2: 1, "2": 0}, "true": [float("inf")], "\ud800": None})
def test_canonical_and_hash_are_those_of_the_reference(value: Any) -> None:
    assert _core.canonical(value) == reference.canonical(value)
    assert _core.hash_entry(value) == reference.hash_entry(value)


def exact(value: Any) -> Any:
    """A form of JSON values in which == is identity but for the order of keys: 1 is not 1.0, nan is nan."""
    if isinstance(value, dict):
        return ("dict", sorted(((key, exact(item)) for key, item in value.items()), key=lambda pair: pair[0]))
    if isinstance(value, list):
        return ("list", [exact(item) for item in value])
    return (type(value).__name__, repr(value))


@given(json_values, json_values)
@example([1], [1.0])
@example([0.0], [-0.0])
@example([True], [1])
@example([float("nan")], ["NaN"])
@example([float("nan")], [None])
@example([None], ["null"])
@example([2**64], [float(2**64)])
@example(["\ud83d\ude00"], ["😀"])
@example(["\\ud800"], ["\ud800"])
@example({"a": {}}, {"a": []})
@example({"a": 1, "b": 2}, {"b": 2, "a": 1})
def test_two_json_values_share_a_form_only_if_they_are_the_same(left: Any, right: Any) -> None:
    same = exact(left) == exact(right)
    assert (_core.canonical(left) == _core.canonical(right)) is same
    assert (_core.hash_entry(left) == _core.hash_entry(right)) is same


@given(json_values, st.randoms())
def test_the_order_of_keys_does_not_matter(value: Any, random: Any) -> None:
    def shuffled(item: Any) -> Any:
        if isinstance(item, dict):
            keys = list(item)
            random.shuffle(keys)
            return {key: shuffled(item[key]) for key in keys}
        return [shuffled(member) for member in item] if isinstance(item, list) else item

    assert _core.hash_entry(shuffled(value)) == _core.hash_entry(value)


@pytest.mark.parametrize(
    ("foreign", "plain"),
    [
        (datetime(2025, 1, 1, tzinfo=UTC), "2025-01-01 00:00:00+00:00"),
        (Decimal("1.10"), "1.10"),
        (b"x", "b'x'"),
        ({"b", "a"}, "{'a', 'b'}"),
        (frozenset(), "frozenset()"),
        ({1: "x", None: 2}, {"1": "x", "null": 2}),
        ({True: 1, False: 0, 2.5: 2}, {"true": 1, "false": 0, "2.5": 2}),
        ({(1, 2): "x"}, {"(1, 2)": "x"}),
        ((1, 2), [1, 2]),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        ({1: 1e-07, 2: "é😀\x00", 3: 1.5e-5}, {"1": 1e-07, "2": "é😀\x00", "3": 1.5e-5}),
    ],
    ids=lambda value: repr(sorted(value)) if isinstance(value, set) else repr(value),
)
def test_foreign_values_are_their_string_forms_on_both_roads(foreign: Any, plain: Any) -> None:
    assert _core.canonical(foreign) == _core.canonical(plain)
    slow = [2**70]  # what orjson refuses, so that all of it takes the slow road
    assert _core.canonical([slow, foreign]) == _core.canonical([slow, plain])


def test_keys_that_meet_as_strings_are_all_kept_in_one_order() -> None:
    assert _core.canonical({1: "b", "1": "a"}) == b'{"1":"a","1":"b"}'
    assert _core.canonical({"1": "a", 1: "b"}) == b'{"1":"a","1":"b"}'


def test_the_forms_that_are_stored_never_change() -> None:
    # A boundary that was stored years ago has to be recognised: a failure here means repeated entries on upgrade.
    numbers = [1, 1.0, 1e16, 1e-7, 1.5e-5, -0.0, 2**64, True, None]
    entry = {"b": numbers, "a": "é\u2028\x7f\x00/", "\ud800": float("nan")}
    assert _core.canonical(entry) == (
        b'{"a":"\xc3\xa9\xe2\x80\xa8\x7f\\u0000/",'
        b'"b":[1,1.0,1e+16,1e-7,0.000015,-0.0,18446744073709551616,true,null],"\\ud800":NaN}'
    )
    assert _core.hash_entry({"id": 1}) == "7eb500fca7774a3e1554f3dadadc0849"
    assert _core.hash_entry(entry) == "b2d87a8c4538051247cf72b7de90335d"


@pytest.mark.parametrize("depth", [250, 253, 254, 255, 256, 900, 100_000])
@pytest.mark.parametrize("kind", ["list", "dict", "tuple in list"])
def test_depth_has_no_limit(depth: int, kind: str) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if kind == "dict" else [value] if kind == "list" else [(value,)]
    opening, closing = (b'{"a":', b"}") if kind == "dict" else (b"[", b"]")
    if kind == "tuple in list":
        opening, closing = b"[[", b"]]"
    assert _core.canonical(value) == opening * depth + b"1" + closing * depth


def cyclic_list() -> Any:
    value: list[Any] = [1]
    value.append({"a": value})
    return value


def cyclic_dict() -> Any:
    value: dict[str, Any] = {"b": 1}
    value["a"] = (value,)
    return value


def cyclic_subclass() -> Any:
    value: OrderedDict[str, Any] = OrderedDict(b=1)
    value["a"] = [value]
    return value


@pytest.mark.parametrize("make", [cyclic_list, cyclic_dict, cyclic_subclass])
def test_an_entry_that_contains_itself_is_refused(make: Any) -> None:
    with pytest.raises(DataFormatException, match="contains itself"):
        _core.canonical(make())
    with pytest.raises(DataFormatException, match="contains itself"):
        _core.hash_entry(make())
    with pytest.raises(DataFormatException, match="contains itself"):
        _core.encode([{"a": make()}], None)


def test_one_object_in_two_places_is_no_cycle() -> None:
    shared = [2**70]
    assert _core.canonical([shared, shared]) == b"[[%d],[%d]]" % (2**70, 2**70)


def test_integers_longer_than_the_interpreter_would_print() -> None:
    digits = "123456789" * 1_000
    value = 0
    for start in range(0, len(digits), 1_000):
        value = value * 10**1_000 + int(digits[start : start + 1_000])
    assert _core.canonical([value, -value]) == f"[{digits},-{digits}]".encode()
    assert _core.canonical({value: 10**5_000}) == b'{"' + digits.encode() + b'":1' + b"0" * 5_000 + b"}"


def test_hashes_do_not_depend_on_the_process() -> None:
    code = (
        "from grove import _core; print(_core.hash_entry("
        "{'s': {'b', 'a', 'c'}, 'f': {frozenset({'x', 'y'}), frozenset({'z'})}, 'm': {1, 'a', None, 2.5}}))"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(hashes) == 1


def test_threads_do_not_mix_their_hashes() -> None:
    # Long input is hashed while other threads run.
    entries = [{"n": n, "text": str(n) * (400_000 if n % 2 else 10)} for n in range(40)]
    expected = [reference.hash_entry(entry) for entry in entries]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: _core.hash_entry(entries[n % 40]), range(400)))
    assert found == expected * 10


@given(st.lists(st.tuples(st.sampled_from(["1", "2", None, ""]), json_values), max_size=6))
def test_hashes_are_grouped_by_pointer(pairs: list[tuple[Any, Any]]) -> None:
    pointers, entries = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert _core.group_hashes(entries, pointers) == reference.group_hashes(entries, pointers)
    assert _core.group_hashes(entries, pointers, lambda entry: "h") == {
        pointer: {"h"} for pointer in pointers if pointer is not None
    }


def test_json_that_the_standard_module_accepts_is_accepted() -> None:
    value = json.loads('{"a":NaN,"b":-Infinity,"c":123456789012345678901234567890,"d":"\\ud800","a\\udfff":1e400}')
    assert _core.canonical(value) == (
        b'{"a":NaN,"a\\udfff":Infinity,"b":-Infinity,"c":123456789012345678901234567890,"d":"\\ud800"}'
    )
