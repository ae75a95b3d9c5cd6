"""What is known, against a model that hashes everything at once; and what the bounded memory of a run forgets."""

import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grove import _core
from grove.exceptions import DataFormatException
from tests import reference
from tests.strategies import json_values, wild_values

# Few pointers and few entries, so that they meet.
pointers = st.sampled_from(["1", "2", "3", "2025-03-04T10:11:12Z", "\ud800", None])
small_entries = st.fixed_dictionaries(
    {"id": st.integers(0, 3)}, optional={"x": st.sampled_from([1, 1.0, True, "1", float("nan"), {"_": 1}, None])}
) | st.sampled_from([{}, {"_grove": 1}, {"_grove": {"id": 1}}, {"id": 1, "x": 2**70}, {"x": 1, "id": 0}, {1: 1}])
hashes = st.lists(small_entries.map(reference.hash_entry), max_size=3)
legacy = st.lists(small_entries.map(reference.legacy_hash), max_size=2)
# Pages whose pointers can be compared, so that some lie apart, some touch, and some overlap.
ranges = st.builds(
    lambda start, steps, entries: [(str(start + step), entry) for step, entry in zip(steps, entries, strict=False)],
    st.integers(0, 8),
    st.lists(st.integers(0, 2), max_size=6),
    st.lists(small_entries, max_size=6),
)
pages = st.lists(st.tuples(pointers, small_entries), max_size=6) | ranges
steps = st.one_of(
    st.tuples(st.just("add"), pointers.filter(bool), hashes),
    st.tuples(st.just("legacy"), pointers.filter(bool), legacy),
    st.tuples(st.just("anywhere"), hashes),
    st.tuples(st.just("remember"), pages),
    st.tuples(st.just("remember_hashes"), pages),
    st.tuples(st.just("unseen"), pages),
    st.tuples(st.just("unseen"), pages),
    st.tuples(st.just("save"), pages),
)


@settings(max_examples=400)
@given(st.lists(steps, max_size=12))
def test_seen_is_that_of_the_model(script: list[Any]) -> None:
    seen, model = _core.Seen(), reference.Seen()
    for name, *rest in script:
        page = rest[0] if name not in ("add", "legacy", "anywhere") else []
        texts, entries = [pair[0] for pair in page], [pair[1] for pair in page]
        if name in ("add", "legacy"):
            seen.add(*rest, legacy=name == "legacy")
            model.add(*rest, legacy=name == "legacy")
        elif name == "anywhere":
            seen.add_anywhere(*rest)
            model.add_anywhere(*rest)
        elif name == "remember":
            seen.remember(texts, _core.encode(entries, {"c": "x"}))
            model.remember(texts, entries)
        elif name == "remember_hashes":
            seen.remember_hashes(texts, [_core.hash_entry(entry) for entry in entries])
            model.remember(texts, entries)
        else:
            fresh = seen.unseen(entries, texts)
            assert fresh == model.unseen(entries, texts)
            if name == "save":
                texts, entries = [texts[index] for index in fresh], [entries[index] for index in fresh]
                seen.remember(texts, _core.encode(entries, None))
                model.remember(texts, entries)
                assert seen.unseen(entries, texts) == []
        for text in ("1", "2", "5"):
            assert seen.hashes(text) == model.hashes(text)


@given(pages, pages)
def test_a_hasher_stands_in(first: list[Any], second: list[Any]) -> None:
    def hasher(entry: Any) -> str:
        return str(entry.get("id"))

    seen = _core.Seen()
    seen.remember_hashes([text for text, _ in first], [hasher(entry) for _, entry in first])
    known = {(text, hasher(entry)) for text, entry in first}
    fresh = seen.unseen([entry for _, entry in second], [text for text, _ in second], hasher)
    assert fresh == [i for i, (text, entry) in enumerate(second) if (text, hasher(entry)) not in known]


def test_a_line_that_reads_the_same_is_not_the_same_entry() -> None:
    entries = [{"a": float("nan")}, {1: 1}, {"_grove": 1}]
    seen = _core.Seen()
    seen.remember(["p", "q", "r"], _core.encode(entries, {"c": 1}))
    assert seen.unseen([{"a": "NaN"}, {"1": 1}, {}], ["p", "q", "r"]) == [0, 2]
    assert seen.unseen(entries, ["p", "q", "r"]) == []


def test_entries_with_new_pointers_are_not_hashed() -> None:
    seen = _core.Seen()
    seen.add("1", [_core.hash_entry({"id": 1})])
    seen.remember(["2"], _core.encode([{"id": 2}], None))
    seen.add_anywhere(["0" * 32])
    hashed = []

    def hasher(entry: Any) -> str:
        hashed.append(entry["id"])
        return _core.hash_entry(entry)

    assert seen.unseen([{"id": n} for n in (1, 2, 3, 4)], ["1", "2", "3", "4"], hasher) == [2, 3]
    assert hashed == [1, 2]


