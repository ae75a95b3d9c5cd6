"""Zendesk: comments, statuses, cursors that are forgotten, searches that have an end."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from grove.connectors.rest import times
from grove.exceptions import ConfigurationException
from grove.testing.practice import read_delivered

from .conftest import Stream
from .vendor import NOW, SECOND, Answered, Asked
from .vendors.zendesk import AuditLogsVendor, SearchVendor, TicketsVendor

of_tickets = pytest.mark.parametrize("vendor", ["zendesk_tickets"], indirect=True)
of_both = pytest.mark.parametrize("vendor", ["zendesk_search", "zendesk_tickets"], indirect=True)
of_search = pytest.mark.parametrize("vendor", ["zendesk_search"], indirect=True)
of_audit_logs = pytest.mark.parametrize("vendor", ["zendesk_audit_logs"], indirect=True)


# --- tickets, by either way ---


@of_both
def test_tickets_have_all_their_comments(stream: Stream, vendor: TicketsVendor | SearchVendor) -> None:
    del vendor.entries[130:]
    vendor.comments_a_page = 2
    assert stream.run(include_comments=True, include_attachments=False).outcome == "succeeded"
    assert stream.delivered() == list(range(130))
    for ticket in read_delivered(stream.path):
        assert [comment["id"] for comment in ticket["comments"]] == [ticket["id"] * 10 + n for n in range(3)]
    asked = [one.query for one in vendor.asked if "comments" in one.path and "page" not in one.query]
    assert {query["include_inline_images"] for query in asked} == {"false"}


@of_both
def test_a_ticket_that_is_gone_is_delivered_without_comments(
    stream: Stream, vendor: TicketsVendor | SearchVendor, caplog: pytest.LogCaptureFixture
) -> None:
    del vendor.entries[3:]
    vendor.intercept = lambda asked: Answered({}, 404) if "/tickets/1/comments" in asked.path else None
    assert stream.run(include_comments=True).outcome == "succeeded"
    assert ["comments" in ticket for ticket in read_delivered(stream.path)] == [True, False, True]
    assert "entry_without_details" in {getattr(record, "event", None) for record in caplog.records}


@of_both
def test_comments_that_cannot_be_had_are_not_left_out(stream: Stream, vendor: TicketsVendor | SearchVendor) -> None:
    vendor.intercept = lambda asked: Answered({"error": "Forbidden"}, 403) if "comments" in asked.path else None
    connector = stream.run(include_comments=True)
    assert "403" in str(connector.failure)
    assert stream.delivered() == []


@of_both
def test_a_ticket_that_changes_comes_again_with_its_comments(
    stream: Stream, vendor: TicketsVendor | SearchVendor
) -> None:
    del vendor.entries[10:]
    assert stream.run(include_comments=True).outcome == "succeeded"
    vendor.entries.append((vendor.entries[-1][0] + SECOND, 4))
    assert stream.run(include_comments=True).outcome == "succeeded"
    assert stream.delivered() == sorted([*range(10), 4])


@of_both
@pytest.mark.parametrize("fields", [{"statuses": ["solved"]}, {"status": "solved", "statuses": None}])
def test_only_the_statuses_that_are_wanted(
    stream: Stream, vendor: TicketsVendor | SearchVendor, fields: dict[str, Any]
) -> None:
    given = {name: value for name, value in fields.items() if value is not None}
    if "statuses" not in given:
        vendor.document = {name: value for name, value in vendor.document.items() if name != "statuses"}  # type: ignore[misc]
    assert stream.run(**given).outcome == "succeeded"
    assert stream.delivered() == [number for number, _ in enumerate(vendor.entries) if number % 2 == 0]


@of_both
def test_statuses_tell_streams_apart_and_their_order_does_not(stream: Stream) -> None:
    keys = {
        stream.connector(statuses=statuses).cache_key("pointer")
        for statuses in (["closed", "solved"], ["solved", "closed"], ["solved"], ["open", "new"])
    }
    assert len(keys) == 3
    assert stream.connector(status="solved", statuses=None).configuration.status == "solved"  # type: ignore[attr-defined]


@of_both
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"statuses": ["done"]}, "statuses"),
        ({"statuses": []}, "statuses"),
        ({"subdomain": "example.zendesk.com"}, "subdomain"),
        ({"delay_minutes": 0}, "delay_minutes"),
    ],
)
def test_fields_that_are_wrong(stream: Stream, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationException, match=told):
        _ = stream.connector(**fields).fields


# --- the export ---


@of_tickets
def test_a_run_begins_with_the_cursor_of_the_last(stream: Stream, vendor: TicketsVendor) -> None:
    stream.run()
    before = len(vendor.asked)
    stream.run()
    assert [asked.query for asked in vendor.asked[before:]] == [{"cursor": str(vendor.first), "per_page": "50"}]


@of_tickets
def test_a_cursor_that_is_forgotten(stream: Stream, vendor: TicketsVendor, caplog: pytest.LogCaptureFixture) -> None:
    stream.run(include_comments=True)
    vendor.lasting = False
    vendor.offer(10)
    with caplog.at_level(logging.WARNING):
        assert stream.run(include_comments=True, batch_size=1000).outcome == "succeeded"
    assert "cursor_expired" in {getattr(record, "event", None) for record in caplog.records}
    assert stream.delivered() == list(range(vendor.first + 10))


@of_tickets
def test_ten_requests_a_minute(stream: Stream, vendor: TicketsVendor) -> None:
    waits: list[float] = []
    connector = stream.connector()
    connector.wait = waits.append  # type: ignore[method-assign, assignment]
    connector.run()
    assert connector.outcome == "succeeded"
    assert waits == [6] * (len(vendor.asked) - 1)


@of_tickets
def test_the_last_minute_is_not_asked_for(stream: Stream, vendor: TicketsVendor) -> None:
    stream.connector().pointer = str(times.written(times.nanoseconds(NOW) - 30 * SECOND, "iso"))
    assert stream.run().outcome == "succeeded"
    assert vendor.asked == []


# --- the search ---


@of_search
def test_a_search_that_knows_only_days_is_found_out(stream: Stream, vendor: SearchVendor) -> None:
    """It would give the same tickets again and again."""
    vendor.knows_times = False
    connector = stream.run()
    assert "cursor_loop" in str(connector.failure)
    assert stream.delivered() == list(range(200))


@of_search
def test_more_tickets_of_one_moment_than_a_page_has(stream: Stream, vendor: SearchVendor) -> None:
    vendor.tie(430)
    vendor.offer(20)
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 450))


@of_search
def test_more_tickets_of_one_moment_than_a_search_has_fail(stream: Stream, vendor: SearchVendor) -> None:
    vendor.tie(1_100)
    connector = stream.run()
    assert "422" in str(connector.failure)


# --- the audit log ---


@of_audit_logs
@pytest.mark.parametrize(("enforced", "wait"), [(True, [60, 60]), (False, [])])
def test_a_minute_between_two_pages(stream: Stream, vendor: AuditLogsVendor, enforced: bool, wait: list[float]) -> None:
    waits: list[float] = []
    connector = stream.connector(enforce_rate_limit=enforced)
    connector.wait = waits.append  # type: ignore[method-assign, assignment]
    connector.run()
    assert stream.delivered() == list(range(vendor.first))
    assert waits == wait


@of_audit_logs
def test_a_cursor_that_comes_again_ends_the_run(stream: Stream, vendor: AuditLogsVendor) -> None:
    def same(asked: Asked) -> Answered | None:
        page = [vendor.entry(*place) for place in vendor.entries[:100]]
        return Answered({"audit_logs": page, "meta": {"has_more": True, "after_cursor": "again"}})

    vendor.intercept = same
    connector = stream.run()
    assert "cursor_loop" in str(connector.failure)
    assert len(vendor.asked) == 2


@of_audit_logs
@pytest.mark.parametrize("fields", [{"batch_size": 0}, {"batch_size": 101}, {"delay": -1}, {"subdomain": ""}])
def test_fields_that_are_out_of_range(stream: Stream, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationException, match=next(iter(fields))):
        _ = stream.connector(**fields).fields


@of_audit_logs
def test_entries_of_the_last_minutes_come_later(stream: Stream, vendor: AuditLogsVendor) -> None:
    vendor.entries.append((times.nanoseconds(NOW) - 60 * SECOND, vendor.first))
    assert stream.run(delay=5).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 1))
