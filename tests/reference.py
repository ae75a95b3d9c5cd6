"""The core once more, in the plainest Python that is right: what `grove._core` is compared with.

Slow, recursive, and without a line in common with the core, so that one mistake is not made twice.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import Any

import jmespath
import orjson
from blake3 import blake3

from grove.exceptions import DataFormatException

Hasher = Callable[[Any], str]

# --- JSON ---


def set_text(value: set[Any] | frozenset[Any]) -> str:
    if {type(item) for item in value} in ({str}, {int}):
        texts = [repr(item) for item in sorted(value)]
    else:
        texts = sorted(set_text(item) if isinstance(item, frozenset) else repr(item) for item in value)
    inner = ", ".join(texts)
    if type(value) is set and inner:
        return "{" + inner + "}"
    return f"{type(value).__name__}({{{inner}}})" if inner else f"{type(value).__name__}()"


def text_of(value: Any) -> str:
    try:
        text = set_text(value) if isinstance(value, (set, frozenset)) else str(value)
    except Exception:
        return f"<{type(value).__module__}.{type(value).__qualname__}>"
    return "".join(text)


def odd_float(value: float) -> str:
    return json.dumps(value)


def number(value: int) -> str:
    text = ""
    rest = abs(value)
    while rest >= 10**600:
        rest, low = divmod(rest, 10**600)
        text = str(low).rjust(600, "0") + text
    return ("-" if value < 0 else "") + str(rest) + text


def string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def key_text(key: Any) -> str:
    if isinstance(key, str):
        return "".join(key)
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    if isinstance(key, int):
        return number(key)
    if isinstance(key, float):
        return json.dumps(key)
    return text_of(key)


def json_text(value: Any, sort: bool, around: tuple[int, ...] = ()) -> str:
    """JSON as a str; lone surrogates are still themselves. `sort`: the canonical form."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return string("".join(value))
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return odd_float(value) if sort else string(odd_float(value))
        return orjson.dumps(float.__pos__(value)).decode()
    if not isinstance(value, (dict, list, tuple)):
        return string(text_of(value))
    if id(value) in around:
        raise DataFormatException("cycle")
    around = (*around, id(value))
    if not isinstance(value, dict):
        return "[" + ",".join(json_text(item, sort, around) for item in value) + "]"
    members = [(key_text(key), json_text(item, sort, around)) for key, item in value.items()]
    if sort:
        members.sort(key=lambda member: [utf8(part) for part in member])
    return "{" + ",".join(f"{string(key)}:{item}" for key, item in members) + "}"


def utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def escaped(text: str) -> bytes:
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def canonical(entry: Any) -> bytes:
    return escaped(json_text(entry, sort=True))


def hash_entry(entry: Any) -> str:
    return blake3(canonical(entry)).digest()[:16].hex()


def encode(entries: list[Any], metadata: dict[str, Any] | None) -> bytes:
    lines = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise DataFormatException("no object")
        line = dict(entry.items())
        if metadata is not None:
            ours: dict[Any, Any] = {}
            if "_grove" in line:
                own = line.pop("_grove")
                ours = dict(own) if isinstance(own, dict) else {"original": own}
            line["_grove"] = {key: value for key, value in ours.items() if key not in metadata} | metadata
        lines.append(escaped(json_text(line, sort=False)) + b"\n")
    return b"".join(lines)


# --- pointers ---


def pointers(expression: str, entries: list[Any]) -> list[str | None]:
    compiled = jmespath.compile(expression)
    found: list[str | None] = []
    for entry in entries:
        try:
            value = compiled.search(entry)
            found.append(None if value is None else str(value) or None)
        except Exception:
            found.append(None)
    return found


