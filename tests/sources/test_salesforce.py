"""Salesforce: two ways to sign in, objects that cannot be sorted, files, and orgs that lack something."""

from __future__ import annotations

import pytest

from .conftest import Stream
from .vendors.salesforce import FieldAuditTrailVendor, ThreatDetectionVendor


@pytest.mark.parametrize("vendor", ["sf_field_audit_trail", "sf_threat_detection"], indirect=True)
@pytest.mark.parametrize("big", ["newest first", "by parent"])
def test_a_big_object_after_a_crash(
    stream: Stream, vendor: FieldAuditTrailVendor | ThreatDetectionVendor, big: str
) -> None:
    vendor.big = big

    class Crashing(stream.kind):  # type: ignore[name-defined, misc]
        def save(self, entries: list[object], cursor: str | None = None) -> None:
            super().save(entries, cursor)
            raise SystemExit

    for _ in range(2):
        with pytest.raises(SystemExit):
            stream.run(Crashing)
        vendor.offer(10)
    assert stream.run().outcome == "succeeded"
    vendor.tie(5)
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(len(vendor.entries)))
