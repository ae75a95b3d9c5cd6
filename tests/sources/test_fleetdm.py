"""Fleet: parameters and projections of the document, older servers, hosts that change while they are read."""

from __future__ import annotations

from typing import Any

import pytest

from grove.exceptions import ConfigurationException
from grove.testing.practice import read_delivered

from .conftest import Stream
from .vendor import Answered, Asked
from .vendors.fleetdm import HostLogsVendor

pytestmark = pytest.mark.parametrize("vendor", ["fleetdm_host_logs"], indirect=True)


def test_parameters_and_a_projection(stream: Stream, vendor: HostLogsVendor) -> None:
    query = "{id: id, software_updated_at: software_updated_at}"
    fields: dict[str, Any] = {"params": {"per_page": 40, "populate_software": True}, "jmespath_queries": query}
    assert stream.run(**fields).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert all(entry.keys() == {"id", "software_updated_at", "_grove"} for entry in read_delivered(stream.path))
    assert {asked.query["per_page"] for asked in vendor.asked} == {"40"}
    assert {asked.query["populate_software"] for asked in vendor.asked} == {"true"}


def test_what_orders_the_hosts_is_not_the_document_s_to_say(stream: Stream, vendor: HostLogsVendor) -> None:
    assert stream.run(params={"order_key": "hostname"}).outcome == "succeeded"
    assert {asked.query["order_key"] for asked in vendor.asked} == {"software_updated_at"}


def test_a_projection_without_an_id(stream: Stream, vendor: HostLogsVendor) -> None:
    query = "{host: id, software_updated_at: software_updated_at}"
    assert stream.run(jmespath_queries=query).outcome == "succeeded"
    assert sorted(entry["host"] for entry in read_delivered(stream.path)) == list(range(vendor.first))


def test_a_projection_that_loses_the_pointer_is_an_error(stream: Stream) -> None:
    assert "software_updated_at" in str(stream.run(jmespath_queries="{id: id}").failure)
    assert read_delivered(stream.path) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"jmespath_queries": "hosts["}, "jmespath_queries"),
        ({"api_uri": "fleet.example.org"}, "api_uri"),
        ({"params": "per_page=1"}, "params"),
    ],
)
def test_fields_that_are_wrong(stream: Stream, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationException, match=told):
        _ = stream.connector(**fields).fields


def test_an_older_server(stream: Stream, vendor: HostLogsVendor) -> None:
    vendor.says_more = False
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


def test_a_host_that_is_updated_meanwhile_hides_no_other(stream: Stream, vendor: HostLogsVendor) -> None:
    def updated(asked: Asked) -> Answered | None:
        if len(vendor.asked) == 2:
            # The newest host there is, which was on the first page, and the oldest one, which was not read yet.
            for number in (vendor.first - 1, 0):
                vendor.entries[number] = (vendor.entries[-1][0] + 60 * 10**9, number)
        return None

    vendor.intercept = updated
    assert stream.run().outcome == "succeeded"
    vendor.intercept = lambda asked: None
    assert stream.run().outcome == "succeeded"
    assert set(stream.delivered()) == set(range(vendor.first))
    assert len(stream.delivered()) == vendor.first + 1
