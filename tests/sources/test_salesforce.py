"""Salesforce: two ways to sign in, objects that cannot be sorted, and orgs that lack something."""

from __future__ import annotations

import logging
from typing import Any
from xml.sax.saxutils import escape

import pytest

from grove.exceptions import ConfigurationException, RateLimitException
from grove.testing.practice import read_delivered

from .conftest import Stream
from .vendor import TOKEN, WRONG, Answered, Asked, Vendor, moment
from .vendors.salesforce import FieldAuditTrailVendor, SetupAuditTrailVendor, ThreatDetectionVendor, refused

setup_audit_trail = pytest.mark.parametrize("vendor", ["sf_setup_audit_trail"], indirect=True)
field_audit_trail = pytest.mark.parametrize("vendor", ["sf_field_audit_trail"], indirect=True)
threat_detection = pytest.mark.parametrize("vendor", ["sf_threat_detection"], indirect=True)

PASSWORD = "p4ss<&>word"
USER = {"client_id": "", "client_secret": "", "identity": "ada@example.org", "key": PASSWORD, "token": "s3curity"}
NAMESPACE = "urn:partner.soap.sforce.com"


class Users:
    """The SOAP API's `login()`: what it was asked, and whether it still knows the password."""

    def __init__(self, vendor: Vendor) -> None:
        self.asked: list[str] = []
        self.vendor = vendor
        self.known = True
        vendor.token = self.login  # type: ignore[method-assign]

    def login(self, asked: Asked) -> Answered | None:
        if asked.path != "/services/Soap/u/64.0":
            return None
        assert asked.headers["soapaction"] == "login"
        self.asked.append(asked.body)
        if not self.known or escape(PASSWORD) not in asked.body:
            told = f"Invalid password {escape(PASSWORD)} or token s3curity"
            fault = f"<exceptionCode>INVALID_LOGIN</exceptionCode><exceptionMessage>{told}</exceptionMessage>"
            return Answered(f'<Fault xmlns:sf="{NAMESPACE}">{fault}</Fault>'.encode(), 500)
        server = f"{self.vendor.url}/services/Soap/u/64.0/00D"
        result = f"<result><serverUrl>{server}</serverUrl><sessionId>{TOKEN}</sessionId></result>"
        return Answered(f'<loginResponse xmlns="{NAMESPACE}">{result}</loginResponse>'.encode())


# --- signing in ---


@setup_audit_trail
def test_a_user_signs_in(stream: Stream, vendor: Vendor) -> None:
    users = Users(vendor)
    assert stream.run(**USER).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    (asked,) = users.asked
    assert "<username>ada@example.org</username><password>p4ss&lt;&amp;&gt;words3curity</password>" in asked


@setup_audit_trail
def test_a_session_that_ends_is_begun_again(stream: Stream, vendor: Vendor) -> None:
    users = Users(vendor)
    ended = refused(401, "INVALID_SESSION_ID", "Session expired or invalid").answer
    vendor.intercept = lambda asked: ended if len(vendor.asked) == 2 else None
    assert stream.run(**USER).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert len(users.asked) == 2


