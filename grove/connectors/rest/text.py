"""Entries that stay the text they came in, where nothing has to be known of them but their pointers."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from grove._core import RawPage
from grove.connectors.rest.paging import Entries
from grove.connectors.rest.source import Source

__all__ = ["reads_as_text", "taken"]

_NAME = re.compile(r"\w+")


def taken(entries: Entries, indexes: Sequence[int]) -> Entries:
    """Some of the entries, in the form in which they are."""
    return entries.take(indexes) if isinstance(entries, RawPage) else [entries[index] for index in indexes]


def reads_as_text(source: Source) -> bool:
    """Whether all that `source` declares can be done without decoding its entries."""
    wants = (source.keep, source.follow_up, source.select, source.unique)
    if source.snapshot or any(want is not None for want in wants) or not _is_plain(source.entries):
        return False
    paging = source.paging
    outside = [source.error, getattr(paging, "more", None), getattr(paging, "total", None)]
    if paging.type in ("token", "link"):
        outside.append(getattr(paging, "path", None))
    return not any(_mentions(expression, source.entries) for expression in outside if expression is not None)


@functools.lru_cache(maxsize=1024)
def _is_plain(path: str) -> bool:
    try:
        RawPage(b"null", path)
    except ValueError:
        return False
    return True


def _mentions(expression: str, path: str) -> bool:
    """Whether a JMESPath expression may look at the entries, which lie at `path`."""
    names = _NAME.findall(path)
    return not names or names[-1] in _NAME.findall(expression)
