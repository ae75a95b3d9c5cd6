"""Marketing Cloud: a token that one has, business units, and a clock that is six hours behind."""

from __future__ import annotations

import pytest

from .conftest import Stream
from .vendor import TOKEN, Vendor, moment
from .vendors.sfmc import BEHIND, AuditEventsVendor

pytestmark = pytest.mark.parametrize("vendor", ["sfmc_audit_events"], indirect=True)


def test_a_token_in_place_of_a_client(stream: Stream, vendor: Vendor) -> None:
    assert stream.run(client_id="", client_secret="", key=TOKEN).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


def test_a_client_goes_before_a_token(stream: Stream, vendor: Vendor) -> None:
    assert stream.run(key="tok3n-of-yesterday").outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


def test_without_credentials_the_fields_are_named(stream: Stream) -> None:
    told = str(stream.run(client_id="").failure)
    assert "It needs client_id, client_secret; or key." in told


def test_a_business_unit(stream: Stream, vendor: AuditEventsVendor) -> None:
    vendor.account = "1001"
    assert stream.run().outcome == "failed"
    assert stream.run(account_id="1001").outcome == "succeeded"


def test_the_first_run_asks_from_seven_days_ago_by_the_vendor_s_clock(stream: Stream, vendor: Vendor) -> None:
    stream.run()
    assert moment(vendor.asked[0].query["startdate"]) + BEHIND == moment("2026-11-17T12:00:00Z")


def test_the_newest_entries_are_not_held_back(stream: Stream, vendor: Vendor) -> None:
    vendor.entries.append((moment("2026-11-24T11:59:59.500Z"), len(vendor.entries)))
    assert stream.run().outcome == "succeeded"
    assert stream.delivered()[-1] == vendor.first
