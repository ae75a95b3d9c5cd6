"""How long to wait before a request is made again: what vendors say about it, and what we do when they say nothing."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

__all__ = ["RateLimit", "backoff", "jittered", "parse_reset", "parse_retry_after", "stated_wait"]

LEAST_WAIT = 1.0
"""Seconds to wait where a vendor's moment has already passed."""

LONGEST_WAIT = 86_400.0
"""Seconds that a vendor is believed: a reset beyond a day is a misread unit or a wrong clock."""

# Delays between attempts where the vendor says nothing: the n-th is drawn from [0, min(FIRST * 2^(n-1), LAST)].
_FIRST_DELAY = 1.0
_LAST_DELAY = 30.0

ResetForm = Literal["epoch", "epoch_ms", "delta", "iso"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How a vendor says that it was asked too often.

    An answer with one of `statuses` is a rate limit; so is a 403 that carries `Retry-After`, or "0" in
    `remaining_header` (GitHub answers 403 in both cases). `Retry-After` is read first, then `reset_header`, whose
    `form` is seconds since 1970 ("epoch"), milliseconds since 1970 ("epoch_ms"), seconds from now ("delta") or an ISO
    8601 moment ("iso"). Where an answer says nothing, `default` seconds are waited, or a growing random time.
    """

    reset_header: str | None = None
    form: ResetForm = "epoch"
    remaining_header: str | None = None
    statuses: Collection[int] = (429,)
    default: float | None = None

    def applies(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether an answer with this status and these (case-insensitive) headers is a rate limit."""
        if status in self.statuses:
            return True
        if status != 403:
            return False
        spent = self.remaining_header is not None and headers.get(self.remaining_header, "").strip() == "0"
        return spent or "Retry-After" in headers


def stated_wait(headers: Mapping[str, str], limit: RateLimit, now: datetime) -> float | None:
    """Seconds to wait according to an answer's headers, between 1 and 86,400; None where they do not say.

    `now` is this host's clock. The answer's own `Date` stands in for it where there is one, so that a clock which is
    wrong here does not spoil a moment that was stated there.
    """
    moment = _http_date(headers.get("Date", "")) or now
    wait = None
    retry_after = headers.get("Retry-After")
    if retry_after is not None:
        wait = parse_retry_after(retry_after, moment)
    if wait is None and limit.reset_header is not None and limit.reset_header in headers:
        wait = parse_reset(headers[limit.reset_header], limit.form, moment)
    return None if wait is None else min(max(wait, LEAST_WAIT), LONGEST_WAIT)


def parse_retry_after(text: str, now: datetime) -> float | None:
    """Seconds from `now`, negative for the past; from "120", "1.5" or an HTTP date. None for anything else."""
    seconds = _number(text)
    if seconds is not None:
        return seconds
    moment = _http_date(text)
    return None if moment is None else _seconds(now, moment)


def parse_reset(text: str, form: ResetForm, now: datetime) -> float | None:
    """Seconds from `now` to the moment that `text` states in `form`, negative for the past; None if it does not fit."""
    if form == "iso":
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        return _seconds(now, moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    number = _number(text)
    if number is None or form == "delta":
        return number
    return number / (1000 if form == "epoch_ms" else 1) - now.timestamp()


def backoff(attempt: int) -> float:
    """Seconds between attempt number `attempt` (from 1) and the next: full jitter, so that many do not come as one."""
    return random.uniform(0, min(_FIRST_DELAY * 2 ** min(attempt - 1, 16), _LAST_DELAY))


def jittered(wait: float) -> float:
    """A little more than `wait` seconds: those who were told the same moment come back one after the other."""
    return wait + random.uniform(0, min(wait / 10, 5.0))


def _number(text: str) -> float | None:
    text = text.strip()
    # Neither exponents nor "nan", "inf", "1_0" or digits of other scripts, all of which float() takes.
    if len(text) > 20 or not text.isascii() or not text.replace("-", "", 1).replace(".", "", 1).isdigit():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _seconds(now: datetime, moment: datetime) -> float:
    return (moment - now) / timedelta(seconds=1)