_INTEGER = re.compile(r"-?[0-9]+")
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r"(?: ?([Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)
_EMAIL = re.compile(
    r"(?:[A-Za-z]{3}, ?)?([0-9]{1,2}) ([A-Za-z]{3}) ([1-9][0-9]{3}) ([0-9]{2}):([0-9]{2})(?::([0-9]{2}))? "
    r"([+-][0-9]{4}|UT|UTC|GMT|Z|[ECMP][SD]T)"
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_ZONES = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def offset(zone: str | None) -> int:
    """Seconds east of UTC; ValueError if that is no zone."""
    if not zone or zone[0] not in "+-":
        return _ZONES.get(zone or "", 0) * 3600
    digits = zone[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(zone)
    return (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)


def instant(day: date, hour: int, minute: int, second: int, fraction: str, zone: str | None) -> int:
    if second > 60:
        raise ValueError(second)
    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
    seconds = (moment - _EPOCH) // timedelta(seconds=1) + second - offset(zone)
    return seconds * 10**9 + int(fraction[:9].ljust(9, "0"))


def rank(pointer: str) -> tuple[int, int] | None:
    if _INTEGER.fullmatch(pointer):
        return (1, int(pointer)) if len(pointer.lstrip("-")) <= 640 else None
    try:
        if match := _ISO.fullmatch(pointer):
            day = date(int(match[1]), int(match[2]), int(match[3]))
            if match[4] is None:
                return (3, day.toordinal() - date(1970, 1, 1).toordinal())
            seconds = int(match[6] or 0)
            return (2, instant(day, int(match[4]), int(match[5]), seconds, match[7] or "", match[8]))
        if match := _EMAIL.fullmatch(pointer):
            day = date(int(match[3]), _MONTHS.index(match[2].lower()) + 1, int(match[1]))
            return (2, instant(day, int(match[4]), int(match[5]), int(match[6] or 0), "", match[7]))
    except ValueError:
        return None
    return None


def order(texts: list[Any]) -> tuple[int, str, str, int, int, bool, bool] | None:
    """kind, low, high, their ranks, ascending, descending."""
    texts = [text for text in texts if text is not None]
    ranks = [rank(text) if isinstance(text, str) else None for text in texts]
    found = [pair for pair in ranks if pair is not None]
    if not found or len(found) < len(texts) or len({kind for kind, _ in found}) > 1:
        return None
    values = [value for _, value in found]
    steps = list(pairwise(values))
    return (
        found[0][0],
        texts[values.index(min(values))],
        texts[values.index(max(values))],
        min(values),
        max(values),
        all(left <= right for left, right in steps),
        all(left >= right for left, right in steps),
    )


# --- what is known ---


def legacy_hash(entry: Any) -> str | None:
    try:
        text = json.dumps(entry, separators=(",", ":"), default=str)
    except (TypeError, ValueError):
        return None
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class Seen:
    """Everything is hashed at once, and nothing is ever dropped."""

    def __init__(self) -> None:
        self.known: set[tuple[str | None, str]] = set()
        self.legacy: set[tuple[str | None, str | None]] = set()
        self.anywhere: set[str] = set()

    def add(self, pointer: str | None, hashes: list[str], legacy: bool = False) -> None:
        (self.legacy if legacy else self.known).update((pointer, digest) for digest in hashes)  # type: ignore[attr-defined]

    def add_anywhere(self, hashes: list[str]) -> None:
        self.anywhere.update(hashes)

    def remember(self, texts: list[str | None], entries: list[Any]) -> None:
        self.known.update((text, hash_entry(entry)) for text, entry in zip(texts, entries, strict=True))

    def hashes(self, pointer: str | None) -> set[str]:
        return {digest for known, digest in self.known if known == pointer}

    def unseen(self, entries: list[Any], texts: list[str | None]) -> list[int]:
        met = {pointer for pointer, _ in self.known | self.legacy} | {None}
        fresh = []
        for index, (entry, text) in enumerate(zip(entries, texts, strict=True)):
            digest = hash_entry(entry)
            if (text, digest) in self.known or (text in met and digest in self.anywhere):
                continue
            if (text, legacy_hash(entry)) in self.legacy:
                self.known.add((text, digest))
            else:
                fresh.append(index)
        return fresh


def dedup_by_pointer(
    entries: list[Any], texts: list[Any], pointer: str, newest_first: bool, known: set[str] | None
) -> list[Any]:
    if pointer not in texts:
        return entries
    places = [index for index, text in enumerate(texts) if text == pointer]
    beyond = range(places[0]) if newest_first else range(places[-1] + 1, len(entries))
    fresh_ties = [i for i in places if known is not None and hash_entry(entries[i]) not in known]
    return [entries[index] for index in sorted({*beyond, *fresh_ties})]


def group_hashes(entries: list[Any], texts: list[Any]) -> dict[str, set[str]]:
    return {
        text: {hash_entry(entry) for entry, other in zip(entries, texts, strict=True) if other == text}
        for text in texts
        if text is not None
    }
