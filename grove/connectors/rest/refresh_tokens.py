"""Refresh tokens that a vendor replaces each time they are used: the newest one is kept for every later run."""

from __future__ import annotations

import json

from blake3 import blake3

from grove.caches import BaseCache, Key
from grove.exceptions import NotFoundException
from grove.state import REFRESH_TOKEN

__all__ = ["RefreshTokens"]


class RefreshTokens:
    """What the cache holds in place of the refresh token that a document was `configured` with.

    It is found by a hash of that token, keyed by `client`, what it is used with: all streams of one set of credentials
    go on with the same one, wherever they run, and another token in the document begins anew. Errors are the cache's.
    """

    def __init__(self, cache: BaseCache, configured: str, *client: str) -> None:
        self._cache = cache
        key = blake3(json.dumps(client).encode()).digest()
        self._key = Key(f"{REFRESH_TOKEN}.{blake3(configured.encode(), key=key).hexdigest()[:32]}", "all")

    def kept(self) -> str | None:
        """The newest one; None where the configured one still is."""
        try:
            return self._cache.get(*self._key)
        except NotFoundException:
            return None

    def keep(self, token: str) -> None:
        """Store `token`, durably."""
        self._cache.set(*self._key, token)
