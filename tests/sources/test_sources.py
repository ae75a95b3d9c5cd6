"""Every built-in source against its vendor's API, in pages as large as the vendor's.

What was offered is what is delivered. `test_conformance.py` has what may go wrong on the way.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from grove.exceptions import RateLimitException
from grove.logging import GroveFormatter

from .conftest import VENDORS, Stream
from .vendor import NOW, TOKEN, WRONG, Answered, Asked, Vendor

STREAMS = sorted(name for name, kind in VENDORS.items() if not kind.snapshot)
streams_only = pytest.mark.parametrize("vendor", STREAMS, indirect=True)
# The contract of connectors has these scenarios for streams.
snapshots_only = pytest.mark.parametrize("vendor", sorted(VENDORS.keys() - set(STREAMS)), indirect=True)


def everything(vendor: Vendor) -> list[int]:
    return list(range(len(vendor.entries)))


def test_everything_arrives_page_by_page(stream: Stream, vendor: Vendor) -> None:
    connector = stream.run()
    assert connector.failure is None
    assert connector.outcome == "succeeded"
    assert len(vendor.asked) >= 3
    assert stream.delivered() == everything(vendor)


@streams_only
def test_new_and_tied_entries_between_runs_that_find_nothing(stream: Stream, vendor: Vendor) -> None:
    assert stream.run().outcome == "succeeded"
    before = len(vendor.asked)
    assert stream.run().outcome == "succeeded"
    assert len(vendor.asked) - before <= 2
    vendor.tie(3)
    vendor.offer(40)
    assert stream.run().outcome == "succeeded"
    vendor.tie(2)
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == everything(vendor)


@streams_only
def test_a_crash_after_the_first_page(stream: Stream, vendor: Vendor) -> None:
    class Crashing(stream.kind):  # type: ignore[name-defined, misc]
        def save(self, entries: list[Any], cursor: str | None = None) -> None:
            super().save(entries, cursor)
            raise SystemExit

    with pytest.raises(SystemExit):
        stream.run(Crashing)
    part = stream.delivered()
    assert 0 < len(part) < len(vendor.entries)
    vendor.offer(10)
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == everything(vendor)


@snapshots_only
def test_a_failure_on_the_second_page_is_tried_again(stream: Stream, vendor: Vendor) -> None:
    def broken(asked: Asked) -> Answered | None:
        return Answered({"error": "internal"}, 503) if len(vendor.asked) == 2 else None

    vendor.intercept = broken
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == everything(vendor)


@snapshots_only
def test_a_rate_limit_that_can_be_waited_for(stream: Stream, vendor: Vendor) -> None:
    vendor.intercept = lambda asked: vendor.limited(1) if len(vendor.asked) == 2 else None
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == everything(vendor)


def test_a_rate_limit_that_outlasts_the_run(stream: Stream, vendor: Vendor) -> None:
    vendor.intercept = lambda asked: vendor.limited(1800) if len(vendor.asked) == 2 else None
    connector = stream.run()
    assert isinstance(connector.failure, RateLimitException)
    assert connector.failure.until is not None
    # Some vendors say whole minutes only.
    assert NOW + timedelta(minutes=29) <= connector.failure.until <= NOW + timedelta(minutes=31)


def test_wrong_credentials(stream: Stream, vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        connector = stream.run(**vendor.wrong)
    assert connector.outcome == "failed"
    assert any(status in str(connector.failure) for status in ("401", "403", "400"))
    assert stream.delivered() == []
    told = "\n".join(GroveFormatter({}).format(record) for record in caplog.records)
    assert WRONG not in told
    assert TOKEN not in told
    assert WRONG not in str(connector.failure)
