"""Snowflake: keys, accounts, statements that take their time, types of values, and rows that arrive late."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from grove.connectors.rest import times
from grove.connectors.snowflake._rows import entries
from grove.exceptions import ConfigurationException, RequestFailedException
from grove.testing.practice import read_delivered

from .conftest import Stream
from .vendor import WRONG, Answered, Vendor
from .vendors.snowflake import KEY, LoginHistoryVendor, SessionHistoryVendor, pem

logins = pytest.mark.parametrize("vendor", ["snowflake_login_history"], indirect=True)
sessions = pytest.mark.parametrize("vendor", ["snowflake_session_history"], indirect=True)
queries = pytest.mark.parametrize("vendor", ["snowflake_query_history"], indirect=True)


# --- keys and accounts ---


@logins
def test_an_encrypted_key(stream: Stream, vendor: Vendor) -> None:
    locked = pem(KEY, "p4ssphrase")
    assert stream.run(key=locked, passphrase="p4ssphrase").outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


@logins
@pytest.mark.parametrize(
    "fields",
    [{"key": pem(KEY, "p4ssphrase"), "passphrase": WRONG}, {"key": WRONG}, {"key": ""}],
    ids=["wrong passphrase", "no key", "nothing"],
)
def test_keys_that_cannot_be_read(
    stream: Stream, vendor: Vendor, fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        failure = stream.run(**fields).failure
    assert isinstance(failure, ConfigurationException)
    assert "private key" in str(failure)
    assert vendor.asked == []
    for text in (str(failure), caplog.text, str([vars(record) for record in caplog.records])):
        assert WRONG not in text
        assert "PRIVATE KEY" not in text


@logins
def test_the_host_of_an_account(stream: Stream, vendor: LoginHistoryVendor) -> None:
    connector = stream.connector(vendor.connector)
    request = connector._first_request(connector.source(), (0, 1))
    assert request.url == "https://example-my-account.snowflakecomputing.com/api/v2/statements"


@logins
def test_histories_of_two_accounts_have_states_of_their_own(stream: Stream, vendor: Vendor) -> None:
    keys = {
        stream.connector(**fields).cache_key()
        for fields in ({}, {"account": "other"}, {"database": "SHARED"}, {"schema": "READER_ACCOUNT_USAGE"})
    }
    assert len(keys) == 4
    assert stream.connector(warehouse="LARGE").cache_key() in keys


@logins
@pytest.mark.parametrize(
    ("fields", "told"),
    [({"account": "example.snowflakecomputing.com/x"}, "account"), ({"batch_size": 0}, "batch_size")],
)
def test_fields_that_are_wrong(stream: Stream, vendor: Vendor, fields: dict[str, Any], told: str) -> None:
    failure = stream.run(**fields).failure
    assert isinstance(failure, ConfigurationException)
    assert told in str(failure)


@logins
def test_where_the_views_are(stream: Stream, vendor: Vendor) -> None:
    vendor.intercept = lambda asked: Answered({"message": "stop here"}, 422)
    stream.run(database="ADMIN", schema="SNOWFLAKE", role="AUDITOR", warehouse="")
    body = vendor.asked[0].body
    assert (body["database"], body["schema"], body["role"]) == ("ADMIN", "SNOWFLAKE", "AUDITOR")
    assert "warehouse" not in body, "it is the user's own"


# --- statements ---


@logins
def test_a_statement_that_takes_its_time(stream: Stream, vendor: LoginHistoryVendor) -> None:
    vendor.busy = 4
    assert stream.run().outcome == "succeeded"
    assert [asked.method for asked in vendor.asked] == ["POST", *["GET"] * 6]
    assert stream.delivered() == list(range(vendor.first))


@logins
def test_a_statement_that_never_ends(stream: Stream, vendor: LoginHistoryVendor) -> None:
    vendor.busy = 1_000_000
    failure = stream.run().failure
    assert isinstance(failure, RequestFailedException)
    assert "has not finished a statement within 900 seconds" in str(failure)
    assert len(vendor.asked) < 100


@logins
def test_a_status_at_another_host_is_not_asked_for(stream: Stream, vendor: Vendor) -> None:
    elsewhere = {"statementHandle": "01b", "statementStatusUrl": "https://elsewhere.example.org/api"}
    vendor.intercept = lambda asked: Answered(elsewhere, 202)
    assert "not followed" in str(stream.run().failure)


@logins
def test_a_statement_that_fails(stream: Stream, vendor: Vendor) -> None:
    refused = {"code": "002003", "message": "Object 'LOGIN_HISTORY' does not exist or not authorized."}
    vendor.intercept = lambda asked: Answered(refused, 422)
    failure = stream.run().failure
    assert isinstance(failure, RequestFailedException)
    assert failure.status == 422
    assert "not authorized" in str(failure)
    assert len(vendor.asked) == 1


@logins
@pytest.mark.parametrize("missing", ["resultSetMetaData", "data", "statementHandle"])
def test_an_answer_that_lacks_something(stream: Stream, vendor: LoginHistoryVendor, missing: str) -> None:
    whole = vendor.first_partition

    def without(handle: str) -> Answered:
        body = dict(whole(handle).body)
        del body[missing]
        return Answered(body)

    vendor.first_partition = without  # type: ignore[method-assign]
    assert repr(missing) in str(stream.run().failure)


@logins
def test_rows_are_saved_in_batches(stream: Stream, vendor: Vendor) -> None:
    sizes: list[int] = []

    class Counting(stream.kind):  # type: ignore[name-defined, misc]
        def save(self, entries: list[Any], cursor: str | None = None) -> None:
            sizes.append(len(entries))
            super().save(entries, cursor)

    assert stream.run(Counting, batch_size=300).outcome == "succeeded"
    assert sizes == [300, 300, 300, 100, 300, 300, 300, 100, 300]


# --- what is asked for ---


@queries
def test_the_first_run_asks_for_an_hour_of_queries(stream: Stream, vendor: Vendor) -> None:
    assert stream.run().outcome == "succeeded"
    assert vendor.asked[0].body["bindings"]["1"]["value"] == "2026-11-24 11:00:00.000000+00:00"


@logins
def test_a_pointer_of_an_earlier_deployment(stream: Stream, vendor: Vendor) -> None:
    at, _ = vendor.entries[1200]
    stream.connector().pointer = str(times.written(at, "%Y-%m-%d %H:%M:%S.%f+00:00"))
    assert stream.run(lookback=0).outcome == "succeeded"
    assert stream.delivered() == [number for moment, number in vendor.entries if moment >= at]


@pytest.mark.parametrize(
    ("vendor", "seconds"),
    [("snowflake_login_history", 7_000), ("snowflake_query_history", 2_600), ("snowflake_session_history", 10_700)],
    indirect=["vendor"],
)
def test_rows_that_arrive_as_late_as_snowflake_says(stream: Stream, vendor: LoginHistoryVendor, seconds: int) -> None:
    own = {} if "lookback" not in vendor.document else {"lookback": stream.kind.SOURCE.lookback}
    assert stream.run(**own).outcome == "succeeded"
    vendor.offer_late(20, seconds)
    vendor.offer(5)
    assert stream.run(**own).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 25))


@sessions
def test_a_session_that_ends_is_not_delivered_again(stream: Stream, vendor: SessionHistoryVendor) -> None:
    assert stream.run().outcome == "succeeded"
    assert {entry["CLOSED_REASON"] for entry in read_delivered(stream.path)} == {None}
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


@logins
def test_a_span_of_the_past(stream: Stream, vendor: Vendor) -> None:
    since, until = vendor.entries[500][0], vendor.entries[1700][0]
    connector = stream.connector()
    connector.past = (since, until)
    connector.run()
    assert connector.outcome == "succeeded"
    assert stream.delivered() == [number for moment, number in vendor.entries if since <= moment < until]
    assert len(vendor.asked) == 2, "what lies behind it is not asked for"


# --- values ---


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("fixed", "12345678901234567890123", 12345678901234567890123),
        ("real", "-0.5", -0.5),
        ("boolean", "true", True),
        ("boolean", "false", False),
        ("text", "YES", "YES"),
        ("variant", '{"a":1}', '{"a":1}'),
        ("date", "20151", "2025-03-04"),
        ("date", "-1", "1969-12-31"),
        ("time", "36672.250000000", "10:11:12.250000"),
        ("timestamp_ltz", "1741083072.345000000", "2025-03-04 10:11:12.345000+00:00"),
        ("timestamp_ltz", "1741083072.000000000", "2025-03-04 10:11:12+00:00"),
        ("timestamp_ltz", "1741083072.345678999", "2025-03-04 10:11:12.345678+00:00"),
        ("timestamp_tz", "1741083072.345000000 1500", "2025-03-04 10:11:12.345000+00:00"),
        ("timestamp_ntz", "1741083072.345000000", "2025-03-04 10:11:12.345000"),
        ("TIMESTAMP_LTZ", "-0.500000000", "1969-12-31 23:59:59.500000+00:00"),
        ("binary", "CAFE", "CAFE"),
        ("something_new", "x", "x"),
        ("fixed", None, None),
    ],
)
def test_values(kind: str, text: str | None, expected: Any) -> None:
    assert entries([[text]], [{"name": "A", "type": kind, "scale": 0}]) == [{"A": expected}]


def test_decimals_are_exact() -> None:
    assert entries([["1.10"]], [{"name": "A", "type": "fixed", "scale": 2}]) == [{"A": "1.10"}]


@pytest.mark.parametrize("row", [["s3cret"], ["1", "2"], [], [1]])
def test_a_row_that_does_not_fit(row: list[Any]) -> None:
    with pytest.raises(RequestFailedException, match="does not fit") as caught:
        entries([row], [{"name": "A", "type": "fixed" if row != [1] else "timestamp_ltz", "scale": 0}])
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None