def test_equal_entries_of_one_page_are_kept_and_then_known() -> None:
    seen = _core.Seen()
    entries, texts = [{"id": 1}, {"id": 1}], ["1", "1"]
    assert seen.unseen(entries, texts) == [0, 1]
    seen.remember(texts, _core.encode(entries, None))
    assert seen.unseen(entries, texts) == []


def test_hashes_of_old_deployments_are_honoured_and_replaced() -> None:
    entry = {"id": 1, "text": "é", "list": [1, 2]}
    old = hashlib.md5(json.dumps(entry, separators=(",", ":")).encode(), usedforsecurity=False).hexdigest()
    seen = _core.Seen()
    seen.add("1", [old], legacy=True)
    assert seen.hashes("1") == set()
    assert seen.unseen([entry, {"id": 2}], ["1", "1"]) == [1]
    assert seen.hashes("1") == {_core.hash_entry(entry)}
    assert seen.unseen([dict(reversed(entry.items()))], ["1"]) == []


@pytest.mark.parametrize("entry", [{(1, 2): 1}, {"a": {b"k": 1}}])
def test_entries_that_could_not_be_hashed_then_are_new(entry: Any) -> None:
    seen = _core.Seen()
    seen.add("1", ["0" * 32], legacy=True)
    assert seen.unseen([entry], ["1"]) == [0]


