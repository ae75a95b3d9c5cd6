"""HCP Terraform: what it does not keep any longer."""

from __future__ import annotations

import pytest

from .conftest import Stream
from .vendor import Vendor

pytestmark = pytest.mark.parametrize("vendor", ["tfc_audit_trails"], indirect=True)


def test_a_gap_beyond_what_is_kept_is_told(stream: Stream, vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    stream.connector().pointer = "2026-11-01T00:00:00.000Z"
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    gaps = [(record.__dict__["from"], record.to) for record in caplog.records if hasattr(record, "to")]
    assert gaps == [("2026-11-01T00:00:00Z", "2026-11-10T12:00:00Z")]
