"""Pages that are still text: what is found in them is what the standard json module would have found."""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
from typing import Any

import orjson
import pytest

from grove import _core
from grove.exceptions import DataFormatException
from grove.helpers.codecs import GZIP
from tests.core import bodies
from tests.core.documents import INVALID, OPEN, VALID

BODY = b'{"next": "n", "data": {"entries": [{"id": 1, "who": "Zo\xc3\xab"}, null, {"id": "b"}]}, "more": true}'
DAMAGED_AT = [
    (b"", 0, "cut off"),
    (b'[{"id": 1}', 10, "cut off"),
    (b'[{"id": "abc', 12, "cut off"),
    (b'[{"id": 1]', 9, "']'"),
    (b'[{"id": 1},]', 11, "']'"),
    (b'[{"id": 1,}]', 10, "'}'"),
    (b'[{"id" 1}]', 7, "'1'"),
    (b"[{id: 1}]", 2, "'i'"),
    (b"[01]", 2, "'1'"),
    (b"[1.]", 3, "']'"),
    (b"[1e]", 3, "']'"),
    (b"[-]", 2, "']'"),
    (b"[nulL]", 4, "'L'"),
    (b'["a\nb"]', 3, "'\\\\n'"),
    (b'["\\x41"]', 3, "'x'"),
    (b'["\\u12g4"]', 3, "'u'"),
    (b"[1] [2]", 4, "follows"),
    (b"[1]\x00", 3, "follows"),
    (b"[\xff]", 1, "xff"),
]


def page_of(entries: list[Any], pointer_path: str = "id") -> _core.RawPage:
    return _core.RawPage(json.dumps(entries).encode(), "", pointer_path)


def seeded() -> random.Random:
    seed = os.environ.get("GROVE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"GROVE_TEST_SEED={seed}")
    return random.Random(seed)


# --- what is found ---


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_bodies_whole_and_damaged(count: int) -> None:
    choose = seeded()
    readable = 0
    for number in range(count):
        data, path = bodies.body(choose)
        readable += bodies.check(bodies.damaged(choose, data) if number % 3 else data, path)
    assert count // 4 < readable < count * 3 // 4


@pytest.mark.parametrize("text", [*VALID, *OPEN, *INVALID], ids=lambda text: repr(text)[:50])
def test_the_corpus(text: bytes) -> None:
    for data, path in ((text, ""), (b"[" + text + b"]", ""), (b'{"e":[' + text + b',{"id":1}]}', '"e"')):
        bodies.check(data, path)


def test_a_list_anywhere_in_a_body() -> None:
    page = _core.RawPage(BODY, "data.entries", "id")
    assert len(page) == 2 and page.kind == "list" and page.stranger is None and not page.odd
    assert page.envelope() == {"next": "n", "data": {"entries": []}, "more": True}
    assert _core.pointer_path("id").pointers(page) == ["1", "b"]
    assert list(page) == [{"id": 1, "who": "Zoë"}, {"id": "b"}]
    assert page.body == BODY


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "nothing"),
        (b'{"data": null}', "nothing"),
        (b'{"data": {"entries": null}}', "nothing"),
        (b'{"data": {"entries": {"id": 1}}}', "dict"),
        (b'{"data": {"entries": "x"}}', "str"),
        (b'{"data": {"entries": [1]}, "data": {"entries": 5}}', "int"),
        (b'{"data": {"entries": [1], "entries": []}}', "list"),
        (b"[1]", "nothing"),
    ],
)
def test_what_is_no_list(body: bytes, kind: str) -> None:
    page = _core.RawPage(body, "data.entries")
    assert page.kind == kind and len(page) == 0
    assert kind == "list" or page.envelope() == json.loads(body)


def test_of_members_with_one_name_the_last_counts() -> None:
    body = b'{"entries": [{"id": 1}], "entries": [{"a": {"id": 2}, "a": {"x": 1}}, {"a": {"id": 3, "\\u0069d": 4}}]}'
    page = _core.RawPage(body, "entries", "a.id")
    assert _core.pointer_path("a.id").pointers(page) == [None, "4"]
    assert page.envelope() == {"entries": []}


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('"2025-01-01T00:00:00Z"', "2025-01-01T00:00:00Z"),
        ('"\\u0061\\n"', "a\n"),
        ('"ä"', "ä"),
        ('""', None),
        ("null", None),
        ("0", "0"),
        ("-0", "0"),
        ("-5", "-5"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1.50", "1.5"),
        ("1e3", "1000.0"),
        ("true", "True"),
        ("[1, 2]", "[1, 2]"),
        ('{"a": 1}', "{'a': 1}"),
    ],
)
def test_pointers_are_those_of_decoded_entries(text: str, pointer: str | None) -> None:
    body = f'[{{"id": {text}}}]'.encode()
    assert _core.pointer_path("id").pointers(json.loads(body)) == [pointer]
    for page in (_core.RawPage(body, "", "id"), _core.RawPage(body), _core.RawPage(body, "", "other")):
        assert _core.pointer_path("id").pointers(page) == [pointer]