def test_a_page_that_comes_again_in_another_order_of_keys() -> None:
    entries = [{"id": n, "name": f"n{n}", "none": None} for n in range(50)]
    texts = [str(n // 3) for n in range(50)]
    seen = _core.Seen()
    seen.remember(texts, _core.encode(entries, {"c": "x"}))
    turned = [dict(reversed(entry.items())) for entry in entries]
    assert seen.unseen(turned, texts) == []
    assert seen.unseen(entries[::-1], texts[::-1]) == []
    assert seen.unseen([{**entry, "new": 1} for entry in entries], texts) == list(range(50))


def test_more_than_a_block_of_new_entries() -> None:
    entries = [{"id": n} for n in range(5_000)]
    texts = [str(n) for n in range(5_000)]
    seen = _core.Seen()
    assert seen.unseen(entries, texts) == list(range(5_000))
    seen.remember(texts[4_500:], _core.encode(entries[4_500:], None))
    assert seen.unseen(entries, texts) == list(range(4_500))


def page_of(number: int, size: int = 100) -> tuple[list[str], list[Any]]:
    return [f"{number}-{n}" for n in range(size)], [{"page": number, "n": n} for n in range(size)]


def test_old_pages_are_forgotten_by_halves_and_recent_ones_never() -> None:
    texts, entries = page_of(0)
    # Room for about ten pages.
    seen = _core.Seen(10 * (len(_core.encode(entries, None).data) + 160 * len(entries)))
    for number in range(100):
        texts, entries = page_of(number)
        assert seen.unseen(entries, texts) == list(range(100))
        seen.remember(texts, _core.encode(entries, None))
        for recent in range(max(0, number - 4), number + 1):
            texts, entries = page_of(recent)
            assert seen.unseen(entries, texts) == []
        for old in range(0, number - 10):
            texts, entries = page_of(old)
            assert seen.hashes(texts[0]) == set()


def test_pages_that_nothing_came_near_are_forgotten_like_others() -> None:
    entries = [{"n": n, "text": "x" * 100} for n in range(10)]
    seen = _core.Seen(8 * (len(_core.encode(entries, None).data) + 1_600))
    for number in range(60):
        texts = [str(1_000_000 * number + n) for n in range(10)]
        assert seen.unseen(entries, texts) == list(range(10))
        seen.remember(texts, _core.encode(entries, None))
    known = [bool(seen.hashes(str(1_000_000 * number))) for number in range(60)]
    assert known[-4:] == [True] * 4
    assert not any(known[:-8])
    assert seen.unseen(entries, [str(n) for n in range(10)]) == list(range(10))


def test_what_was_added_is_never_forgotten() -> None:
    seen = _core.Seen(1_000)
    digest = _core.hash_entry({"boundary": 1})
    seen.add("0-0", [digest])
    for number in range(20):
        texts, entries = page_of(number)
        seen.remember([*texts, "0-0"], _core.encode([*entries, {"tie": number}], None))
    assert seen.unseen([{"boundary": 1}, {"tie": 0}, {"tie": 19}], ["0-0"] * 3) == [1]


@pytest.mark.parametrize("pointer", ["x", "5", "2025-03-04"])
def test_what_was_added_outlives_the_page_that_shared_its_pointer(pointer: str) -> None:
    seen = _core.Seen(1_000)
    seen.add(pointer, [_core.hash_entry({"boundary": 1})])
    seen.remember([pointer], _core.encode([{"tie": 1}], None))
    assert seen.unseen([{"boundary": 1}, {"tie": 1}], [pointer] * 2) == []
    for number in range(20):
        texts, entries = page_of(number)
        seen.remember(texts, _core.encode(entries, None))
    assert seen.unseen([{"boundary": 1}, {"tie": 1}], [pointer] * 2) == [1]
    assert seen.hashes(pointer) == {_core.hash_entry({"boundary": 1})}


@pytest.mark.parametrize("step", [1, 7, 9, 10, -7, -9, -10, 0])
def test_forgetting_works_whichever_way_the_pointers_go(step: int) -> None:
    """Pages of 10 integers that overlap, touch or lie apart; the last three are always known, the first ones not."""
    sizes = [{"n": n, "text": "x" * 100} for n in range(10)]
    seen = _core.Seen(8 * (len(_core.encode(sizes, None).data) + 1_600))
    history: list[tuple[list[str], list[Any]]] = []
    for number in range(60):
        texts = [str(1_000 + step * number + n) for n in range(10)]
        entries = [{"page": number, "n": n, "text": "x" * 100} for n in range(10)]
        assert seen.unseen(entries, texts) == list(range(10))
        seen.remember(texts, _core.encode(entries, None))
        history.append((texts, entries))
        for texts, entries in history[-3:]:
            assert seen.unseen(entries, texts) == []
            assert seen.hashes(texts[0]) >= {_core.hash_entry(entries[0])}
    for texts, entries in history[:40]:
        assert seen.unseen(entries, texts) == list(range(10))


def test_one_pointer_for_every_entry() -> None:
    rng = random.Random(7)
    seen, model = _core.Seen(), reference.Seen()
    for _ in range(20):
        entries = [{"n": rng.randrange(300)} for _ in range(60)]
        texts: list[str | None] = ["2025-03-04"] * 60
        fresh = seen.unseen(entries, texts)
        assert fresh == model.unseen(entries, texts)
        kept = [entries[index] for index in fresh]
        seen.remember(texts[: len(kept)], _core.encode(kept, None))
        model.remember(texts[: len(kept)], kept)
    assert seen.hashes("2025-03-04") == model.hashes("2025-03-04")


def test_lists_of_different_length_are_refused() -> None:
    seen = _core.Seen()
    page = _core.encode([{}], None)
    for call in (
        lambda: seen.unseen([{}], []),
        lambda: seen.remember([], page),
        lambda: seen.remember_hashes(["1"], []),
        lambda: _core.group_hashes([{}], []),
        lambda: _core.dedup_by_pointer([{}], [], "1", True, None),
    ):
        with pytest.raises(ValueError, match="1"):
            call()


def test_pages_with_pointers_of_other_types_are_refused_whole() -> None:
    seen = _core.Seen()
    with pytest.raises(TypeError, match="list"):
        seen.remember_hashes(["1", []], ["a", "b"])  # type: ignore[list-item]
    assert seen.hashes("1") == set()
    assert seen.unseen([{}], ["1"]) == [0]


def test_an_entry_that_contains_itself() -> None:
    entry: dict[str, Any] = {}
    entry["self"] = [entry]
    seen = _core.Seen()
    seen.add("1", ["0" * 32])
    with pytest.raises(DataFormatException, match="contains itself"):
        seen.unseen([entry], ["1"])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(pointers, small_entries | json_values | wild_values), max_size=8),
    st.sampled_from(["1", "2", "4"]),
    st.booleans(),
    st.none() | hashes.map(set),
)
def test_dedup_by_pointer_is_that_of_the_reference(
    page: list[Any], pointer: str, newest_first: bool, known: set[str] | None
) -> None:
    texts, entries = [pair[0] for pair in page], [pair[1] for pair in page]
    found = _core.dedup_by_pointer(entries, texts, pointer, newest_first, known)
    expected = reference.dedup_by_pointer(entries, texts, pointer, newest_first, known)
    assert [id(entry) for entry in found] == [id(entry) for entry in expected]
    if pointer not in texts:
        assert found is entries
    hasher = _core.dedup_by_pointer(entries, texts, pointer, newest_first, known and set(), reference.hash_entry)
    assert len(hasher) >= len(found)


@pytest.mark.parametrize(
    ("newest_first", "known", "kept"),
    [(False, None, [4]), (True, None, [0]), (False, {2}, [1, 4]), (True, {1}, [0, 2]), (False, {1, 2}, [4])],
)
def test_dedup_by_pointer(newest_first: bool, known: set[int] | None, kept: list[int]) -> None:
    entries = [{"n": n} for n in range(5)]
    texts: list[str | None] = ["a", "p", "p", "b", "c"]
    if not newest_first:
        texts[3] = "a"
    digests = None if known is None else {_core.hash_entry(entries[n]) for n in known}
    found = _core.dedup_by_pointer(entries, texts, "p", newest_first, digests)
    expected = kept if newest_first else sorted({*kept, 3})
    assert [entry["n"] for entry in found] == expected
