"""Bodies of responses, whole and damaged, and what the standard json module makes of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from grove import _core
from grove.exceptions import DataFormatException

DEEPEST = 1000
PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b" ", b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *(b"\\ud800", b"\\u", b"NaN", b"-Infinity", b"null", b"1e999", b"-0", b"0" * 20, b"9" * 25, b"\xef\xbb\xbf"),
    *(b'"_grove":1,', b'"id":2,'),
]
INTEGERS = [0, -1, 10**18, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30]
WORDS = ["", "id", "_grove", "a", "ä", "\u2028", "😀", '"', "\\", "/", "\n", "x" * 40, "\x7f", "\ud800", "id.id"]


def document(choose: random.Random, depth: int = 4) -> Any:
    """Any value, of what texts can say."""
    kind = choose.randrange(12 if depth else 8)
    if kind < 3:
        return choose.choice(WORDS) + choose.choice(WORDS)
    if kind == 3:
        return choose.choice(
            [0, -1, 10**18, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30, choose.getrandbits(40)]
        )
    if kind == 4:
        return choose.choice([0.5, -0.0, 1e300, 1e-320, float("inf"), float("nan"), choose.random()])
    if kind < 8:
        return choose.choice([None, True, False, ""])
    if kind < 10:
        return [document(choose, depth - 1) for _ in range(choose.randrange(4))]
    return {choose.choice(WORDS): document(choose, depth - 1) for _ in range(choose.randrange(5))}


def _members(choose: random.Random) -> dict[str, Any]:
    return {choose.choice(WORDS): document(choose, 3) for _ in range(choose.randrange(6))}


def body(choose: random.Random) -> tuple[bytes, str]:
    """A page of entries as a source may write it, and where the list is."""
    entries = [document(choose) for _ in range(choose.randrange(6))]
    entries += [{"id": document(choose, 1), **_members(choose)} for _ in range(choose.randrange(4))]
    names = [choose.choice(["entries", "data", "ä b", "_"]) for _ in range(choose.randrange(3))]
    whole: Any = entries
    for name in reversed(names):
        around = {choose.choice(WORDS): document(choose, 2) for _ in range(choose.randrange(3))}
        whole = {**around, name: whole, **({choose.choice(WORDS): 1} if choose.random() < 0.5 else {})}
    style = choose.choice([{}, {"indent": choose.randrange(3)}, {"separators": (",", ":")}])
    text = json.dumps(whole, ensure_ascii=choose.random() < 0.5, **style)
    return text.encode("utf-8", "surrogatepass"), ".".join(f'"{name}"' for name in names)


def damaged(choose: random.Random, data: bytes) -> bytes:
    """`data` with something of it changed, removed or added."""
    for _ in range(choose.choice([1, 1, 1, 2, 5])):
        at = choose.randrange(len(data) + 1)
        match choose.randrange(5):
            case 0:
                data = data[:at] + bytes([choose.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[at + choose.randrange(1, 9) :]
            case 2:
                data = data[:at] + choose.choice(PIECES) + data[at:]
            case 3:
                data = data[:at] + data[choose.randrange(len(data) + 1) :]
            case _:
                data = data[:at]
    return data


def standard(data: bytes) -> Any:
    """What the standard module reads, where bytes that are no text are replaced. ValueError."""
    try:
        return json.loads(data.decode(json.detect_encoding(data), "replace"))
    except RecursionError as err:
        raise ValueError("too deep") from err


def depth_of(text: bytes) -> int:
    """How deeply a text is nested, at the most."""
    deepest = depth = 0
    inside = escaped = False
    for byte in text:
        if inside:
            inside, escaped = byte != 34 or escaped, byte == 92 and not escaped
        elif byte == 34:
            inside = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def names_of(path: str) -> Iterator[str]:
    return (json.loads(f'"{name}"') for name in path.strip('"').split('"."')) if path else iter(())


def found_at(whole: Any, path: str) -> Any:
    """The value at `path`, which has quoted names."""
    for name in names_of(path):
        whole = whole.get(name) if isinstance(whole, dict) else None
    return whole


def check(data: bytes, path: str) -> bool:
    """Whether a page can be read; AssertionError where that differs from what the standard module says of it."""
    try:
        whole = standard(data)
    except ValueError as err:
        whole = err
    try:
        page = _core.RawPage(data, path, "id")
    except DataFormatException as err:
        too_deep = "nested too deeply" in str(err) and depth_of(data) > DEEPEST
        assert isinstance(whole, ValueError) or too_deep, (err, data, path)
        return False
    if isinstance(whole, ValueError) and ("integer string conversion" in str(whole) or "too deep" in str(whole)):
        # The standard module has limits of its own.
        return True
    assert not isinstance(whole, ValueError), (whole, data, path)
    listed = found_at(whole, path)
    entries = [entry for entry in listed if entry is not None] if isinstance(listed, list) else []
    assert repr(list(page.copies())) == repr(entries), (data, path)
    assert (page.kind == "list") == isinstance(listed, list), (data, path)
    expected = _core.pointer_path("id").pointers(entries)
    assert _core.pointer_path("id").pointers(page) == expected, (data, path)
    assert _core.pointer_path('a."id"').pointers(page) == _core.pointer_path('a."id"').pointers(entries), (data, path)
    check_lines(page, entries)
    return True


def check_lines(page: _core.RawPage, entries: list[Any]) -> None:
    """What is written of the entries that are objects is what the entries say, and they hash the same."""
    objects = [index for index, entry in enumerate(entries) if isinstance(entry, dict)]
    encoded = _core.encode(page.take(objects), {"by": "us"})
    lines = encoded.data.splitlines(keepends=True)
    assert encoded.count == len(objects) and encoded.data.count(b"\n") == len(objects)
    assert b"".join(lines) == encoded.data
    for place, index in enumerate(objects):
        assert encoded.hash(place) == _core.hash_entry(entries[index])
    for line, expected in zip(encoded.data.split(b"\n"), (entries[index] for index in objects), strict=False):
        read = standard(line)
        own = expected.get("_grove")
        around = own if isinstance(own, dict) else {} if "_grove" not in expected else {"original": own}
        without = {key: value for key, value in expected.items() if key != "_grove"}
        assert _plain(read.pop("_grove")) == _plain({**around, "by": "us"})
        assert _plain(read) == _plain(without)


def _plain(value: Any) -> str:
    """Equal for what is the same once it is written: NaN and the infinities may have become their names."""
    return (
        json.dumps(value, sort_keys=True)
        .replace('"NaN"', "NaN")
        .replace('"Infinity"', "Infinity")
        .replace('"-Infinity"', "-Infinity")
    )
