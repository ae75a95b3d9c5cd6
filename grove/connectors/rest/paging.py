"""From one page to the next: which request follows an answer, and whether any does."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jmespath
from blake3 import blake3

from grove._core import RawPage
from grove.connectors.rest.source import Keyset, Link, Offset, PageNumber, Paging, Seek, Single, Token
from grove.connectors.rest.times import Span, moment_of
from grove.exceptions import RequestFailedException
from grove.http import Response, next_link
from grove.http.origin import shown

__all__ = ["MAX_EMPTY_PAGES", "MAX_PAGES", "Entries", "Page", "Request", "Walk", "search"]

Entries = list[Any] | RawPage
"""The entries of an answer, in its order: as objects, or still as text."""

MAX_EMPTY_PAGES = 100
"""How many pages in a row may bring nothing, empty or the same as the one before, before it counts as an error."""

MAX_PAGES = 1_000_000
"""How many pages one query may have before its API counts as going round in circles, in a way that nobody sees."""


@functools.lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def search(expression: str, data: Any) -> Any:
    """What JMESPath finds in `data`; None also where the expression does not fit what is there."""
    try:
        return _compiled(expression).search(data)
    except jmespath.exceptions.JMESPathError:
        return None


@dataclass(frozen=True, slots=True)
class Request:
    """One request for a page. `params` are the query, `body` is sent as JSON."""

    method: str
    url: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self) -> bytes:
        """Bytes that two requests share only if they are the same."""
        text = json.dumps([self.method, self.url, self.params, self.body], sort_keys=True, default=str)
        return blake3(text.encode("utf-8", "surrogatepass")).digest(16)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its entries, the request for the next page, and where a later run may go on.

    `loops` says that the next page would be one that was asked for before. `size` is what was sent for it, in bytes.
    """

    entries: Entries
    following: Request | None = None
    cursor: str | None = None
    loops: bool = False
    size: int = 0


