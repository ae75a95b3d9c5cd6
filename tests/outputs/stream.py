"""A stream through the real engine into an output that misbehaves: what was offered is known, and what has arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from grove.caches.local_memory import Handler as MemoryCache
from tests.reliability.truth import CONTEXT, Newest, Oldest, Source, document


class Stream:
    """Collects `source` into `output`; `arrived` gives the ids of all entries that are there, repeated ones too."""

    def __init__(self, output: Any, arrived: Callable[[], list[int]], *, newest_first: bool = False) -> None:
        self.source = Source(page_size=2)
        self.output = output
        self.newest_first = newest_first
        self._arrived = arrived
        self._cache = MemoryCache()
        self._cache._data = {}
        self._cache.setup()

    def run(self) -> str:
        """One run; how it ended: succeeded or failed."""
        connector = (Newest if self.newest_first else Oldest)(
            document(), CONTEXT, cache=self._cache, output=self.output
        )
        connector.source = self.source
        connector.run()
        return connector.outcome

    def until_quiet(self, limit: int = 8) -> None:
        """Run, as often as it takes, until a run succeeds and delivers nothing."""
        for _ in range(limit):
            before = len(self._arrived())
            if self.run() == "succeeded" and len(self._arrived()) == before:
                return
        raise AssertionError(f"the stream is not quiet after {limit} runs")

    def goes_on(self) -> int:
        """Collect to the end what there is, and what comes later. How many entries were repeated; none is lost."""
        self.source.tie(1)
        self.source.arrive([1])
        self.until_quiet()
        assert self.lost() == []
        return self.repeated()

    def lost(self) -> list[int]:
        """Ids of the entries that were offered and have not arrived."""
        return sorted({number for _, number in self.source.entries} - set(self._arrived()))

    def repeated(self) -> int:
        """How many entries have arrived more than once, counting each repetition."""
        return sum(count - 1 for count in Counter(self._arrived()).values())
