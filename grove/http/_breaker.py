"""Hosts that fail over and over are left alone for a while, by all streams of the process."""

import os
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
    reason: str = ""
    last: float = 0.0
    next: float = 0.0


class Breaker:
    """What is known about the hosts that failed of late; safe for threads."""

    def __init__(self) -> None:
        self._forget()
        # A thread of the parent may hold the lock.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    def refusal(self, host: str) -> str | None:
        """Why `host` is not asked now, as the end of "GET host/path ..."; None where it may be asked.

        Of those who want to ask a host that is down, one at a time is let through to see whether it is back.
        """
        with self._lock:
            state = self._hosts.get(host)
            if state is None or state.failures < _FAILURES:
                return None
            now = clock.monotonic()
            if now >= state.last + _MEMORY:
                del self._hosts[host]
                return None
            if now >= state.next:
                state.next = now + _PAUSE
                return None
            return (
                f"was not sent, because the host failed {state.failures} times in a row; the last time it "
                f"{state.reason} It is asked again in {state.next - now:.0f} seconds."
            )

    def failed(self, host: str, reason: str) -> bool:
        """Note that `host` did not answer, or is out of order; True where it is to be left alone now."""
        with self._lock:
            state = self._hosts.setdefault(host, _Host())
            now = clock.monotonic()
            if now >= state.last + _MEMORY:
                state.failures = 0
            state.failures += 1
            state.reason = reason
            state.last = now
            state.next = now + _PAUSE
            return state.failures >= _FAILURES

    def answered(self, host: str) -> None:
        """Note that `host` is in order."""
        with self._lock:
            self._hosts.pop(host, None)