class Walk:
    """Goes through the pages of one query for `span`, beginning with `first`, or at the `cursor` of an earlier run.

    `later_url` is the address of later pages where the paging has one of its own. `asked_from` makes the request that
    asks from a moment on (see `grove.connectors.rest.times`), which seeking needs.
    """

    def __init__(
        self,
        paging: Paging,
        first: Request,
        span: Span,
        later_url: str | None = None,
        cursor: str | None = None,
        asked_from: Callable[[int], Request] | None = None,
    ) -> None:
        self.span = span
        self._paging = paging
        self._later_url = later_url
        self._asked_from = asked_from
        self._base = first
        self._count = 0
        self._number = paging.start if isinstance(paging, PageNumber | Seek) else 0
        self._empty = 0
        self._last: Entries = []
        self._asked: set[bytes] = set()
        self.resumed = cursor is not None
        self.start = first if cursor is None else self._at(cursor)
        if isinstance(paging, Offset | PageNumber):
            self.start = self._counted(first, paging)
        if isinstance(paging, Seek):
            self.start = self._base = self._sized(first, paging)

    def page(self, request: Request, response: Response, data: Any, entries: Entries) -> Page:
        """What `request` was answered with: `data` is the JSON, `entries` those it had.

        RequestFailedException where there were too many pages, or too many in a row that bring nothing.
        """
        self._asked.add(request.fingerprint())
        self._count += len(entries)
        self._empty = 0 if entries and entries != self._last else self._empty + 1
        self._last = entries
        following, cursor = self._following(request, response, data, entries)
        if following is None or (not entries and self._ends_when_empty()):
            return Page(entries, None, cursor)
        if following.fingerprint() in self._asked:
            ends = isinstance(self._paging, Link) and self._paging.repeat_ends
            # Where the next run goes on from a cursor, it asks for this page again.
            return Page([] if self._resumes else entries, None, loops=not ends)
        if self._empty > MAX_EMPTY_PAGES:
            what = "pages in a row that were the same" if entries else "empty pages in a row"
            raise RequestFailedException(f"{shown(request.url)} gave {self._empty} {what}, and promises more.")
        if len(self._asked) >= MAX_PAGES:
            raise RequestFailedException(
                f"{shown(request.url)} gave {MAX_PAGES:,} pages, and promises more; it may go round in circles."
            )
        return Page(entries, following, cursor)

    @property
    def _resumes(self) -> bool:
        return isinstance(self._paging, Token) and self._paging.resume

    def _ends_when_empty(self) -> bool:
        return isinstance(self._paging, Single | Offset | PageNumber | Keyset | Seek) or self._paging.empty_ends

    def _following(
        self, request: Request, response: Response, data: Any, entries: Entries
    ) -> tuple[Request | None, str | None]:
        paging = self._paging
        if isinstance(paging, Single):
            return None, None
        over = paging.more is not None and not search(paging.more, data)
        if isinstance(paging, Token):
            token = search(paging.path, data)
            if token is None or token == "" or token is False:
                return None, None
            kept = str(token) if paging.resume else None
            return (None if over else self._at(token)), kept
        if over:
            return None, None
        if isinstance(paging, Link):
            link = search(paging.path, data) if paging.path is not None else response.links().get("next")
            if not link:
                return None, None
            following = replace(request, url=next_link(response.url, str(link)), params={})
            return following, None
        if isinstance(paging, Keyset):
            if not entries and paging.more is not None:
                raise RequestFailedException(
                    f"{shown(request.url)} gave an empty page and promises more, which only an entry could lead to."
                )
            last = search(paging.path, entries[-1]) if entries else None
            return (None if last is None else self._with(paging, last)), None
        if isinstance(paging, Seek):
            return self._sought(paging, request, entries), None
        total = search(paging.total, data) if paging.total is not None else None
        short = paging.short_ends and len(entries) < paging.size
        if short or (isinstance(total, int) and self._count >= total):
            return None, None
        self._number += 1
        return self._counted(self._base, paging), None

    def _at(self, token: Any) -> Request:
        paging = self._paging
        assert isinstance(paging, Token)
        base = self._base
        if paging.alone:
            base = replace(base, params={}, body={} if base.body is not None else None)
        if self._later_url is not None:
            base = replace(base, url=self._later_url)
        return _placed(base, paging.into, paging.param, token)

    def _with(self, paging: Keyset, last: Any) -> Request:
        return _placed(self._base, paging.into, paging.param, last)

    def _counted(self, base: Request, paging: Offset | PageNumber) -> Request:
        place = self._count if isinstance(paging, Offset) else self._number
        return self._sized(_placed(base, paging.into, paging.param, place), paging)

    def _sized(self, request: Request, paging: Offset | PageNumber | Seek) -> Request:
        if paging.size_param is None:
            return request
        return _placed(request, paging.into, paging.size_param, paging.size)

    def _sought(self, paging: Seek, request: Request, entries: Entries) -> Request | None:
        assert self._asked_from is not None
        if len(entries) < paging.size:
            return None
        time = search(paging.path, entries[-1])
        moment = None if time is None else moment_of(str(time))
        if moment is None:
            raise RequestFailedException(
                f"The last entry of a page of {shown(request.url)} has no time at {paging.path!r} to go on from."
            )
        base = self._sized(self._asked_from(moment), paging)
        if base != self._base:
            self._base, self._number = base, paging.start
        elif paging.param is not None:
            self._number += 1
            return _placed(base, paging.into, paging.param, self._number)
        return base


def _placed(request: Request, into: str | None, name: str, value: Any) -> Request:
    """`request` with a value in its query, or at a dotted place in its body."""
    into = into or ("body" if request.method == "POST" else "query")
    if into == "query":
        return replace(request, params={**request.params, name: value})
    return replace(request, body=_set(request.body if isinstance(request.body, dict) else {}, name.split("."), value))


def _set(body: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    name, *rest = path
    inner = body.get(name)
    return {**body, name: _set(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}