@pytest.mark.parametrize("path", ["a.b", 'a."b c"', "a || b", "a[0].b", "length(a)", "@", "missing.b"])
def test_any_pointer_path(path: str) -> None:
    entries = [{"a": {"b": 1, "b c": "x"}}, {"a": [{"b": 5}], "b": 2}, {"b": 3}, {"a": {"b": {"b": 1}}}]
    page = _core.RawPage(json.dumps(entries).encode(), "", path)
    assert _core.pointer_path(path).pointers(page) == _core.pointer_path(path).pointers(entries)
    # One path after the other.
    assert _core.pointer_path("b").pointers(page) == _core.pointer_path("b").pointers(entries)


def test_a_name_of_many_steps_is_looked_for_in_decoded_entries() -> None:
    names = [f"n{number}" for number in range(20)]
    entry: Any = 7
    for name in reversed(names):
        entry = {name: entry}
    page = page_of([entry], ".".join(names))
    assert _core.pointer_path(".".join(names)).pointers(page) == ["7"]
    with pytest.raises(ValueError, match="at most 16 names"):
        _core.RawPage(b"[]", ".".join(names))


@pytest.mark.parametrize("path", ["a[0]", "a || b", "a.*", "sort(a)", "a.b | c", "'a'"])
def test_paths_that_are_no_names(path: str) -> None:
    with pytest.raises(ValueError, match="names with dots"):
        _core.RawPage(b"[]", path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings(encoding: str) -> None:
    page = _core.RawPage('[{"id": "ä😀"}]'.encode(encoding))
    assert list(page) == [{"id": "ä😀"}]


# --- what is refused ---


@pytest.mark.parametrize(("body", "at", "what"), DAMAGED_AT, ids=[repr(body) for body, _, _ in DAMAGED_AT])
def test_the_byte_is_named(body: bytes, at: int, what: str) -> None:
    with pytest.raises(DataFormatException, match=rf"byte {at}\b") as refused:
        _core.RawPage(body)
    assert what.replace("\\\\", "\\") in str(refused.value)
    with pytest.raises(ValueError):  # whatever its text
        json.loads(body)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"id":', b"}")])
@pytest.mark.parametrize("path", ["", "entries"])
def test_depth(opening: bytes, closing: bytes, path: str) -> None:
    def nested(levels: int) -> bytes:
        inner = opening * levels + b"1" + closing * levels
        return b'{"entries":[' + inner + b"]}" if path else b"[" + inner + b"]"

    around = 2 if path else 1
    assert len(_core.RawPage(nested(bodies.DEEPEST - around), path, "id.id.id")) == 1
    with pytest.raises(DataFormatException, match="nested too deeply at byte"):
        _core.RawPage(nested(bodies.DEEPEST - around + 1), path, "id.id.id")
    with pytest.raises(DataFormatException, match="nested too deeply at byte"):
        _core.RawPage(opening * 5_000_000, path, "id.id.id")


@pytest.mark.parametrize("given", [None, 5, "[]", ["a"]])
def test_bodies_are_bytes(given: Any) -> None:
    with pytest.raises(TypeError):
        _core.RawPage(given)


# --- as a sequence ---


def test_a_sequence_of_entries() -> None:
    page = page_of([{"id": number} for number in range(5)])
    assert page[0] == {"id": 0} and page[-1] == {"id": 4} and page[1:3] == [{"id": 1}, {"id": 2}]
    assert [entry["id"] for entry in page] == [0, 1, 2, 3, 4] and page[2] is page[2]
    for index in (5, -6):
        with pytest.raises(IndexError, match=str(index)):
            page[index]
    assert "5 entries" in repr(page)


def test_some_of_the_entries() -> None:
    page = page_of([{"id": number} for number in range(5)])
    page[3]["changed"] = True
    part = page.take([3, 1])
    assert list(part) == [{"id": 3, "changed": True}, {"id": 1}]
    assert _core.pointer_path("id").pointers(part) == ["3", "1"]
    assert list(page.take([])) == []
    with pytest.raises(IndexError, match="7"):
        page.take([0, 7])


def test_pages_are_the_same_if_their_entries_are() -> None:
    assert page_of([{"id": 1}]) == _core.RawPage(b'{"e": [{"id": 1}]}', "e")
    assert page_of([{"id": 1}]) != page_of([{"id": 2}])
    assert page_of([{"id": 1}]) != page_of([{"id": 1}, {"id": 1}])
    assert page_of([]) != [] and page_of([]) == page_of([])


def test_pages_one_after_the_other() -> None:
    first = _core.RawPage(b'{"e": [{"id": 1}, {"id" :\n 2, "x": "\xc3\xa4"}]}', "e", "id")
    second = page_of([{"id": 3}])
    second[0]["more"] = 1
    joined = _core.RawPage.joined([first, page_of([]), second.take([0]), second])
    assert list(joined.copies()) == [{"id": 1}, {"id": 2, "x": "ä"}, {"id": 3, "more": 1}, {"id": 3, "more": 1}]
    assert _core.pointer_path("id").pointers(joined) == ["1", "2", "3", "3"]
    assert joined.kind == "list" and joined.envelope() == []
    assert list(_core.RawPage.joined([])) == []


def test_copies_may_be_changed() -> None:
    page = page_of([{"id": [1]}, {"id": [2]}])
    page[1]["id"].append(3)
    for copied in page.copies():
        copied["id"].append("x")
    assert list(page) == [{"id": [1]}, {"id": [2, 3]}]


def test_what_is_no_object() -> None:
    assert page_of([{}, [], 1]).stranger == "list"
    assert page_of([{}, "x", 1]).stranger == "str"
    with pytest.raises(DataFormatException, match="Entry 1"):
        _core.encode(page_of([{}, "x"]), None)


# --- what is written ---


def test_the_bytes_of_the_source_are_kept() -> None:
    entry = b'{"b": 1.50, "a" : "\\u0041\\/", "n": 123456789012345678901234567890, "a": 1E2 , "f":{ }}'
    page = _core.RawPage(b"[" + entry + b",\n" + entry.replace(b", ", b",\r\n") + b"]")
    lines = _core.encode(page, {"by": "us"}).data.splitlines()
    assert lines[0] == entry[:-1] + b',"_grove":{"by":"us"}}'
    assert lines[1] == entry.replace(b", ", b",")[:-1] + b',"_grove":{"by":"us"}}'


@pytest.mark.parametrize("entry", [b"{}", b"{ }", b"{\n}"])
def test_empty_objects(entry: bytes) -> None:
    page = _core.RawPage(b"[" + entry + b"]")
    encoded = _core.encode(page, {"by": "us"})
    assert encoded.data == b'{"_grove":{"by":"us"}}\n' and encoded.hash(0) == _core.hash_entry({})
    assert _core.encode(page, None).data == b"{}\n"


@pytest.mark.parametrize("name", ['"_grove"', '"\\u005fgrove"', '"_\\u0067rove"'])
def test_a_grove_of_their_own_is_merged(name: str) -> None:
    page = _core.RawPage(f'[{{"id": 1, {name}: {{"own": 2, "by": "them"}}}}]'.encode())
    assert json.loads(_core.encode(page, {"by": "us"}).data) == {"id": 1, "_grove": {"own": 2, "by": "us"}}


@pytest.mark.parametrize(
    "text",
    ["NaN", "-Infinity", "1e999", '"\\ud800"', '"\\udc00\\ud800"', "9" * 30, "18446744073709551616", "-0", "-0.0"],
)
def test_hashes_are_those_of_decoded_entries(text: str) -> None:
    body = f'[{{"id": 1, "x": {text}}}]'.encode()
    for codec in (None, GZIP):
        encoded = _core.encode(_core.RawPage(body), {"by": "us"}, codec)
        assert encoded.hash(0) == _core.hash_entry(json.loads(body)[0])
        encoded.shrink()
        assert encoded.hash(0) == _core.hash_entry(json.loads(body)[0])


def test_bytes_that_are_no_text_are_replaced() -> None:
    page = _core.RawPage(b'[{"id": 1, "x": "a\xff\xc3"}, {"id": 2}]')
    assert page.odd and page[0]["x"] == "a\ufffd\ufffd"
    assert json.loads(_core.encode(page, None).data.splitlines()[0]) == {"id": 1, "x": "a\ufffd\ufffd"}


def test_what_was_changed_is_written_and_what_was_looked_at_stays_as_it_was() -> None:
    entry = b'{"id": 1.50, "b": "\\u0041"}'
    page = _core.RawPage(b"[" + b",".join([entry] * 4) + b"]", "", "id")
    assert page[0]["id"] == page[1]["id"] == 1.5
    page[1]["id"] = 2
    page[3]["b"] = 1.5
    page[3]["b"] = "A"
    encoded = _core.encode(page, None, GZIP)
    assert encoded.data.splitlines() == [entry, b'{"id":2,"b":"A"}', entry, entry]
    assert [encoded.hash(index) for index in range(4)] == [_core.hash_entry(entry) for entry in page]
    page[0]["id"] = 7
    assert encoded.hash(0) == _core.hash_entry({"id": 1.5, "b": "A"})
    assert _core.pointer_path("id").pointers(page) == ["7", "2", "1.5", "1.5"]


@pytest.mark.parametrize("size", [10, 5_000, 300_000])
def test_compressed_while_they_are_made(size: int) -> None:
    choose = random.Random(size)
    entries = [{"id": number, "x": "y" * choose.randrange(size)} for number in range(300_000 // size + 20)]
    page = page_of(entries)
    plain, packed = _core.encode(page, {"by": "us"}), _core.encode(page, {"by": "us"}, GZIP)
    assert packed.packed is not None and gzip.decompress(packed.packed) == plain.data == packed.data
    assert _core.encode(entries, {"by": "us"}, GZIP).data == _core.encode(entries, {"by": "us"}).data
    for index in (0, len(entries) // 2, len(entries) - 1):
        assert packed.hash(index) == plain.hash(index) == _core.hash_entry(entries[index])


class Broken:
    """A codec whose compressor fails."""

    def compressor(self) -> Broken:
        return self

    def compress(self, data: memoryview, /) -> bytes:
        raise OSError("no")

    def flush(self) -> bytes:
        raise OSError("no")

    def decompress(self, data: bytes, /) -> bytes:
        raise OSError("no")


@pytest.mark.parametrize("page", [page_of([{"id": 1}]), [{"id": 1}], page_of([])], ids=["text", "list", "empty"])
def test_a_codec_that_fails(page: Any) -> None:
    with pytest.raises(OSError, match="no"):
        _core.encode(page, None, Broken())


# --- what was seen ---


def test_text_that_was_delivered_is_known() -> None:
    entries = [{"id": number // 3, "n": number} for number in range(30)]
    path = _core.pointer_path("id")
    page = page_of(entries)
    for again in (
        page_of(entries),
        _core.RawPage(orjson.dumps(entries)),
        page_of([dict(reversed(e.items())) for e in entries]),
    ):
        seen = _core.Seen()
        seen.remember(path.pointers(page), _core.encode(page, {"by": "us"}, GZIP))
        assert seen.unseen(again, path.pointers(again)) == []
        other = page_of([*entries[5:7], {"id": 2, "n": 100}])
        assert seen.unseen(other, path.pointers(other)) == [2]
        assert seen.hashes("4") == {_core.hash_entry(entry) for entry in entries[12:15]}


def test_what_was_changed_is_not_known() -> None:
    path, seen = _core.pointer_path("id"), _core.Seen()
    page = page_of([{"id": 1, "a": 1}])
    seen.remember(path.pointers(page), _core.encode(page, None))
    again = page_of([{"id": 1, "a": 1}])
    assert seen.unseen(again, path.pointers(again)) == []
    again[0]["a"] = 2
    assert seen.unseen(again, path.pointers(again)) == [0]
    assert seen.unseen(again, path.pointers(again), lambda entry: "h") == [0]


@pytest.mark.parametrize("text", ["-" + "9" * 5000, "[1, " + "9" * 5000 + "]"])
def test_an_integer_of_more_digits_than_python_reads_is_its_text(text: str) -> None:
    page = _core.RawPage(f'[{{"id": {text}}}]'.encode(), "", "id")
    with pytest.raises(ValueError, match="integer string conversion"):
        json.loads(text)
    expected = text if text.startswith("-") else [1, "9" * 5000]
    assert list(page.copies()) == [{"id": expected}]
    assert _core.pointer_path("id").pointers(page) == [str(expected)]


def test_a_pointer_too_deep_for_a_text_is_none() -> None:
    body = b'[{"id": ' + b"[" * 700 + b"]" * 700 + b"}]"
    entries, page = json.loads(body), _core.RawPage(body, "", "id")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        assert _core.pointer_path("id").pointers(page) == _core.pointer_path("id").pointers(entries) == [None]
    finally:
        sys.setrecursionlimit(limit)


def test_what_nobody_could_read_is_its_text() -> None:
    entry = b'{"id": 1, "deep": ' + b"[" * 900 + b"NaN" + b"]" * 900 + b"}"
    page = _core.RawPage(b"[" + entry + b"]", "", "id")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(800)
    try:
        assert list(page.copies()) == [entry.decode()]
    finally:
        sys.setrecursionlimit(limit)
    assert _core.pointer_path("id").pointers(page) == ["1"]
