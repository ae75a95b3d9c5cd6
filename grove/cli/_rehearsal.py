"""Collecting without consequences: state is read and never written, and what would be delivered is only counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from grove.caches import BaseCache, Batch, Key
from grove.caches._native import NativeCache
from grove.caches.local_memory import Handler as MemoryCache
from grove.constants import CACHE_KEY_LOCK, PLUGIN_GROUP_CACHE
from grove.exceptions import ConflictError
from grove.helpers import plugin
from grove.outputs import BaseOutput
from grove.runtime import Handlers, Settings, open_cache
from grove.state import LEASE, PENDING, REFRESH_TOKEN

__all__ = ["Nowhere", "Tally", "rehearsal"]

# Who is at work on a stream is no concern of a rehearsal, and what a dead run left half done is not for it to finish.
_UNSEEN = frozenset({CACHE_KEY_LOCK, LEASE, PENDING})
# A vendor that has replaced a refresh token takes the old one no longer, whatever it was used for.
_LASTING = frozenset({REFRESH_TOKEN})


class _Above(NativeCache):
    """What `cache` holds, and on top of it the changes of this process, which are gone with it.

    What has to last goes into the cache that `lasting` opens. Where everything begins `afresh`, that is also all that
    is seen of what the cache holds.
    """

    SCOPE: ClassVar[str] = "process"

    def __init__(self, cache: BaseCache, lasting: Callable[[], BaseCache], afresh: bool) -> None:
        self._cache = cache
        self._afresh = afresh
        self._lasting = lasting
        self._changes: dict[Key, str | None] = {}
        self._lock = threading.RLock()

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`; those below in one snapshot."""
        with self._lock:
            below = [key for key in keys if key not in self._changes and self._sees(key)]
            found = dict(zip(below, self._cache.read(below), strict=True))
            return [self._changes[key] if key in self._changes else found.get(key) for key in keys]

    def _sees(self, key: Key) -> bool:
        kind = key.pk.partition(".")[0]
        return kind in _LASTING if self._afresh else kind not in _UNSEEN

    def apply(self, batch: Batch) -> None:
        """All of `batch`, or ConflictError."""
        with self._lock:
            for key, value in zip(batch.requires, self.read(list(batch.requires)), strict=True):
                if value != batch.requires[key]:
                    raise ConflictError(f"{key.pk} ({key.sk}) is not what it was; nothing was changed.")
            through = Batch()
            through.changes = {
                key: value for key, value in batch.changes.items() if key.pk.partition(".")[0] in _LASTING
            }
            if through.changes:
                self._lasting().apply(through)
            self._changes.update(batch.changes)


@dataclass(slots=True)
class Tally:
    """How many entries would have come, and the first and the last of them."""

    entries: int = 0
    first: Any = None
    last: Any = None


class Nowhere(BaseOutput):
    """Keeps count of what it gets, by the name of the document and the descriptor, and nothing else of it."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._tallies: dict[tuple[str, str], Tally] = {}

    def pack(self, ndjson: bytes) -> bytes:
        """The lines as they are."""
        return ndjson

    def submit(
        self,
        data: bytes,
        connector: str,
        identity: str,
        operation: str,
        part: int = 0,
        kind: str = ".json.gz",
        descriptor: str = "",
        name: str | None = None,
    ) -> None:
        """Count the entries in `data`."""
        lines = [line for line in data.split(b"\n") if line.strip()]
        with self._lock:
            tally = self._tallies.setdefault((name or "", descriptor), Tally())
            if tally.entries == 0:
                tally.first = json.loads(lines[0])
            tally.last = json.loads(lines[-1])
            tally.entries += len(lines)

    def tally(self, name: str, descriptor: str) -> Tally:
        """What the document `name` has brought to `descriptor`."""
        with self._lock:
            return self._tallies.get((name, descriptor), Tally())


def rehearsal(settings: Settings, *, afresh: bool = False) -> tuple[Handlers, Nowhere]:
    """Handlers that change nothing, and their output. Errors are the cache's.

    Streams start from the state as it is, or `afresh`, as if they had never been collected.
    """
    stored: BaseCache = plugin.load_handler(settings.cache, PLUGIN_GROUP_CACHE)
    output = Nowhere()
    if stored.directory is not None and not stored.directory.exists():
        # To open it would make it.
        empty = MemoryCache()
        empty._data = {}
        cache = _Above(empty, lambda: open_cache(settings), afresh)
    else:
        stored.setup()
        cache = _Above(stored, lambda: stored, afresh)
    return Handlers(settings, cache, output), output
