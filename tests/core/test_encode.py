"""Encoded pages: valid lines that lose nothing, hashes without hashing, and callers' entries left alone."""

import gzip
import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grove import _core
from grove.exceptions import DataFormatException
from grove.helpers.codecs import GZIP
from tests import reference
from tests.strategies import Text, entries, json_entries, metadata

METADATA = {"connector": "x", "runtime": {"id": 1}}


@given(st.lists(entries, max_size=5), metadata)
@example([{}, {"a": 1}, {}], METADATA)
@example([{}, {"_grove": {}}, {"_grove": None}, {"_grove": 1, "a": float("nan")}], METADATA)
@example([{"_grove": {"connector": "spoofed", "own": 1}}, {Text("_grove"): [1]}], METADATA)
@example([{"_grove": 1}], None)
@example([{1: "a", "1": "b"}], {})
def test_encode_is_that_of_the_reference(page: list[Any], ours: dict[str, Any] | None) -> None:
    encoded = _core.encode(page, ours)
    assert encoded.data == reference.encode(page, ours)
    assert encoded.count == len(encoded) == len(page)
    assert [encoded.hash(index) for index in range(len(page))] == [reference.hash_entry(entry) for entry in page]


@given(st.lists(json_entries, max_size=4))
def test_nothing_is_lost_on_the_way(page: list[Any]) -> None:
    lines = _core.encode(page, METADATA).data.split(b"\n")
    assert lines.pop() == b""
    for line, entry in zip(lines, page, strict=True):
        # What is written is strict JSON: no bare NaN.
        read = json.loads(line, parse_constant=pytest.fail)
        expected = json.loads(json.dumps(entry), parse_constant=str)
        added = read.pop("_grove")
        own = expected.pop("_grove", {})
        assert added == (own if isinstance(own, dict) else {"original": own}) | METADATA
        assert repr(read) == repr(expected)


@given(st.lists(entries, max_size=3), metadata)
def test_entries_and_metadata_are_left_alone(page: list[Any], ours: dict[str, Any] | None) -> None:
    before = [repr(page), repr(ours)]
    _core.encode(page, ours)
    _core.group_hashes(page, ["1"] * len(page))
    assert [repr(page), repr(ours)] == before


@given(json_entries, st.sampled_from([{}, {"a": float("nan")}, {"_grove": {"x": 1}}, {2: 1}]))
def test_a_hash_is_that_of_the_moment_of_encoding(entry: dict[Any, Any], more: dict[Any, Any]) -> None:
    entry = {**entry, **more, "inner": {"list": [1]}}
    expected = _core.hash_entry(entry)
    page = _core.encode([entry], METADATA)
    entry["inner"]["list"].append(2)
    entry["new"] = 1
    assert page.hash(0) == expected


def test_lines_end_at_newlines_only() -> None:
    data = _core.encode([{"a": "x\ny\r\u2028\x85\x0b"}, {"b": 1}], METADATA).data
    assert data.count(b"\n") == 2
    assert data.endswith(b"}\n")
    assert b"\r" not in data


def test_our_metadata_is_last_and_wins() -> None:
    entry = {"_grove": {"connector": "spoofed", "own": 1}, "z": 1, "a": 2}
    assert _core.encode([entry], METADATA).data == (
        b'{"z":1,"a":2,"_grove":{"own":1,"connector":"x","runtime":{"id":1}}}\n'
    )
    assert _core.encode([{"_grove": "text"}], METADATA).data == (
        b'{"_grove":{"original":"text","connector":"x","runtime":{"id":1}}}\n'
    )


@pytest.mark.parametrize("wrong", [None, [1], "text", 1, (("a", 1),)])
def test_an_entry_that_is_no_object_is_named(wrong: Any) -> None:
    with pytest.raises(DataFormatException, match=f"Entry 1 of a page is a {type(wrong).__name__}"):
        _core.encode([{}, wrong], METADATA)


@pytest.mark.parametrize("index", [-1, 1, 2**40])
def test_hashes_of_lines_that_are_not_there(index: int) -> None:
    page = _core.encode([{"a": 1}], None)
    with pytest.raises(IndexError):
        page.hash(index)


