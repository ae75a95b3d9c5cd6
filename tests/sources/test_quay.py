"""Quay: days that are cut to the moment, and a search that is out of order."""

from __future__ import annotations

import pytest

from .conftest import Stream
from .vendor import SECOND, Answered, Vendor, moment

pytestmark = pytest.mark.parametrize("vendor", ["quay_organization_logs"], indirect=True)


def test_a_day_is_cut_to_the_pointer(stream: Stream, vendor: Vendor) -> None:
    vendor.entries = [(moment("2026-11-24T00:00:00Z") + number * 3600 * SECOND, number) for number in range(12)]
    stream.connector().pointer = "Tue, 24 Nov 2026 05:00:00 -0000"
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(5, 12))
    assert [asked.query["starttime"] for asked in vendor.asked] == ["11/24/2026"]
    assert [asked.query["endtime"] for asked in vendor.asked] == ["11/24/2026"]


def test_a_search_that_is_out_of_order_moves_nothing(stream: Stream, vendor: Vendor) -> None:
    vendor.intercept = lambda asked: Answered({"logs": [], "search_unavailable": True, "message": "Try later."})
    connector = stream.run()
    assert "Try later." in str(connector.failure)
    vendor.intercept = lambda asked: None
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


def test_a_registry_of_one_s_own(stream: Stream, vendor: Vendor) -> None:
    assert stream.run().outcome == "succeeded"
    assert stream.run(fqdn="quay.example.org:8443").outcome == "succeeded"
    assert len(stream.delivered()) == 2 * vendor.first
