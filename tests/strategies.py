"""Hypothesis strategies for what sources return: JSON, what SDKs return in its place, and pointers."""

import enum
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st


class Text(str):
    """A str that is not exactly one."""


class Number(int):
    """An int that is not exactly one."""


class Real(float):
    """A float that is not exactly one."""


class Mapping(dict):  # type: ignore[type-arg]
    """A dict that is not exactly one."""


class Sequence(list):  # type: ignore[type-arg]
    """A list that is not exactly one."""


class Colour(enum.Enum):
    RED = "red"
    NONE = None
    ODD = float("nan")
    BOTH = ("a", 1)
    EXACT = Decimal("1.10")


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2**70


class Mode(enum.StrEnum):
    ON = "on"


@dataclass(frozen=True)
class Record:
    name: str
    size: int


Pair = namedtuple("Pair", ("left", "right"))

any_text = st.text(st.characters(exclude_categories=[]), max_size=12)
plain_text = st.text(max_size=12) | st.sampled_from(["null", "NaN", "Infinity", "_grove", "a", "id", "\u2028\x85"])
integers = (
    st.integers() | st.integers(-(2**66), 2**66) | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**700])
)
json_leaves = st.none() | st.booleans() | integers | st.floats() | plain_text | any_text


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


json_keys = plain_text | any_text
# What `json.loads` can return.
json_values = nested(json_leaves, json_keys)
json_entries = st.dictionaries(json_keys, json_values, max_size=6)

_hashable = (
    st.integers()
    | st.floats()
    | plain_text
    | st.none()
    | st.booleans()
    | st.binary(max_size=4)
    | st.tuples(st.integers(), plain_text)
    | st.frozensets(st.integers(0, 20), max_size=4)
)
foreign_leaves = st.one_of(
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.binary(max_size=6),
    st.sets(plain_text, max_size=5),
    st.sets(st.integers(), max_size=5),
    st.sets(_hashable, max_size=4),
    st.frozensets(_hashable, max_size=4),
    st.fractions(),
    st.complex_numbers(),
    st.sampled_from([*Colour, *Level, *Mode, Ellipsis, int, range(3)]),
    st.builds(Record, plain_text, st.integers()),
    any_text.map(Text),
    integers.map(Number),
    st.floats().map(Real),
)
foreign_keys = (
    json_keys
    | st.integers(-2, 3)
    | st.floats()
    | st.booleans()
    | st.none()
    | st.uuids()
    | st.dates()
    | st.tuples(st.integers(0, 2))
    | st.sampled_from([*Colour, *Level, *Mode, "1", "true", "null", "1.0", Text("a"), Number(1)])
)


def _foreign(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=3)
    dicts = st.dictionaries(foreign_keys, inner, max_size=4)
    return st.one_of(
        lists,
        dicts,
        lists.map(tuple),
        lists.map(Sequence),
        dicts.map(Mapping),
        dicts.map(OrderedDict),
        st.builds(Pair, inner, inner),
    )


# What an SDK may put in place of JSON.
wild_values = st.recursive(json_leaves | foreign_leaves, _foreign, max_leaves=12)
wild_entries = st.dictionaries(foreign_keys, wild_values, max_size=5)
entries = json_entries | wild_entries

metadata = st.none() | st.dictionaries(st.sampled_from(["connector", "identity", "original", "a"]), json_values)

_days = st.one_of(
    st.dates().map(str),
    st.sampled_from(["2024-02-29", "2023-02-29", "1900-02-29", "2000-02-29", "0000-01-01", "0001-01-01"]),
    st.sampled_from(["9999-12-31", "2025-13-01", "2025-00-10", "2025-04-31", "2025-4-1", "20250401"]),
)
_clocks = st.one_of(
    st.times().map(str),
    st.times().map(lambda value: value.isoformat("seconds")),
    st.times().map(lambda value: value.isoformat("minutes")),
    st.sampled_from(["24:00:00", "23:59:60", "23:59:61", "10:60:00", "10:00:00.", "10:00:00,5", "1:00:00"]),
    st.text("0123456789", min_size=1, max_size=12).map(lambda digits: f"10:11:12.{digits}"),
)
# The forms in which vendors write where a clock stands, and some that nobody should.
ZONES = ["", "Z", "z", "+00:00", "-00:00", "+0000", "+00", "+01:00", "-0530", "+14", "UTC", " UTC", "GMT", " +0200"]
_odd_zones = ["  Z", " ", "+1", "+24:00", "+01:60", "CEST", "+01:0", "-", "Zulu", "+010", "+01:000"]
iso_texts = st.builds(
    lambda day, separator, clock, zone: day + separator + clock + zone,
    _days,
    st.sampled_from("TTT t_"),
    _clocks,
    st.sampled_from(ZONES) | st.sampled_from(ZONES + _odd_zones),
)
email_texts = st.builds(
    lambda week, day, month, year, clock, zone: f"{week}{day} {month} {year} {clock} {zone}",
    st.sampled_from(["", "Tue, ", "Tue,", "Xyz, ", "Tuesday, "]),
    st.sampled_from(["4", "04", "31", "0", "004"]),
    st.sampled_from(["Mar", "Feb", "dec", "Foo", "March"]),
    st.sampled_from(["2025", "1970", "25", "0025", "9999"]),
    st.sampled_from(["10:11:12", "10:11", "24:00:00", "10:11:60", "10:11:61", "9:00:00"]),
    st.sampled_from(["+0000", "-0000", "GMT", "UT", "UTC", "Z", "EST", "PDT", "CEST", "+0530", "+2400", "+0060", ""]),
)
integer_texts = st.integers().map(str) | st.integers(-(2**80), 2**80).map(str) | st.text("-0123456789", max_size=21)
day_texts = _days


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A text in which one character was dropped, doubled or replaced."""
    text = draw(texts)
    if not text:
        return text
    place = draw(st.integers(0, len(text) - 1))
    middle = draw(st.sampled_from(["", text[place] * 2, " ", "-", ":", "5", "\u0663", "\x00", "T"]))
    return text[:place] + middle + text[place + 1 :]


_good_texts = iso_texts | email_texts | integer_texts | day_texts
pointer_texts = _good_texts | damaged(_good_texts) | any_text
# Pages: of one kind, as sources give them, and mixed.
pointer_lists = st.one_of(
    st.lists(iso_texts, max_size=8),
    st.lists(integer_texts, max_size=8),
    st.lists(st.integers().map(str), max_size=8),
    st.lists(st.integers(2**62, 2**66).map(str), max_size=8),
    st.lists(st.datetimes().map(lambda moment: moment.isoformat() + "Z"), max_size=8),
    st.lists(st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z")).map(sorted),
    st.lists(st.dates().map(str), max_size=8),
    st.lists(email_texts, max_size=5),
    st.lists(pointer_texts, max_size=5),
)
