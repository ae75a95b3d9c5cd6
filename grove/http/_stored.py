"""Credentials from a secret store, which may have been replaced there since they were fetched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from grove.exceptions import RequestFailedException
from grove.http.client import Auth

__all__ = ["Stored"]

_T = TypeVar("_T")

# What a token endpoint answers to a client or a grant that it does not know (RFC 6749, 5.2), and some with 403.
_REFUSALS = frozenset({400, 401, 403})


class Stored(Auth):
    """`auth`, until the vendor refuses it; then, once, what `fetch` makes of what the store has by now.

    `fetch` returns None where that is nothing new. Safe for threads.
    """

    def __init__(self, auth: Auth, fetch: Callable[[], Auth | None]) -> None:
        self._auth = auth
        self._fetch: Callable[[], Auth | None] | None = fetch
        self._lock = threading.Lock()

    def apply(self, headers: dict[str, str], stop: threading.Event | None = None) -> None:
        """Add the credentials; where a token endpoint refuses what it is asked with, the new ones, if there are any."""
        self._asked(lambda auth: auth.apply(headers, stop))

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Whether the store has other credentials, or the ones at hand can do something about it themselves."""
        auth = self._auth
        return self._replaced(auth) or self._auth.renew(refused)

    def base_url(self, stop: threading.Event | None = None) -> str | None:
        """What the credentials say; of new ones where a token endpoint refuses the others, as in `apply`."""
        return self._asked(lambda auth: auth.base_url(stop))

    def _asked(self, ask: Callable[[Auth], _T]) -> _T:
        auth = self._auth
        try:
            return ask(auth)
        except RequestFailedException as err:
            if err.status not in _REFUSALS or not self._replaced(auth):
                raise
        return ask(self._auth)

    def _replaced(self, refused: Auth) -> bool:
        """Whether there are others than the `refused` ones now."""
        with self._lock:
            if self._auth is not refused:
                return True
            fetch, self._fetch = self._fetch, None
            fresh = fetch() if fetch is not None else None
            if fresh is not None:
                self._auth = fresh
            return fresh is not None
