"""ZITADEL: sequences of earlier deployments, batches, kinds of aggregates."""

from __future__ import annotations

from typing import Any

import pytest

from grove.connectors.rest import times
from grove.exceptions import ConfigurationException

from .conftest import Stream
from .vendor import Vendor, moment

pytestmark = pytest.mark.parametrize("vendor", ["zitadel_events_aggregate_user"], indirect=True)


def test_a_sequence_of_an_earlier_deployment_loses_nothing(stream: Stream, vendor: Vendor) -> None:
    stream.connector().pointer = "4711"
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert stream.connector().pointer == times.written(vendor.entries[-1][0], "iso_us")


def test_the_first_run_goes_back_to_the_beginning(stream: Stream, vendor: Vendor) -> None:
    vendor.entries.insert(0, (moment("2020-03-25T00:00:00Z"), len(vendor.entries)))
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 1))


def test_small_batches_with_several_events_at_one_moment(stream: Stream, vendor: Vendor) -> None:
    vendor.entries = vendor.entries[:20]
    vendor.tie(8)
    vendor.offer(5)
    assert stream.run(batch_size=10).outcome == "succeeded"
    assert stream.delivered() == list(range(33))
    assert {asked.body["limit"] for asked in vendor.asked} == {10}


def test_more_events_at_one_moment_than_a_batch_has(stream: Stream, vendor: Vendor) -> None:
    vendor.entries = vendor.entries[:20]
    vendor.tie(12)
    vendor.offer(5)
    connector = stream.run(batch_size=10)
    assert connector.outcome == "failed"
    assert stream.run(batch_size=20).outcome == "succeeded"
    assert stream.delivered() == list(range(37))


def test_kinds_of_aggregates(stream: Stream, vendor: Vendor) -> None:
    assert stream.run(aggregate_event_types=["org"]).outcome == "succeeded"
    assert stream.delivered() == [number for number in range(vendor.first) if number % 2]


@pytest.mark.parametrize(
    ("fields", "told"), [({"identity": "example.zitadel.cloud"}, "identity"), ({"batch_size": 1001}, "batch_size")]
)
def test_fields_that_are_wrong(stream: Stream, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationException, match=told):
        _ = stream.connector(**fields).fields


def test_the_document_s_timeout(stream: Stream) -> None:
    assert stream.connector(timeout=7).source().read_timeout == 7  # type: ignore[attr-defined]
    assert stream.connector().source().read_timeout == 100  # type: ignore[attr-defined]
