"""What can go wrong with an answer of the practice API on its way, and what else than an answer there may be.

A fault is a function, from the true answer to what is sent. `practice_bodies` has those that concern only its content.

api.fault(3, status(503))
api.fault(range(1, 6), rate_limited(30, how="date"))
api.fault(2, slow(0.5), truncated(1_000))             # one after the other
api.fault(None, once(where(b'"id":"e-7"', reset())))  # whichever request asks for that page
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Literal

__all__ = [
    "RATE_LIMIT_HEADERS",
    "Fault",
    "Framing",
    "Reply",
    "drip",
    "once",
    "rate_limited",
    "raw",
    "redirect",
    "reset",
    "slow",
    "sometimes",
    "stalled",
    "status",
    "truncated",
    "until",
    "where",
]

Framing = Literal["length", "chunked", "close"]

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and how it reaches the client.

    `framing` says how the client learns where the body ends. It starts after `wait` seconds; with `piece`, that many
    bytes are sent at a time, `pause` seconds apart. `cut` bytes of the body are all that is ever sent (none, and no
    status line either, where `silent`); then the connection is closed or reset, or stays silent: `end`. `raw` are bytes
    that are sent in place of all this, up to that end. `now` is the API's clock, in seconds since 1970.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    now: float = 0.0
    framing: Framing = "length"
    wait: float = 0.0
    piece: int = 0
    pause: float = 0.0
    cut: int | None = None
    silent: bool = False
    raw: bytes | None = None
    end: Literal["close", "reset", "stall"] = "close"

    @property
    def whole(self) -> bool:
        """Whether all of it is sent, sooner or later."""
        return self.cut is None and not self.silent and self.raw is None


Fault = Callable[[Reply], Reply]


def status(code: int, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Fault:
    """Another status, with a JSON error unless `body` is given."""
    text = b'{"error":"scripted, status %d"}' % code if body is None else body
    return lambda reply: replace(reply, status=code, body=text, headers={"Content-Type": JSON, **(headers or {})})


def redirect(location: str, code: int = 302) -> Fault:
    """The answer is said to be elsewhere."""
    return status(code, b"", {"Location": location})


RATE_LIMIT_HEADERS: dict[str, Callable[[float, float], dict[str, str]]] = {
    "seconds": lambda wait, now: {"Retry-After": f"{wait:.0f}"},
    "fraction": lambda wait, now: {"Retry-After": f"{wait:.2f}"},
    "date": lambda wait, now: {"Retry-After": formatdate(now + wait, usegmt=True)},
    "milliseconds": lambda wait, now: {"Retry-After-Ms": f"{wait * 1000:.0f}"},
    "reset_epoch": lambda wait, now: {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{now + wait:.0f}"},
    "okta": lambda wait, now: {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": f"{now + wait:.0f}"},
    "reset_epoch_ms": lambda wait, now: {"X-RateLimit-Reset": f"{(now + wait) * 1000:.0f}"},
    "reset_minutes": lambda wait, now: {"X-RateLimit-Reset": _minutes(now + wait)},
    "reset_seconds": lambda wait, now: {"RateLimit-Remaining": "0", "RateLimit-Reset": f"{wait:.0f}"},
    "structured": lambda wait, now: {"RateLimit": f'"default";r=0;t={wait:.0f}'},
    "nonsense": lambda wait, now: {"Retry-After": "soon"},
    "none": lambda wait, now: {},
}
"""How vendors say when to come back: the headers, given the seconds to wait and the API's clock."""


def _minutes(moment: float) -> str:
    """As Atlassian writes it: 2025-03-04T10:12Z, the minute after the moment."""
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(-(-moment // 60) * 60))


def rate_limited(wait: float = 1.0, how: str = "seconds", code: int = 429) -> Fault:
    """Status 429 and the request to come back in `wait` seconds, in the words of RATE_LIMIT_HEADERS."""
    headers = RATE_LIMIT_HEADERS[how]
    return lambda reply: status(code, b'{"error":"too many requests"}', headers(wait, reply.now))(reply)


def reset(after: int | None = None) -> Fault:
    """The connection is reset: before any answer, or after that many bytes of the body."""
    return lambda reply: replace(reply, end="reset", silent=after is None, cut=after or 0)


def truncated(after: int, framing: Framing = "length") -> Fault:
    """The connection is closed after that many bytes of the body. With framing "close", only the content shows it."""
    return lambda reply: replace(reply, end="close", framing=framing, cut=after)


def stalled(after: int | None = None) -> Fault:
    """Nothing is sent any more: not even a status line, or after that many bytes of the body."""
    return lambda reply: replace(reply, end="stall", silent=after is None, cut=after or 0)


def slow(seconds: float) -> Fault:
    """The whole answer, but only after that many seconds."""
    return lambda reply: replace(reply, wait=seconds)


def drip(pause: float, piece: int = 1) -> Fault:
    """The whole answer, `piece` bytes of its body at a time, `pause` seconds apart."""
    return lambda reply: replace(reply, piece=piece, pause=pause)


def raw(data: bytes) -> Fault:
    """These bytes are sent as they are in place of an answer, which may be none; then the connection is closed."""
    return lambda reply: replace(reply, raw=data)


# --- when ---


def sometimes(share: float, chance: random.Random, *faults: Fault) -> Fault:
    """One of these faults, to that share of the answers."""
    return lambda reply: chance.choice(faults)(reply) if chance.random() < share else reply


def until(moment: float, *faults: Fault) -> Fault:
    """These faults, one after the other, as long as the API's clock is before `moment` (seconds since 1970)."""
    return lambda reply: _all(faults, reply) if reply.now < moment else reply


def where(text: bytes, *faults: Fault) -> Fault:
    """These faults, one after the other, to every answer that has `text` in its body."""
    return lambda reply: _all(faults, reply) if text in reply.body else reply


def once(fault: Fault) -> Fault:
    """This fault, until it has changed an answer."""
    done = threading.Event()

    def disturb(reply: Reply) -> Reply:
        if done.is_set():
            return reply
        changed = fault(reply)
        if changed is not reply:
            done.set()
        return changed

    return disturb


def _all(faults: Iterable[Fault], reply: Reply) -> Reply:
    for fault in faults:
        reply = fault(reply)
    return reply
