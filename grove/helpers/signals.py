"""Signals to the process, turned into messages that its main thread reads."""

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

__all__ = ["Mailbox", "Reload", "Stop"]

_TURN = 0.5
"""Seconds for which a signal can go unheard."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The process was asked to end, by the signal `number`."""

    number: int

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.number).name


@dataclass(frozen=True, slots=True)
class Reload:
    """The process was asked, by SIGHUP, to look at its configuration again."""


def _nothing() -> None:
    """What most processes have left to do."""


class Mailbox:
    """Where the main thread hears of signals, and of whatever else other threads send.

    A signal handler must not touch anything that its own thread may hold a lock of; this queue is safe for it.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._signalled = False
        self.last_will: Callable[[], object] = _nothing
        """Called before a second signal ends the process, within its handler."""
        self._listening = False

    def send(self, message: object) -> None:
        """Put `message` (not None) in, from any thread."""
        self._queue.put(message)

    def receive(self, timeout: float) -> object | None:
        """The next message; None after `timeout` seconds without one."""
        deadline = time.monotonic() + timeout
        while True:
            # A signal that comes just before the wait begins does not end it: its handler runs at the next turn.
            left = deadline - time.monotonic()
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=max(0.0, min(left, _TURN)))
            if left <= _TURN:
                return None

    @contextlib.contextmanager
    def signals(self, *, reload: bool = False) -> Iterator[None]:
        """SIGTERM and SIGINT arrive as `Stop`; a second one ends the process at once. Only in the main thread.

        With `reload`, SIGHUP arrives as `Reload`.
        """
        if self._listening or threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self._signalled:
                self.last_will()
                os._exit(128 + number)
            self._signalled = True
            self.send(Stop(number))

        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        if reload:
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda number, frame: self.send(Reload()))
        self._listening = True
        try:
            yield
        finally:
            self._listening = False
            for number, previous in before.items():
                signal.signal(number, previous)
