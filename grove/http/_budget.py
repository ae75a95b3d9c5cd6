"""The time that one request may take: on the network, and waiting for the next attempt."""

import contextlib
import threading
from collections.abc import Iterator

from grove.exceptions import StoppedError
from grove.helpers import clock

__all__ = ["SLICE", "Budget", "current"]

SLICE = 0.5
"""Seconds after which whatever waits for the network looks whether the process was asked to stop."""

_local = threading.local()


class Budget:
    """`seconds` on the network, over all attempts, whichever way they are spent there; waits between them are extra.

    `stop` ends everything early.
    """

    def __init__(self, seconds: float, stop: threading.Event | None) -> None:
        self._ends = clock.monotonic() + seconds
        self._stop = stop or threading.Event()

    def remaining(self) -> float:
        """Seconds left; zero or less where the time is over."""
        return self._ends - clock.monotonic()

    def check(self) -> None:
        """StoppedError where the process was asked to stop."""
        if self._stop.is_set():
            raise StoppedError("The process was asked to stop during a request.")

    def wait(self, seconds: float) -> None:
        """Wait that long; StoppedError as soon as the process is asked to stop."""
        with self.unspent():
            if self._stop.wait(seconds):
                self.check()

    @contextlib.contextmanager
    def unspent(self) -> Iterator[None]:
        """What takes time meanwhile is not the network."""
        began = clock.monotonic()
        try:
            yield
        finally:
            self._ends += clock.monotonic() - began

    @contextlib.contextmanager
    def spent_here(self) -> Iterator[None]:
        """Every operation on a socket, in this thread and meanwhile, is limited by this budget."""
        before = current()
        _local.budget = self
        try:
            yield
        finally:
            _local.budget = before


def current() -> Budget | None:
    """The budget that limits this thread's sockets; None where none does."""
    return getattr(_local, "budget", None)
