"""Hosts that fail over and over are left alone for a while, by all streams of the process."""

import threading
from dataclasses import dataclass

from grove.helpers import clock

__all__ = ["Breaker"]

# Failures in a row, over all streams, after which a host counts as down: more than one request makes by itself.
_FAILURES = 10
# Seconds between two attempts to see whether it is back.
_PAUSE = 30.0
# Seconds after its last failure until a host is asked as if nothing had happened.
_MEMORY = 300.0


@dataclass(slots=True)
class _Host:
    failures: int = 0
    last: float = 0.0
    next: float = 0.0


class Breaker:
    """What is known about the hosts that failed of late; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    def pause(self, host: str) -> float:
        """Seconds until `host` may be asked; 0 where it may be asked now.

        Of those who want to ask a host that is down, one at a time is let through to see whether it is back.
        """
        with self._lock:
            state = self._hosts.get(host)
            if state is None or state.failures < _FAILURES:
                return 0.0
            now = clock.monotonic()
            if now >= state.last + _MEMORY:
                del self._hosts[host]
                return 0.0
            if now < state.next:
                return state.next - now
            state.next = now + _PAUSE
            return 0.0

    def failed(self, host: str) -> int:
        """Note that `host` did not answer, or answered that it is out of order; the failures in a row so far."""
        with self._lock:
            state = self._hosts.setdefault(host, _Host())
            now = clock.monotonic()
            if now >= state.last + _MEMORY:
                state.failures = 0
            state.failures += 1
            state.last = now
            state.next = now + _PAUSE
            return state.failures

    def answered(self, host: str) -> None:
        """Note that `host` is in order."""
        with self._lock:
            self._hosts.pop(host, None)
