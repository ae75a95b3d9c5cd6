"""Google Workspace: days that are not final, whose reports they are, and which application's activities."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from grove.connectors.rest import times
from grove.exceptions import ConfigurationException
from grove.helpers import clock

from .conftest import Stream
from .vendor import Answered
from .vendors.gsuite import DAY, UsageVendor

of_usage = pytest.mark.parametrize("vendor", ["gsuite_usage"], indirect=True)

NOT_THERE_YET = [
    pytest.param(Answered({"error": {"code": 400, "message": "later than"}}, 400), id="too late"),
    pytest.param(Answered({"warnings": [{"code": "200", "message": "try again"}]}), id="warning"),
    pytest.param(Answered({"kind": "admin#reports#usageReports"}), id="nothing"),
]


def day_of(vendor: UsageVendor, number: int) -> str:
    return str(times.written(vendor.entries[number][0], "date"))


@of_usage
@pytest.mark.parametrize("answer", NOT_THERE_YET)
def test_a_day_that_is_not_there_is_waited_for(
    stream: Stream, vendor: UsageVendor, answer: Answered, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.too_late = answer  # type: ignore[misc]
    with caplog.at_level(logging.INFO):
        assert stream.run().outcome == "succeeded"
    assert "not_final" in {getattr(record, "event", None) for record in caplog.records}
    assert stream.delivered() == list(range(vendor.first))
    assert vendor.asked[-1].path.endswith("2026-11-19"), "and none later than that"
    vendor.offer(50)
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 50))


@of_usage
def test_a_day_that_is_there_in_part_is_waited_for(stream: Stream, vendor: UsageVendor) -> None:
    vendor.partial = "2026-11-18"
    assert stream.run().outcome == "succeeded"
    first = [number for number in range(vendor.first) if day_of(vendor, number) == "2026-11-17"]
    assert stream.delivered() == first
    assert stream.connector().pointer == "2026-11-17"
    vendor.partial = None
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


@of_usage
def test_a_day_is_not_waited_for_without_end(
    stream: Stream, vendor: UsageVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.partial = "2026-11-18"
    stream.run()
    vendor.offer(50)
    monkeypatch.setattr(clock, "now", lambda: clock.parse_datestamp("2026-11-25T12:00:00Z"))
    assert stream.run(patience=7).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 50))


@of_usage
def test_a_day_that_is_refused_although_it_is_over_is_an_error(stream: Stream, vendor: UsageVendor) -> None:
    vendor.intercept = lambda asked: Answered({"error": {"code": 400, "message": "bad customer"}}, 400)
    connector = stream.run(patience=7)
    assert "bad customer" in str(connector.failure)


@of_usage
def test_a_credential_that_is_revoked_is_an_error(stream: Stream, vendor: UsageVendor) -> None:
    """Google refuses it with 400, too."""
    stream.run()
    assert "no token" in str(stream.run(**vendor.wrong).failure)


@of_usage
def test_a_day_is_asked_for_once(stream: Stream, vendor: UsageVendor) -> None:
    stream.run()
    before = len(vendor.asked)
    vendor.offer(10)
    stream.run()
    assert [asked.path[-10:] for asked in vendor.asked[before:]] == ["2026-11-19", "2026-11-20"]


@of_usage
def test_a_pointer_without_a_cursor_is_asked_for_again(stream: Stream, vendor: UsageVendor) -> None:
    """As an older deployment left it."""
    stream.connector().pointer = "2026-11-18"
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == [number for number, (at, _) in enumerate(vendor.entries) if at // DAY == 20_775]


@of_usage
@pytest.mark.parametrize("kept", ["pointer", "cursor"])
def test_a_gap_of_years_begins_where_google_still_has_reports(
    stream: Stream, vendor: UsageVendor, kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    connector = stream.connector()
    connector.pointer = "2024-01-01"
    if kept == "cursor":
        connector.save([], cursor="2024-01-02")
        connector.unlock()
    vendor.too_late = Answered({"usageReports": []})  # type: ignore[misc]
    stream.run(patience=1)
    assert vendor.asked[0].path.endswith("2026-05-28")
    assert "gap_detected" in {getattr(record, "event", None) for record in caplog.records}
    assert stream.delivered() == list(range(vendor.first))


@of_usage
@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"usage_report_type": "customerUsageReports"}, "/admin/reports/v1/usage/dates/"),
        (
            {"usage_report_type": "entityUsageReports", "entity_type": "gplus_communities"},
            "/admin/reports/v1/usage/gplus_communities/all/dates/",
        ),
    ],
)
def test_whose_reports_they_are(stream: Stream, vendor: UsageVendor, fields: dict[str, Any], path: str) -> None:
    del vendor.entries[900:]
    vendor.path = path
    vendor.sizes = fields["usage_report_type"] != "customerUsageReports"
    assert stream.run(**fields).outcome == "succeeded"
    assert stream.delivered() == list(range(900))


@of_usage
def test_each_kind_of_report_is_a_stream_of_its_own(stream: Stream) -> None:
    kinds: list[dict[str, Any]] = [
        {"usage_report_type": "customerUsageReports"},
        {"usage_report_type": "entityUsageReports", "entity_type": "a"},
        {"usage_report_type": "entityUsageReports", "entity_type": "b"},
    ]
    assert len({stream.connector(**fields).cache_key("pointer") for fields in kinds}) == 3


@of_usage
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"usage_report_type": "entityUsageReports"}, "entity_type"),
        ({"usage_report_type": "reports"}, "usage_report_type"),
        ({"entity_type": "../users"}, "entity_type"),
        ({"patience": 0}, "patience"),
    ],
)
def test_fields_of_usage_that_are_wrong(stream: Stream, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationException, match=told):
        _ = stream.connector(**fields).fields


@pytest.mark.parametrize("vendor", ["gsuite_activities"], indirect=True)
def test_there_is_no_log_of_all_applications(stream: Stream) -> None:
    with pytest.raises(ConfigurationException, match="operation"):
        _ = stream.connector(operation="all").fields