@pytest.mark.parametrize("depth", [252, 253, 254, 255, 256, 5_000])
def test_deep_entries(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    entry = {"top": value}
    page = _core.encode([entry], METADATA)
    assert page.hash(0) == _core.hash_entry(entry)
    assert page.data.count(b'"a":') == depth


def test_a_page_of_one_megabyte_entries() -> None:
    page = [{"text": "é" * 500_000, "number": index} for index in range(5)]
    encoded = _core.encode(page, METADATA)
    assert [json.loads(line)["number"] for line in encoded.data.splitlines()] == [0, 1, 2, 3, 4]
    assert encoded.hash(4) == _core.hash_entry(page[4])


@given(entries)
def test_copies_are_equal_and_share_no_container(entry: dict[Any, Any]) -> None:
    made = _core.copy_entry(entry)
    assert _core.canonical(made) == _core.canonical(entry)

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return type(value), [(key, shape(item)) for key, item in value.items()]
        return (type(value), [shape(item) for item in value]) if isinstance(value, (list, tuple)) else type(value)

    assert repr(shape(made)) == repr(shape(entry))

    def containers(value: Any) -> list[Any]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        own = [value] if isinstance(value, (dict, list)) else []
        return own + [found for item in inner for found in containers(item)]

    assert not {id(value) for value in containers(made)} & {id(value) for value in containers(entry)}


@pytest.mark.parametrize("depth", [199, 200, 201, 100_000])
def test_copies_of_any_depth(depth: int) -> None:
    value: Any = {"leaf": [1]}
    for level in range(depth):
        value = [value, level] if level % 3 == 0 else {"a": value} if level % 3 == 1 else (value,)
    made = _core.copy_entry(value)
    assert _core.canonical(made) == _core.canonical(value)
    while type(value) in (list, dict, tuple) and value:
        assert type(made) is type(value)
        assert made is not value
        key = next(iter(value)) if isinstance(value, dict) else 0
        value, made = value[key], made[key]
    assert made == value


def test_a_copy_of_what_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["a"] = [value]
    with pytest.raises(DataFormatException, match="contains itself"):
        _core.copy_entry(value)


def test_what_cannot_be_copied_is_named() -> None:
    class Stubborn(dict):  # type: ignore[type-arg]
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("no")

    with pytest.raises(DataFormatException, match="Stubborn"):
        _core.copy_entry({"a": Stubborn()})


def test_a_shrunk_page_still_knows_its_lines_and_hashes() -> None:
    entries = [{"id": number, "text": "é" * 200} for number in range(50)]
    page = _core.encode(entries, {"source": "x"}, GZIP)
    data = page.data
    page.shrink()
    assert [page.hash(index) for index in range(50)] == [_core.hash_entry(entry) for entry in entries]
    assert page.data == data == gzip.decompress(page.packed or b"")
    page.shrink()
    assert page.data == data


def test_nothing_is_dropped_of_a_page_that_was_not_compressed() -> None:
    page = _core.encode([{"id": 1}], None)
    page.shrink()
    assert page.data == b'{"id":1}\n' and page.packed is None


def test_what_a_shrunk_page_delivered_is_still_known() -> None:
    entries = [{"id": number} for number in range(50)]
    pointers = [str(number) for number in range(50)]
    page = _core.encode(entries, {"source": "x" * 1000}, GZIP)
    seen = _core.Seen()
    seen.remember(pointers, page)
    page.shrink()
    assert seen.unseen([*entries[10:20], {"id": 10, "other": 1}], [*pointers[10:20], "10"]) == [10]
    assert seen.hashes("7") == {_core.hash_entry({"id": 7})}


def test_pages_that_take_turns_in_one_memory_keep_their_lines() -> None:
    choose = random.Random(20)
    kept: list[tuple[_core.EncodedPage, bytes]] = []
    for number in range(200):
        entries = [{"n": number, "text": chr(97 + number % 26) * choose.randrange(200_000)} for _ in range(3)]
        page = _core.encode(entries, None, GZIP if choose.random() < 0.7 else None)
        expected = b"".join(orjson.dumps(entry) + b"\n" for entry in entries)
        kept.append((page, expected))
        page.shrink()
        if len(kept) > 6:
            del kept[choose.randrange(6)]
        for made, lines in kept if number % 10 == 0 else kept[-2:]:
            if choose.random() < 0.5:
                assert made.data == lines
