"""What is to happen at which request to the practice API, and which requests there were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from grove.testing.practice_faults import Fault
from grove.testing.practice_pages import Page

__all__ = ["Request", "Script", "Which"]

Which = int | Iterable[int] | None
"""Which requests: the n-th from now on, several of them, or (None) every one until `heal()`."""

_T = TypeVar("_T")


@dataclass(slots=True)
class Request:
    """A request as it came in, and the status it got (0 where none was sent)."""

    number: int
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    status: int = 0


class _Plan(Generic[_T]):
    """Something for some requests, and something for all of them."""

    def __init__(self) -> None:
        self._at: dict[int, list[_T]] = {}
        self._always: list[_T] = []

    def add(self, which: Which, asked: int, *items: _T) -> None:
        if which is None:
            self._always.extend(items)
            return
        for number in (which,) if isinstance(which, int) else which:
            if number < 1:
                raise ValueError(f"request {number} is over; the next one is number 1")
            self._at.setdefault(asked + number, []).extend(items)

    def take(self, number: int) -> list[_T]:
        return [*self._at.pop(number, ()), *self._always]


class Script:
    """The part of `PracticeAPI` that is told what is to happen. Requests are counted from the next one on, as 1."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.heal()

    def fault(self, which: Which, *faults: Fault) -> None:
        """Let the answers to these requests go wrong: see `practice_faults` and `practice_bodies`."""
        self._faults.add(which, len(self.requests), *faults)

    def before(self, which: Which, action: Callable[[], object]) -> None:
        """Do something when these requests arrive, before they are answered. It may block."""
        self._actions.add(which, len(self.requests), action)

    def short(self, which: Which, rows: int) -> None:
        """At most that many entries (even none) in these pages, although there are more."""
        self._limits.add(which, len(self.requests), rows)

    def overlap(self, which: Which, rows: int) -> None:
        """Let these pages begin with the last `rows` entries of those before them."""
        self._overlaps.add(which, len(self.requests), rows)

    def repeat(self, which: Which) -> None:
        """Let these pages be those before them once more, with a new cursor (or link) for the same place."""
        self._repeats.add(which, len(self.requests), True)

    def loop(self, which: Which, length: int) -> None:
        """Let the page that is asked for then lead `length` - 1 pages back: with 1 to itself, with 2 to the one before.

        It does so whenever it is asked for again, until `heal()`.
        """
        if length < 1:
            raise ValueError(f"a loop has at least one page, and not {length}")
        self._loops.add(which, len(self.requests), length)

    def alter(self, which: Which, change: Callable[[Page], Page]) -> None:
        """Change these pages: their entries, or where they say the next one is."""
        self._changes.add(which, len(self.requests), change)

    def heal(self) -> None:
        """Forget what is still scripted."""
        self._actions = _Plan[Callable[[], object]]()
        self._limits = _Plan[int]()
        self._overlaps = _Plan[int]()
        self._repeats = _Plan[bool]()
        self._loops = _Plan[int]()
        self._changes = _Plan[Callable[[Page], Page]]()
        self._faults = _Plan[Fault]()
        # Pages that lead back, by their queries: to which query.
        self._back: dict[frozenset[tuple[str, str]], dict[str, str]] = {}

    # --- for the API itself ---

    def _arrive(self, path: str, query: dict[str, str], headers: Mapping[str, str]) -> Request:
        request = Request(len(self.requests) + 1, path, query, dict(headers))
        self.requests.append(request)
        return request

    def _act(self, request: Request) -> None:
        for action in self._actions.take(request.number):
            action()

    def _limited(self, request: Request, limit: int, whole: int) -> tuple[int, int]:
        """How many new entries a page may have where `limit` were asked for, and how many old ones before them.

        `whole` is what a page has at most.
        """
        limit = min([limit, *self._limits.take(request.number)])
        overlap = max([0, *self._overlaps.take(request.number)])
        return (0, whole) if self._repeats.take(request.number) else (limit, overlap)

    def _altered(self, request: Request, page: Page) -> Page:
        for length in self._loops.take(request.number):
            self._back[frozenset(request.query.items())] = self.requests[max(0, request.number - length)].query
        back = self._back.get(frozenset(request.query.items()))
        if back is not None:
            page = Page(page.entries, back)
        for change in self._changes.take(request.number):
            page = change(page)
        return page

    def _disturbances(self, request: Request) -> list[Fault]:
        return self._faults.take(request.number)
