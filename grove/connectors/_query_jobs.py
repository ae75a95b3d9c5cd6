"""Sources that are asked in SQL: they are sent a statement, work on it, and give the rows in parts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from grove.connectors.rest import RestConnector, Source
from grove.connectors.rest.paging import Page, Request, Walk
from grove.exceptions import RequestFailedException
from grove.http import Client, Response
from grove.http.origin import shown

__all__ = ["Part", "QueryJobConnector"]

# Seconds between two questions whether a statement is done: twice as long each time.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a result as entries, and the request for the next ones; None after the last."""

    entries: list[Any]
    following: Request | None = None


class QueryJobConnector(RestConnector):
    """Collects the rows of one statement, which `SOURCE` declares as the body of its request."""

    PATIENCE = 900.0
    """Seconds for which a statement is waited for."""

    _asked: Set[bytes] = frozenset()

    @abstractmethod
    def unfinished(self, request: Request, response: Response) -> Request | None:
        """Where to ask again for what is not done yet; None where it is."""

    @abstractmethod
    def part(self, request: Request, response: Response) -> Part:
        """The rows that were asked for."""

    def _fetch(self, source: Source, walk: Walk, client: Client, request: Request) -> Page:
        response = _answer(client, request)
        waited, pause = 0.0, _FIRST_PAUSE
        while (again := self.unfinished(request, response)) is not None:
            if waited >= self.PATIENCE:
                raise RequestFailedException(
                    f"{shown(request.url)} has not finished a statement within {self.PATIENCE:g} seconds."
                )
            self.wait(pause)
            waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)
            response = _answer(client, again)
        part = self.part(request, response)
        entries, following = part.entries, part.following
        if self.past is not None:
            entries = self._of_the_past(self.past, entries)
        self._asked = {*(self._asked if request is not walk.start else ()), request.fingerprint()}
        loops = following is not None and following.fingerprint() in self._asked
        return Page(entries, None if loops else following, loops=loops, size=len(response.body))


def _answer(client: Client, request: Request) -> Response:
    return client.request(
        request.method, request.url, params=request.params, headers=request.headers, json=request.body
    )
