"""Documents from the edges of JSON: whatever the standard `json` module takes is encoded and hashed without loss.

20,000 more documents are generated from a seed that is printed.
"""

import json
import math
import os
import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from grove import _core
from tests import reference
from tests.core.documents import INVALID, OPEN, VALID

DOCUMENTS = [
    *[("valid", text) for text in VALID],
    *[("open", text) for text in OPEN],
    *[("invalid", text) for text in INVALID],
]


@pytest.fixture(autouse=True)
def deep_recursion() -> Iterator[None]:
    """The twin is recursive, and some documents are as deep as the interpreter allows."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    yield
    sys.setrecursionlimit(limit)


def check(value: Any, metadata: dict[str, Any] | None) -> None:
    """Everything that has to hold for a value that `json.loads` returned."""
    entry = value if isinstance(value, dict) else {"value": value}
    page = _core.encode([entry], metadata)
    digest = _core.hash_entry(entry)
    assert page.hash(0) == digest
    assert digest == reference.hash_entry(entry)
    assert _core.canonical(entry) == reference.canonical(entry)
    assert page.data == reference.encode([entry], metadata)
    assert _core.canonical(_core.copy_entry(entry)) == _core.canonical(entry)
    if metadata is None:
        read = json.loads(page.data, parse_constant=pytest.fail)
        assert repr(read) == repr(json.loads(json.dumps(entry), parse_constant=str))


@pytest.mark.parametrize(("label", "text"), DOCUMENTS, ids=lambda value: repr(value)[:50])
def test_what_the_standard_module_takes_is_encoded_and_hashed(label: str, text: bytes) -> None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        assert label != "valid"
        # Sources put such texts into strings, as they came.
        value = text.decode("utf-8", "surrogateescape")
    else:
        assert label != "invalid"
    for metadata in (None, {"connector": "x"}):
        check(value, metadata)


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(DOCUMENTS) == len({text for _, text in DOCUMENTS}) >= 250
    assert min(len(VALID), len(OPEN), len(INVALID)) >= 50


def test_different_documents_have_different_hashes() -> None:
    found: dict[str, set[str]] = {}
    for _, text in DOCUMENTS:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if len(text) < 1_000:
            # sort_keys: the order of keys makes no difference; a pair of escaped halves is its character.
            found.setdefault(_core.hash_entry(value), set()).add(json.dumps(value, sort_keys=True))
    assert len(found) > 150
    assert [texts for texts in found.values() if len(texts) > 1] == []


# --- generated documents ---

KEYS = ["id", "a", "actor", "_grove", "published", "é", "", "a!", 'q"', "\u2028", "\ud800", "n\n", "1", "10", "NaN"]
TEXTS = ["", "x", "null", "NaN", "\x00", "\x7f", "é", "😀", "\ud83d", "\udc00x", "\u2028", '"', "\\", "/", "a" * 70]
INTEGERS = [0, -1, 2**53, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40]
FLOATS = [0.0, -0.0, 1.0, 0.1, 1e16, 1e-7, 1e22, 5e-324, 1.7976931348623157e308, math.nan, math.inf, -math.inf]


def generated(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(10 if depth < 5 else 6)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice(INTEGERS + FLOATS)
    if kind == 2:
        return rng.randrange(-(2 ** rng.randrange(1, 80)), 2 ** rng.randrange(1, 80))
    if kind == 3:
        return rng.uniform(-1, 1) * 10 ** rng.randrange(-12, 25)
    if kind == 4:
        return rng.choice(TEXTS) + rng.choice(TEXTS)
    if kind == 5:
        return "".join(chr(rng.randrange(2 ** rng.choice([7, 8, 16, 20]))) for _ in range(rng.randrange(6)))
    if kind < 8:
        return [generated(rng, depth + 1) for _ in range(rng.randrange(5))]
    return generated_entry(rng, depth + 1)


def generated_entry(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    return {rng.choice(KEYS) + rng.choice(["", "x"]): generated(rng, depth) for _ in range(rng.randrange(6))}


def check_generated(count: int) -> None:
    seed = int(os.environ.get("CORPUS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"CORPUS_SEED={seed}")
    rng = random.Random(seed)
    forms: dict[str, bytes] = {}
    for number in range(count):
        entry = generated_entry(rng)
        # As it would arrive: two escaped halves of a pair have become their character.
        entry = json.loads(json.dumps(entry))
        check(entry, None if number % 2 else {"connector": "x", "runtime": {"id": number}})
        if number < 100_000:
            form = reference.canonical(entry)
            assert forms.setdefault(_core.hash_entry(entry), form) == form
    assert len(set(forms.values())) == len(forms) > min(count, 100_000) // 2


def test_generated_documents() -> None:
    check_generated(20_000)


@pytest.mark.long
def test_many_generated_documents() -> None:
    check_generated(1_000_000)
