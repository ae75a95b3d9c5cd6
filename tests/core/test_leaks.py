"""R7: no function of the core keeps, or gives away, a reference that is not its own."""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from grove import _core
from grove.helpers.codecs import GZIP
from tests.strategies import Colour, Mapping, Pair, Text

CALLS = 10_000
NAMES = ("valid", "error", "subclass", "slow")


class Unwilling:
    """An object that has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def leaf(kind: str) -> Any:
    """Something new for an entry to hold, whose references can be counted."""
    if kind == "valid":
        return ["text", {"inner": (1.5, None)}]
    if kind == "error":
        return Unwilling()
    if kind == "subclass":
        return Mapping(a=[Text("t"), Pair(1, Colour.RED), {1, 2}])
    return {"nan": float("nan"), 5: 2**70, "\ud800": ["\ud800"]}


def cyclic() -> dict[str, Any]:
    entry: dict[str, Any] = {}
    entry["self"] = [entry]
    return entry


def seen_call(entry: Any) -> None:
    seen = _core.Seen(2_000)
    seen.add("p", {"0" * 32})
    seen.add("p", {"1" * 32}, legacy=True)
    seen.add_anywhere(["2" * 32])
    page = _core.encode([entry, entry], {"c": 1})
    seen.remember(["p", None], page)
    seen.remember_hashes(["p"], ["3" * 32])
    seen.unseen([entry, entry], ["p", "q"])
    seen.unseen([entry], [None], lambda item: "4" * 32)
    seen.hashes("p")


def refused(call: Callable[[], Any]) -> None:
    """A call that has to raise."""
    try:
        call()
    except Exception:
        return
    raise AssertionError("this had to raise")


PATH, FUNCTION = _core.pointer_path("a.b"), _core.pointer_path("length(a)")
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "canonical": _core.canonical,
    "hash_entry": _core.hash_entry,
    "copy_entry": _core.copy_entry,
    "encode": lambda entry: _core.encode([entry, {}, entry], {"c": entry["a"]}).hash(0),
    "encode own metadata": lambda entry: _core.encode([{"_grove": entry}], {"c": 1}).data,
    "encode error": lambda entry: refused(lambda: _core.encode([entry, 1], None)),
    "hash error": lambda entry: refused(lambda: _core.encode([entry], None).hash(7)),
    "cycle": lambda entry: refused(lambda: _core.canonical([entry, cyclic()])),
    "copy cycle": lambda entry: refused(lambda: _core.copy_entry([entry, cyclic()])),
    "pointers": lambda entry: (PATH.pointers([entry, None]), FUNCTION.pointers([entry, {}])),
    "search": lambda entry: PATH.search(entry),
    "pointer path": lambda entry: refused(lambda: _core.PointerPath("a b")),
    "group_hashes": lambda entry: _core.group_hashes([entry, entry], ["p", None]),
    "dedup_by_pointer": lambda entry: _core.dedup_by_pointer([entry, entry], ["p", "q"], "p", False, {"x"}),
    "seen": seen_call,
    "seen error": lambda entry: refused(lambda: _core.Seen().unseen([entry], [])),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_references_to_entries_are_balanced(name: str, kind: str) -> None:
    call, inner = FUNCTIONS[name], leaf(kind)
    entry = {"a": inner, "b": [inner], "null": None}
    watched = [entry, inner, entry["b"], "null", None]
    call(entry)
    gc.collect()
    before = [sys.getrefcount(item) for item in watched]
    for _ in range(CALLS // 20):
        call(entry)
    gc.collect()
    after = [sys.getrefcount(item) for item in watched]
    # The interpreter itself holds None here and there.
    assert after[:-1] == before[:-1]
    assert abs(after[-1] - before[-1]) < CALLS // 40


@pytest.mark.parametrize(
    "call",
    [
        lambda text: _core.rank(text),
        lambda text: _core.order([text, "2025-03-05T10:11:12Z"]),
        lambda text: _core.order([text, "x"]),
        lambda text: _core.order(["9" * 30, text]),
        lambda text: _core.pointer_path("a").pointers([{"a": text}]),
        lambda text: _core.pointer_path(f'"{text}"'),
        lambda text: _core.Seen().add(text, [text]),
    ],
)
def test_references_to_texts_are_balanced(call: Callable[[str], Any]) -> None:
    text = "".join(["2025-03-04T", "10:11:12.123Z"])  # nobody else's
    call(text)
    before = sys.getrefcount(text)
    for _ in range(CALLS):
        call(text)
    gc.collect()
    assert sys.getrefcount(text) == before


def test_memory_does_not_grow() -> None:
    def page(number: int) -> None:
        entries = [{"id": f"{number}-{n}", "n": n, "x": [float("nan")] if n == 3 else None} for n in range(20)]
        pointers = _core.pointer_path("id").pointers(entries)
        _core.order(pointers)
        seen.unseen(entries, pointers)
        encoded = _core.encode(entries, {"c": 1}, GZIP)
        seen.remember(pointers, encoded)
        seen.unseen(entries, pointers)
        encoded.shrink()

    seen = _core.Seen(20_000)
    for number in range(200):
        page(number)
    tracemalloc.start()
    try:
        for number in range(200):
            page(number)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1_000):
            page(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 64 * 1024
    finally:
        tracemalloc.stop()
