"""Tines: one operation, and tenants elsewhere."""

from __future__ import annotations

import pytest

from .conftest import Stream
from .vendor import Vendor

pytestmark = pytest.mark.parametrize("vendor", ["tines_audit_logs"], indirect=True)


def test_one_operation(stream: Stream, vendor: Vendor) -> None:
    assert stream.run(operation="Login").outcome == "succeeded"
    assert stream.delivered() == [number for number in range(vendor.first) if number % 2]


def test_tenants_of_two_domains_have_a_state_of_their_own(stream: Stream, vendor: Vendor) -> None:
    assert stream.run().outcome == "succeeded"
    assert stream.run(domain="tines.io").outcome == "succeeded"
    assert len(stream.delivered()) == 2 * vendor.first


def test_an_answer_without_a_list(stream: Stream, vendor: Vendor) -> None:
    vendor.entries.clear()
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == []
