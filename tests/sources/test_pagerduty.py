"""PagerDuty: gaps that are too long for one request, and its service regions."""

from __future__ import annotations

import itertools

import pytest

from grove.exceptions import ConfigurationException
from grove.helpers import clock

from .conftest import Stream
from .vendor import NOW, Vendor, moment

pytestmark = pytest.mark.parametrize("vendor", ["pagerduty_audit_records"], indirect=True)


def test_a_gap_of_months_is_asked_for_in_pieces_that_meet(stream: Stream, vendor: Vendor) -> None:
    stream.connector().pointer = "2026-08-01T00:00:00.000Z"
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    spans = list(dict.fromkeys((asked.query["since"], asked.query["until"]) for asked in vendor.asked))
    assert len(spans) == 4
    assert spans[0][1] == clock.datestamp(NOW).replace("Z", ".000Z")
    assert spans[-1][0] == "2026-08-01T00:00:00.000Z"
    assert all(moment(older[1]) == moment(newer[0]) for newer, older in itertools.pairwise(spans))


def test_the_region_is_one_of_theirs(stream: Stream) -> None:
    assert "audit/records" in stream.connector(fqdn="api.eu.pagerduty.com").source().url  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationException, match="fqdn"):
        _ = stream.connector(fqdn="api.pagerduty.example.org").fields
