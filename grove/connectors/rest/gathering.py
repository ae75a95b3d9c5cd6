"""Small pages that are saved as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from grove._core import RawPage
from grove.connectors.rest.paging import Entries, Page
from grove.connectors.rest.text import taken
from grove.helpers import clock

__all__ = ["MOST_BYTES", "MOST_SECONDS", "Gathering"]

MOST_BYTES = 4 * 1024 * 1024
"""Of answers whose entries are saved together."""

MOST_SECONDS = 1.0
"""For which a page waits for the next one, before it is saved without it."""


class Gathering:
    """Pages in the order in which they came, up to `most` entries; one that is larger is alone.

    Saved together, they are what they would be one after the other: an entry that a page has in common with an earlier
    one is left out, as `save()` would. `pointers_of` and `hash_entry` say what that goes by; without them nothing is
    left out.
    """

    def __init__(
        self,
        most: int,
        pointers_of: Callable[[Entries], list[str | None]] | None,
        hash_entry: Callable[[Any], str],
    ) -> None:
        self._most = most
        self._pointers_of = pointers_of
        self._hash_entry = hash_entry
        self._pages: list[Page] = []
        self._until = 0.0

    def __bool__(self) -> bool:
        return bool(self._pages)

    def fits(self, page: Page) -> bool:
        """Whether `page` may be saved together with what is here."""
        if not self._pages:
            return True
        if self._entries + len(page.entries) > self._most or self._size + page.size > MOST_BYTES:
            return False
        return not self._is_alone(page)

    def add(self, page: Page) -> None:
        """Take in a page that fits."""
        if not self._pages:
            self._until = clock.monotonic() + MOST_SECONDS
        self._pages.append(page)

    @property
    def full(self) -> bool:
        """Whether there is no use in waiting: one more page as large as the largest so far would be too much."""
        if self._is_alone(self._pages[-1]):
            return True
        largest = max(len(page.entries) for page in self._pages)
        heaviest = max(page.size for page in self._pages)
        return self._entries + largest > self._most or self._size + heaviest > MOST_BYTES

    @property
    def patience(self) -> float:
        """Seconds for which the next page may still be waited for."""
        return max(0.0, self._until - clock.monotonic())

    def take(self) -> Page:
        """All of it as one page, with the last place in the feed that any of them had; nothing is left here."""
        pages, self._pages = self._pages, []
        if len(pages) == 1:
            return pages[0]
        cursors = [page.cursor for page in pages if page.cursor is not None]
        return Page(self._joined(pages), cursor=cursors[-1] if cursors else None)

    def _is_alone(self, page: Page) -> bool:
        """Whether a page is not to be saved with others: `save()` refuses one without any pointer, if it sees it."""
        if self._most == 1:
            return True
        return bool(self._pointers_of is not None and page.entries and not any(self._pointers_of(page.entries)))

    @property
    def _entries(self) -> int:
        return sum(len(page.entries) for page in self._pages)

    @property
    def _size(self) -> int:
        return sum(page.size for page in self._pages)

    def _joined(self, pages: list[Page]) -> Entries:
        parts = [page.entries for page in pages]
        if self._pointers_of is not None:
            seen = _Seen(self._hash_entry)
            parts = [seen.without(entries, self._pointers_of(entries)) for entries in parts]
        raw = [part for part in parts if isinstance(part, RawPage)]
        if len(raw) == len(parts):
            return RawPage.joined(raw)
        return [entry for part in parts for entry in part]


class _Seen:
    """The entries of earlier pages, hashed only where their pointer comes again."""

    def __init__(self, hash_entry: Callable[[Any], str]) -> None:
        self._hash_entry = hash_entry
        self._entries: dict[str, list[tuple[Entries, int]]] = defaultdict(list)
        self._hashes: dict[str, set[str]] = defaultdict(set)

    def without(self, entries: Entries, pointers: list[str | None]) -> Entries:
        """The entries of a page that no earlier page had; from here on it is an earlier one itself."""
        shared = self._entries.keys() & pointers
        for known in shared:
            self._hashes[known].update(self._hash_entry(page[index]) for page, index in self._entries[known])
            self._entries[known].clear()
        fresh = []
        for index, pointer in enumerate(pointers):
            if pointer is None:
                fresh.append(index)
            elif pointer not in shared or self._hash_entry(entries[index]) not in self._hashes[pointer]:
                fresh.append(index)
                self._entries[pointer].append((entries, index))
        return entries if len(fresh) == len(entries) else taken(entries, fresh)
