"""Moments: how vendors write them, what a pointer says, and which spans a run asks for.

A moment is an integer here, nanoseconds since 1970 in UTC, so that none is rounded on its way. Formats: "iso",
"iso_ms" and "iso_us" (RFC 3339 with whole seconds, milliseconds, microseconds, and Z), "epoch", "epoch_ms" and
"epoch_us" (integers since 1970), "date" (YYYY-MM-DD), or what `strftime` takes, in UTC.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from grove import _core

__all__ = ["Span", "check_format", "is_exact", "moment_of", "nanoseconds", "spans", "written", "written_up"]

SECOND = 10**9
# From a microsecond to a day.
_STEPS = (10**3, 10**6, SECOND, 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGERS = {"epoch": SECOND, "epoch_ms": 10**6, "epoch_us": 10**3}
# The pattern, and how many of strftime's six digits of a second are too many.
_TEXTS = {
    "iso": ("%Y-%m-%dT%H:%M:%S", 0, "Z"),
    "iso_ms": ("%Y-%m-%dT%H:%M:%S.%f", 3, "Z"),
    "iso_us": ("%Y-%m-%dT%H:%M:%S.%f", 0, "Z"),
    "date": ("%Y-%m-%d", 0, ""),
}
_INTEGER, _INSTANT, _DAY = 1, 2, 3
_UNITS = ((10**11, SECOND), (10**14, 10**6), (10**17, 10**3))

Span = tuple[int | None, int]
"""From when (None: from the beginning) until when to ask."""


def check_format(name: str) -> str:
    """`name` itself; ValueError where it is no format."""
    if name not in _INTEGERS and name not in _TEXTS and "%" not in name:
        known = ", ".join((*_INTEGERS, *_TEXTS))
        raise ValueError(f"{name!r} is no format of time; use {known}, or a pattern like %Y/%m/%d")
    return name


def written(moment: int, form: str) -> str | int:
    """`moment` in a format, rounded down to what that can say."""
    if form in _INTEGERS:
        return moment // _INTEGERS[form]
    pattern, cut, end = _TEXTS.get(form, (form, 0, ""))
    text = (_EPOCH + timedelta(microseconds=moment // 1000)).strftime(pattern)
    return f"{text[:-cut] if cut else text}{end}"


def written_up(moment: int, form: str) -> str | int:
    """`moment` in a format, rounded up to what that can say."""
    below = written(moment, form)
    if is_exact(moment, form):
        return below
    above = (written(moment + step, form) for step in _STEPS)
    return next((text for text in above if text != below), below)


def is_exact(moment: int, form: str) -> bool:
    """Whether a format says `moment` without rounding it."""
    if form in _INTEGERS:
        return moment % _INTEGERS[form] == 0
    pattern, _, end = _TEXTS.get(form, (form, 0, ""))
    try:
        read = datetime.strptime(str(written(moment, form)), pattern + end)
    except ValueError:
        return False
    return nanoseconds(read.replace(tzinfo=UTC)) == moment


def nanoseconds(moment: datetime) -> int:
    """An aware datetime as a moment."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def moment_of(pointer: str) -> int | None:
    """The moment that a pointer says; None where it is opaque.

    An integer is taken as seconds, milliseconds, microseconds or nanoseconds since 1970 by its size.
    """
    place = _core.rank(pointer)
    if place is None:
        return None
    kind, value = place
    if kind == _INSTANT:
        return value
    if kind == _DAY:
        return value * 86_400 * SECOND
    return value * next((unit for limit, unit in _UNITS if abs(value) < limit), 1)


def spans(since: int | None, until: int, longest: float | None, *, newest_first: bool) -> Iterator[Span]:
    """What to ask for, one after the other, where no more than `longest` seconds may be asked for at once."""
    if since is None or longest is None:
        yield since, until
        return
    step = max(int(longest * SECOND), SECOND)
    edges = [*range(since, until, step), until]
    pairs = list(itertools.pairwise(edges)) or [(since, until)]
    yield from reversed(pairs) if newest_first else pairs
