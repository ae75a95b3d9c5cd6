"""What vendors say about when to come back."""

import random
from datetime import UTC, datetime

import pytest
from requests.structures import CaseInsensitiveDict

from grove.http.waits import RateLimit, backoff, jittered, parse_reset, parse_retry_after, stated_wait

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.203", 1.203),
        ("0", 0.0),
        ("-5", -5.0),
        ("Tue, 24 Nov 2026 12:02:00 GMT", 120.0),
        ("Tuesday, 24-Nov-26 12:02:00 GMT", 120.0),
        ("Tue Nov 24 12:02:00 2026", 120.0),
        ("Tue, 24 Nov 2026 13:02:00 +0100", 120.0),
        ("Tue, 24 Nov 2026 11:59:00 GMT", -60.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_000", None),
        ("٣", None),
        ("9" * 400, None),
        ("1.2.3", None),
        ("-", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "form", "seconds"),
    [
        (str(EPOCH + 90), "epoch", 90.0),
        (f"{EPOCH + 90}.5", "epoch", 90.5),
        (str(EPOCH - 90), "epoch", -90.0),
        (str((EPOCH + 90) * 1000 + 250), "epoch_ms", 90.25),
        ("1.203", "delta", 1.203),
        ("2026-11-24T12:05Z", "iso", 300.0),
        ("2026-11-24T12:05+00", "iso", 300.0),
        ("2026-11-24T13:05+01", "iso", 300.0),
        ("2026-11-24T13:05+0100", "iso", 300.0),
        ("2026-11-24T07:35-04:30", "iso", 300.0),
        ("2026-11-24T12:05", "iso", 300.0),
        ("2026-11-24 12:05:00.5Z", "iso", 300.5),
        ("2026-11-24T11:55Z", "iso", -300.0),
        ("tomorrow", "iso", None),
        ("tomorrow", "epoch", None),
        ("", "delta", None),
    ],
)
def test_reset(text: str, form: str, seconds: float | None) -> None:
    assert parse_reset(text, form, NOW) == seconds  # type: ignore[arg-type]


def headers(**values: str) -> CaseInsensitiveDict[str]:
    return CaseInsensitiveDict({name.replace("_", "-"): value for name, value in values.items()})


OKTA = RateLimit(reset_header="X-Rate-Limit-Reset", form="epoch")


def test_retry_after_comes_before_the_reset_header() -> None:
    found = stated_wait(headers(retry_after="3", x_rate_limit_reset=str(EPOCH + 50)), OKTA, NOW)
    assert found == 3.0


def test_the_reset_header_counts_where_retry_after_makes_no_sense() -> None:
    assert stated_wait(headers(retry_after="soon", x_rate_limit_reset=str(EPOCH + 50)), OKTA, NOW) == 50.0


def test_a_reset_in_the_past_waits_a_second() -> None:
    assert stated_wait(headers(x_rate_limit_reset=str(EPOCH - 50)), OKTA, NOW) == 1.0
    assert stated_wait(headers(retry_after="0"), OKTA, NOW) == 1.0


def test_no_vendor_is_believed_for_more_than_a_day() -> None:
    assert stated_wait(headers(x_rate_limit_reset=str(EPOCH * 1000)), OKTA, NOW) == 86_400.0


def test_nothing_stated_is_none() -> None:
    assert stated_wait(headers(x_rate_limit_remaining="0"), OKTA, NOW) is None
    assert stated_wait(headers(x_rate_limit_reset="50"), RateLimit(), NOW) is None


def test_a_moment_is_relative_to_the_answers_own_date() -> None:
    # The vendor's clock is a minute ahead of ours: 50 seconds remain, not 110.
    answer = headers(date="Tue, 24 Nov 2026 12:01:00 GMT", x_rate_limit_reset=str(EPOCH + 110))
    assert stated_wait(answer, OKTA, NOW) == 50.0


@pytest.mark.parametrize(
    ("status", "values", "limited"),
    [
        (429, {}, True),
        (403, {}, False),
        (403, {"retry_after": "9"}, True),
        (403, {"x_ratelimit_remaining": "0"}, True),
        (403, {"x_ratelimit_remaining": "17"}, False),
        (503, {"x_ratelimit_remaining": "0"}, False),
        (200, {"x_ratelimit_remaining": "0"}, False),
    ],
)
def test_what_counts_as_a_rate_limit(status: int, values: dict[str, str], limited: bool) -> None:
    assert RateLimit(remaining_header="X-RateLimit-Remaining").applies(status, headers(**values)) is limited


@pytest.mark.parametrize(("attempt", "most"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (1_000, 30)])
def test_back_off_is_drawn_from_a_range_that_doubles_up_to_half_a_minute(attempt: int, most: int) -> None:
    random.seed(7)
    drawn = [backoff(attempt) for _ in range(2_000)]
    assert 0 <= min(drawn) < most * 0.02
    assert most * 0.98 < max(drawn) <= most


@pytest.mark.parametrize(("wait", "most"), [(1, 1.1), (30, 33), (600, 605)])
def test_jitter_only_adds(wait: float, most: float) -> None:
    random.seed(7)
    drawn = [jittered(wait) for _ in range(2_000)]
    assert wait <= min(drawn)
    assert wait + (most - wait) * 0.9 < max(drawn) <= most
