"""One piece of work at a time beside the caller's own, such as the next page's request."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Ahead"]

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class Ahead(Generic[_Given, _Made]):
    """Calls `work` on a thread of its own, one call at a time. The thread begins with the first call."""

    def __init__(self, work: Callable[[_Given], _Made], name: str) -> None:
        self._work = work
        self._name = name
        self._asked: queue.SimpleQueue[_Given | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[_Made | None, BaseException | None]] = queue.SimpleQueue()
        self._ended: tuple[_Made | None, BaseException | None] | None = None
        self._thread: threading.Thread | None = None

    def start(self, given: _Given) -> None:
        """Begin; `result()` has to be called before this is called again."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._asked.put(given)

    def ready(self, seconds: float) -> bool:
        """Whether `result()` is there, now or within that many seconds."""
        if self._ended is None:
            with contextlib.suppress(queue.Empty):
                self._ended = self._done.get(timeout=seconds)
        return self._ended is not None

    def result(self) -> _Made:
        """What came of the last `start()`, or the error it ended with."""
        made, error = self._ended or self._done.get()
        self._ended = None
        if error is not None:
            raise error
        return made  # type: ignore[return-value]

    def close(self) -> None:
        """Let the thread end, once it is done with what it has in hand; no one waits for that."""
        self._asked.put(None)

    def _run(self) -> None:
        while True:
            given = self._asked.get()
            if given is None:
                return
            try:
                self._done.put((self._work(given), None))
            except BaseException as err:
                self._done.put((None, err))