@setup_audit_trail
def test_a_password_that_is_wrong_is_tried_once(
    stream: Stream, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    users = Users(vendor)
    users.known = False
    with caplog.at_level(logging.DEBUG):
        connector = stream.run(**USER)
    assert len(users.asked) == 1, "a few of them lock the user out"
    told = str(connector.failure)
    assert "INVALID_LOGIN" in told
    assert "`client_id`" in told
    for text in (told, caplog.text, str([vars(record) for record in caplog.records])):
        assert PASSWORD not in text
        assert "s3curity" not in text


def with_store(stream: Stream, name: str, **fields: Any) -> Any:
    """A stream whose field `name` has been replaced in the secret store since it was fetched."""
    connector = stream.connector(**{**fields, name: "of before"}, secrets={name: "where it is"})
    right = {**stream.vendor.document, **fields}[name]
    connector.fetch_secrets = lambda: connector.configuration.model_copy(update={name: right})
    return connector


@setup_audit_trail
def test_an_app_goes_on_with_a_secret_that_was_rotated(stream: Stream, vendor: Vendor) -> None:
    connector = with_store(stream, "client_secret")
    connector.run()
    assert connector.outcome == "succeeded", connector.failure
    assert stream.delivered() == list(range(vendor.first))


@setup_audit_trail
def test_a_user_goes_on_with_a_password_that_was_rotated(stream: Stream, vendor: Vendor) -> None:
    users = Users(vendor)
    connector = with_store(stream, "key", **USER)
    connector.run()
    assert connector.outcome == "succeeded", connector.failure
    assert stream.delivered() == list(range(vendor.first))
    assert ["of before" in asked for asked in users.asked] == [True, False]


@setup_audit_trail
def test_what_answers_is_no_salesforce(stream: Stream, vendor: Vendor) -> None:
    vendor.token = lambda asked: Answered(b"not xml")  # type: ignore[method-assign]
    assert "without a session" in str(stream.run(**USER).failure)


@setup_audit_trail
def test_an_app_goes_before_a_user(stream: Stream, vendor: SetupAuditTrailVendor) -> None:
    assert stream.run(key=PASSWORD, token="s3curity").outcome == "succeeded"
    assert vendor.signed_in == 1


@setup_audit_trail
def test_a_token_that_does_not_say_where_the_org_is(stream: Stream, vendor: SetupAuditTrailVendor) -> None:
    vendor.names_itself = False
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


@setup_audit_trail
@pytest.mark.parametrize("fields", [{"client_secret": ""}, {"client_id": "", "key": PASSWORD}])
def test_without_credentials_the_fields_are_named(stream: Stream, vendor: Vendor, fields: dict[str, Any]) -> None:
    told = str(stream.run(**fields).failure)
    assert "It needs client_id, client_secret; or identity, key, token." in told
    assert vendor.asked == []


# --- what Salesforce says of itself ---


@threat_detection
def test_an_org_without_the_licence(stream: Stream, vendor: ThreatDetectionVendor) -> None:
    missing = refused(404, "NOT_FOUND", "The requested resource does not exist").answer
    vendor.intercept = lambda asked: missing
    told = str(stream.run().failure)
    assert "NOT_FOUND" in told
    assert "This log needs the licence for Event Monitoring" in told
    assert len(vendor.asked) == 1, "asking again changes nothing"


@setup_audit_trail
def test_a_user_who_may_not_see_it(stream: Stream, vendor: Vendor) -> None:
    hidden = refused(400, "INVALID_TYPE", "sObject type 'SetupAuditTrail' is not supported.").answer
    vendor.intercept = lambda asked: hidden
    assert "This log needs the permissions View Setup" in str(stream.run().failure)


@setup_audit_trail
def test_a_query_that_took_too_long_is_asked_again(stream: Stream, vendor: Vendor) -> None:
    slow = refused(400, "QUERY_TIMEOUT", "Your query request was running for too long.").answer
    vendor.intercept = lambda asked: slow if len(vendor.asked) in (1, 2) else None
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


@setup_audit_trail
@pytest.mark.parametrize("retries", [0, 2])
def test_an_org_that_is_asked_too_often_is_asked_as_often_as_the_document_says(
    stream: Stream, vendor: Vendor, retries: int
) -> None:
    exceeded = refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.").answer
    vendor.intercept = lambda asked: exceeded
    connector = stream.run(max_retries=retries, retry_delay=2)
    assert isinstance(connector.failure, RateLimitException)
    assert len(vendor.asked) == 1 + retries


# --- what is asked for ---


@setup_audit_trail
@pytest.mark.parametrize("start", ["2026-11-24T00:00:00Z", "2026-11-24", "2026-11-24T02:00:00.000+02:00"])
def test_the_first_run_begins_where_the_document_says(stream: Stream, vendor: Vendor, start: str) -> None:
    assert stream.run(start_date=start).outcome == "succeeded"
    expected = moment("2026-11-24T00:00:00Z")
    assert stream.delivered() == [number for at, number in vendor.entries if at >= expected]
    before = len(vendor.asked)
    assert stream.run(start_date="2020-01-01").outcome == "succeeded"
    assert "2020" not in vendor.asked[before].query["q"], "a later run goes on from the pointer"


@pytest.mark.parametrize(
    "vendor", ["sf_setup_audit_trail", "sf_field_audit_trail", "sf_threat_detection"], indirect=True
)
@pytest.mark.parametrize("big", ["", "newest first"])
def test_a_span_of_the_past(stream: Stream, vendor: Vendor, big: str) -> None:
    vendor.big = big  # type: ignore[attr-defined]
    since, until = vendor.entries[500][0], vendor.entries[2700][0]
    connector = stream.connector(start_date="2026-11-24")
    connector.past = (since, until)
    connector.run()
    assert connector.outcome == "succeeded"
    assert stream.delivered() == [number for moment, number in vendor.entries if since <= moment < until]


@setup_audit_trail
def test_a_start_that_is_no_date_is_told_and_ignored(
    stream: Stream, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    assert stream.run(start_date="last week").outcome == "succeeded"
    assert "`start_date`" in caplog.text
    assert "CreatedDate >= 2026-11-17T12:00:00.000Z" in vendor.asked[0].query["q"]


@pytest.mark.parametrize("vendor", ["sf_setup_audit_trail", "sf_field_audit_trail"], indirect=True)
def test_a_pointer_of_an_earlier_deployment(stream: Stream, vendor: Vendor) -> None:
    at, number = vendor.entries[2000]
    text = vendor.entry(at, number)["CreatedDate"]
    stream.connector().pointer = text
    assert stream.run(lookback=0).outcome == "succeeded"
    assert stream.delivered() == [number for moment, number in vendor.entries if moment >= at]


@setup_audit_trail
def test_entries_have_the_shape_that_they_always_had(stream: Stream, vendor: Vendor) -> None:
    assert stream.run().outcome == "succeeded"
    entries = {entry["Id"]: entry for entry in read_delivered(stream.path)}
    assert entries["0X1"].keys() == {
        *("Id", "Action", "Section", "CreatedDate", "Display", "CreatedByUsername", "DelegateUser"),
        *("_grove_operation", "_grove_connector", "_grove"),
    }
    assert entries["0X1"]["CreatedByUsername"] == "admin@example.org"
    assert entries["0X3"]["CreatedByUsername"] is None
    assert entries["0X1"]["_grove_operation"] == "SetupAuditTrail"
    assert entries["0X1"]["_grove_connector"] == "test"


@field_audit_trail
def test_changes_say_what_they_are_of(stream: Stream, vendor: Vendor) -> None:
    assert stream.run().outcome == "succeeded"
    entry = read_delivered(stream.path)[0]
    assert (entry["object_type"], entry["_grove_operation"]) == ("Account", "FieldAuditTrail")
    assert "attributes" not in entry


@field_audit_trail
def test_a_type_that_nobody_knows_is_asked_for_with_a_warning(
    stream: Stream, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.intercept = lambda asked: Answered({"done": True, "records": []}) if "q" in asked.query else None
    assert stream.run(object_type="Accnt").outcome == "succeeded"
    assert "not known to keep the history" in caplog.text
    caplog.clear()
    assert stream.run(object_type="Invoice__c").outcome == "succeeded"
    assert "not known" not in caplog.text
    assert "FieldHistoryType = 'Invoice__c'" in vendor.asked[-1].query["q"]


@field_audit_trail
def test_types_of_one_org_have_states_of_their_own(stream: Stream, vendor: Vendor) -> None:
    assert stream.run().outcome == "succeeded"
    own, other = stream.connector(), stream.connector(object_type="Case")
    assert own.cache_key() != other.cache_key()
    assert own.cache_key() != stream.connector(instance_url="https://other.my.salesforce.com").cache_key()
    assert own.cache_key() == stream.connector(client_secret="rotated").cache_key()


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


@threat_detection
def test_an_object_without_a_time(stream: Stream, vendor: ThreatDetectionVendor) -> None:
    vendor.fields = "Id, Score"  # type: ignore[misc]
    assert "EventDate" in str(stream.run().failure)


@pytest.mark.parametrize(
    ("vendor", "fields", "told"),
    [
        ("sf_threat_detection", {"operation": "all"}, "operation"),
        ("sf_field_audit_trail", {"object_type": "Account' OR FieldHistoryType = 'Case"}, "object_type"),
        ("sf_field_audit_trail", {"api_version": "latest"}, "api_version"),
        ("sf_setup_audit_trail", {"instance_url": "example.my.salesforce.com"}, "instance_url"),
        ("sf_setup_audit_trail", {"max_retries": -1, "client_secret": WRONG}, "max_retries"),
        ("sf_event_log", {"interval": "hourly"}, "interval"),
        ("sf_event_log", {"operation": "Login' OR Id != '"}, "operation"),
    ],
    indirect=["vendor"],
)
def test_fields_that_are_wrong(stream: Stream, vendor: Vendor, fields: dict[str, Any], told: str) -> None:
    connector = stream.run(**fields)
    assert isinstance(connector.failure, ConfigurationException)
    assert told in str(connector.failure)
    assert WRONG not in str(connector.failure)
    assert vendor.asked == [], "nobody is asked"
