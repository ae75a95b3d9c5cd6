"""GitHub: Enterprise Servers, secondary limits, periods that reach back to the pointer, details that are gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from grove.connectors.github import _api
from grove.connectors.rest import times
from grove.exceptions import ConfigurationException, RateLimitException

from .conftest import Stream
from .vendor import NOW, Answered, Asked
from .vendors.github import AuditLogVendor, RulesetsVendor

of_audit_log = pytest.mark.parametrize("vendor", ["github_audit_log"], indirect=True)
of_rulesets = pytest.mark.parametrize("vendor", ["github_rulesets"], indirect=True)


@pytest.mark.parametrize(
    ("fqdn", "root"),
    [
        ("api.github.com", "api.github.com"),
        ("api.example.ghe.com", "api.example.ghe.com"),
        ("github.example.org", "github.example.org/api/v3"),
        ("github.example.org:8443", "github.example.org:8443/api/v3"),
        ("github.example.org/api/v3/", "github.example.org/api/v3"),
    ],
)
def test_where_the_api_is(fqdn: str, root: str) -> None:
    assert _api.root(fqdn) == {"root": root}


@of_audit_log
@pytest.mark.parametrize("fqdn", ["https://api.github.com", "api.github.com?x", "user@api.github.com", ""])
def test_a_host_that_is_none(stream: Stream, fqdn: str) -> None:
    with pytest.raises(ConfigurationException, match="fqdn"):
        _ = stream.connector(fqdn=fqdn).fields


@of_audit_log
def test_a_secondary_limit_says_how_long(stream: Stream, vendor: AuditLogVendor) -> None:
    headers = {"Retry-After": "1800", "X-RateLimit-Remaining": "4711"}
    vendor.intercept = lambda asked: Answered({"message": "secondary rate limit"}, 403, headers)
    failure = stream.run().failure
    assert isinstance(failure, RateLimitException)
    assert failure.until == NOW + timedelta(seconds=1800)


@of_audit_log
def test_another_403_is_no_limit(stream: Stream, vendor: AuditLogVendor) -> None:
    headers = {"X-RateLimit-Remaining": "4711"}
    vendor.intercept = lambda asked: Answered({"message": "Must have admin rights"}, 403, headers)
    assert "Must have admin rights" in str(stream.run().failure)
    assert len(vendor.asked) == 1


@of_audit_log
def test_git_events_are_given_time_to_arrive(stream: Stream, vendor: AuditLogVendor) -> None:
    recent = times.nanoseconds(NOW - timedelta(minutes=5))
    vendor.entries.append((recent, vendor.first))
    assert stream.run(delay=10).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 1))


@of_rulesets
@pytest.mark.parametrize(
    ("fields", "days", "period"),
    [
        ({}, None, "day"),
        ({"time_period": "month"}, None, "month"),
        ({}, 0.5, "day"),
        ({}, 1.0, "week"),
        ({"time_period": "hour"}, 0.02, "hour"),
        ({}, 10, "month"),
        ({}, 100, "month"),
    ],
)
def test_the_period_reaches_back_to_the_pointer(
    stream: Stream, vendor: RulesetsVendor, fields: dict[str, Any], days: float | None, period: str
) -> None:
    if days is not None:
        at = times.nanoseconds(NOW - timedelta(days=days))
        stream.connector(**fields).pointer = str(times.written(at, "%Y-%m-%dT%H:%M:%S+00:00"))
    stream.run(**fields)
    assert vendor.asked[0].query["time_period"] == period


@of_rulesets
def test_an_evaluation_whose_details_are_gone_is_left_out(stream: Stream, vendor: RulesetsVendor) -> None:
    def gone(asked: Asked) -> Answered | None:
        return Answered({"message": "Not Found"}, 404) if asked.path.endswith("/7") else None

    vendor.intercept = gone
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == [number for number in range(vendor.first) if number != 7]
