"""BigQuery: columns and pointers, partitions, jobs that take their time, ties, and types of values."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from grove.connectors.google._rows import entries
from grove.connectors.rest import times
from grove.exceptions import ConfigurationException, RequestFailedException
from grove.testing.practice import read_delivered

from .conftest import Stream
from .vendor import NOW, SECOND, Answered, Vendor, moment
from .vendors.bigquery import BigQueryVendor

DAY = 86_400 * SECOND
bigquery = pytest.mark.parametrize("vendor", ["google_bigquery_query"], indirect=True)


# --- what is asked for ---


@bigquery
def test_the_statement(stream: Stream, vendor: BigQueryVendor) -> None:
    vendor.intercept = lambda asked: Answered({"error": {"message": "stop here"}}, 400)
    stream.run(columns=["gmail.event_info", "seen"], partition_column="")
    assert vendor.asked[0].body["query"] == (
        "SELECT `gmail`.`event_info`, `seen` FROM `example-project.workspace_logs.activity` "
        "WHERE `gmail`.`event_info`.`timestamp_usec` >= @low AND `gmail`.`event_info`.`timestamp_usec` <= @high "
        "ORDER BY `gmail`.`event_info`.`timestamp_usec` ASC LIMIT 3000"
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["*"], "gmail.event_info.at"),
        (["gmail"], "gmail.event_info.at"),
        (["other", "gmail.event_info"], "event_info.at"),
        (["gmail.event_info.at"], "at"),
        (["gmail.*"], "event_info.at"),
        (["gmail.event_info.*"], "at"),
    ],
)
@bigquery
def test_where_the_pointer_is_in_an_entry(
    stream: Stream, vendor: BigQueryVendor, columns: list[str], expected: str
) -> None:
    assert expected == stream.connector(columns=columns, pointer_path="gmail.event_info.at").POINTER_PATH


@bigquery
def test_timestamps_in_place_of_microseconds(stream: Stream, vendor: BigQueryVendor) -> None:
    fields: dict[str, Any] = {"pointer_path": "seen", "time_format": "timestamp"}
    connector = stream.run(**fields)
    assert connector.outcome == "succeeded"
    assert stream.connector(**fields).pointer == str(times.written(vendor.entries[-1][0], "%Y-%m-%d %H:%M:%S+00:00"))
    vendor._moment += 345_678_000
    vendor.tie(2)
    vendor.offer(10)
    assert stream.run(**fields).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 12))
    assert stream.connector(**fields).pointer.endswith(".345678+00:00"), "not cut to seconds"


@bigquery
@pytest.mark.parametrize(
    ("fields", "form"),
    [({}, "epoch_us"), ({"pointer_path": "seen", "time_format": "timestamp"}, "%Y-%m-%d %H:%M:%S+00")],
)
def test_a_pointer_of_an_earlier_deployment(
    stream: Stream, vendor: BigQueryVendor, fields: dict[str, Any], form: str
) -> None:
    at, _ = vendor.entries[1200]
    stream.connector(**fields).pointer = str(times.written(at, form))
    assert stream.run(**fields).outcome == "succeeded"
    assert stream.delivered() == [number for moment, number in vendor.entries if moment >= at]


@bigquery
def test_a_first_run_without_rows(stream: Stream, vendor: BigQueryVendor) -> None:
    vendor.entries.clear()
    assert stream.run(bootstrap_days=3).outcome == "succeeded"
    assert stream.connector().pointer == str(times.written(times.nanoseconds(NOW) - 3 * DAY, "epoch_us"))


@bigquery
def test_a_pointer_that_is_no_time(stream: Stream, vendor: BigQueryVendor, caplog: pytest.LogCaptureFixture) -> None:
    stream.connector().pointer = "yesterday"
    assert stream.run().outcome == "succeeded"
    assert "The pointer is no time" in caplog.text
    assert stream.delivered() == list(range(vendor.first))


@bigquery
def test_the_newest_rows_are_left_to_the_next_run(stream: Stream, vendor: BigQueryVendor) -> None:
    newest = len(vendor.entries)
    vendor.entries.append((times.nanoseconds(NOW) - 179 * SECOND, newest))
    assert stream.run().outcome == "succeeded"
    assert newest not in stream.delivered()


@bigquery
def test_partitions_that_are_read(stream: Stream, vendor: BigQueryVendor, caplog: pytest.LogCaptureFixture) -> None:
    def oldest(pointer: str, **fields: Any) -> str:
        stream.connector().pointer = str(times.written(moment(pointer), "epoch_us"))
        stream.run(**fields)
        return vendor.statements[-1].partition("DATE '")[2][:10]

    assert oldest("2026-11-24T11:00:00Z") == "2026-11-21", "three days at least"
    assert oldest("2026-11-19T00:00:00Z") == "2026-11-17", "five days behind, and two for late rows"
    assert oldest("2026-11-19T00:00:00Z", late_buffer_days=10) == "2026-11-09"
    assert "far behind" not in caplog.text
    assert oldest("2026-10-01T00:00:00Z") == "2026-09-29", "nothing is skipped"
    assert "far behind" in caplog.text


@bigquery
def test_a_table_that_is_not_partitioned(stream: Stream, vendor: BigQueryVendor) -> None:
    assert stream.run(partition_column="").outcome == "succeeded"
    assert "_PARTITIONDATE" not in vendor.statements[0]
    assert stream.delivered() == list(range(vendor.first))


@bigquery
def test_tables_have_states_of_their_own(stream: Stream, vendor: BigQueryVendor) -> None:
    others = ({}, {"table_name": "other"}, {"dataset_name": "other"}, {"project_id": "other"}, {"pointer_path": "seen"})
    assert len({stream.connector(**fields).cache_key() for fields in others}) == len(others)
    assert stream.connector(page_size=7).cache_key() == stream.connector().cache_key()


@bigquery
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"columns": []}, "columns"),
        ({"columns": ["gmail; DROP TABLE x"]}, "columns"),
        ({"columns": ["a`b"]}, "columns"),
        ({"columns": ["seen"]}, "none of the columns has"),
        ({"pointer_path": "gmail.`x"}, "pointer_path"),
        ({"table_name": "activity` WHERE TRUE"}, "table_name"),
        ({"project_id": "a/b"}, "project_id"),
        ({"partition_column": "1=1 OR x"}, "partition_column"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": "many"}, "page_size"),
        ({"max_batches": 1.5}, "max_batches"),
        ({"time_format": "seconds"}, "time_format"),
    ],
)
def test_fields_that_are_wrong(stream: Stream, vendor: Vendor, fields: dict[str, Any], told: str) -> None:
    failure = stream.run(**fields).failure
    assert isinstance(failure, ConfigurationException)
    assert told in str(failure)
    assert vendor.asked == []


# --- how much of it ---


@bigquery
def test_a_run_reads_so_many_rows_and_the_next_one_goes_on(
    stream: Stream, vendor: BigQueryVendor, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"page_size": 400, "max_batches": 2}
    with caplog.at_level(logging.INFO):
        assert stream.run(**fields).outcome == "succeeded"
    assert len(stream.delivered()) == 800
    assert "There is more than this run reads." in caplog.text
    for _ in range(3):
        assert stream.run(**fields).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


@bigquery
def test_more_rows_of_one_time_than_a_run_reads(stream: Stream, vendor: BigQueryVendor) -> None:
    vendor.entries = vendor.entries[:50]
    vendor.tie(500)
    vendor.offer(20)
    fields = {"page_size": 30, "max_batches": 2}
    for _ in range(8):
        assert stream.run(**fields).outcome == "succeeded"
    assert stream.delivered() == list(range(570))


@bigquery
def test_a_lookback_with_more_rows_than_a_run_reads(stream: Stream, vendor: BigQueryVendor) -> None:
    vendor.entries = vendor.entries[:200]
    # About a hundred rows.
    fields: dict[str, Any] = {"page_size": 10, "max_batches": 2, "lookback": 600}
    for _ in range(8):
        assert stream.run(**fields).outcome == "succeeded"
    assert stream.delivered() == list(range(200))


@bigquery
def test_a_span_of_the_past_is_read_to_its_end(stream: Stream, vendor: BigQueryVendor) -> None:
    vendor.tie(300)
    vendor.offer(100)
    since, until = vendor.entries[500][0], vendor.entries[-50][0]
    connector = stream.connector(page_size=50, max_batches=2)
    connector.past = (since, until)
    connector.run()
    assert connector.outcome == "succeeded"
    assert stream.delivered() == [number for moment, number in vendor.entries if since <= moment < until]


@bigquery
def test_a_job_that_takes_its_time(stream: Stream, vendor: BigQueryVendor) -> None:
    vendor.unfinished = 3
    assert stream.run().outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert len({asked.body["requestId"] for asked in vendor.asked if asked.method == "POST"}) == 1


@bigquery
def test_a_query_that_is_sent_again_has_its_old_name(stream: Stream, vendor: BigQueryVendor) -> None:
    vendor.intercept = lambda asked: Answered({"error": {}}, 503) if len(vendor.asked) == 1 else None
    assert stream.run(location="EU").outcome == "succeeded"
    first, second = (asked.body for asked in vendor.asked[:2])
    assert first == second
    assert first["location"] == "EU"
    assert stream.run().outcome == "succeeded"
    assert vendor.asked[-1].body["requestId"] != first["requestId"]


@bigquery
def test_an_answer_that_is_none(stream: Stream, vendor: BigQueryVendor) -> None:
    vendor.intercept = lambda asked: Answered({"kind": "bigquery#other"})
    assert "whether the query is done" in str(stream.run().failure)


@bigquery
def test_a_key_that_is_none(stream: Stream, vendor: BigQueryVendor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        failure = stream.run(key='{"private_key": "s3cret"').failure
    assert "no service account's key file" in str(failure)
    assert "s3cret" not in str(failure) + caplog.text


# --- values ---


@bigquery
def test_rows_are_nested_as_the_table_is(stream: Stream, vendor: BigQueryVendor) -> None:
    assert stream.run().outcome == "succeeded"
    entry = next(entry for entry in read_delivered(stream.path) if entry["gmail"]["number"] == 1)
    assert entry["gmail"]["event_info"]["timestamp_usec"] == vendor.entries[1][0] // 1000
    assert entry["seen"] == str(times.written(vendor.entries[1][0], "%Y-%m-%d %H:%M:%S+00:00"))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ({"type": "INTEGER"}, "9007199254740993", 9007199254740993),
        ({"type": "FLOAT64"}, "0.5", 0.5),
        ({"type": "BOOL"}, "false", False),
        ({"type": "NUMERIC"}, "1.10", "1.10"),
        ({"type": "TIMESTAMP"}, "1741083072345678", "2025-03-04 10:11:12.345678+00:00"),
        ({"type": "TIMESTAMP"}, "-1", "1969-12-31 23:59:59.999999+00:00"),
        ({"type": "DATE"}, "2025-03-04", "2025-03-04"),
        ({"type": "BYTES"}, "yv4=", "yv4="),
        ({"type": "JSON"}, '{"a":[1]}', {"a": [1]}),
        ({"type": "STRING"}, None, None),
        ({"type": "INT64", "mode": "REPEATED"}, [{"v": "1"}, {"v": "2"}], [1, 2]),
        ({"type": "INT64", "mode": "REPEATED"}, [], []),
        (
            {"type": "STRUCT", "mode": "REPEATED", "fields": [{"name": "b", "type": "STRING"}]},
            [{"v": {"f": [{"v": "x"}]}}, {"v": {"f": [{"v": None}]}}],
            [{"b": "x"}, {"b": None}],
        ),
        ({"type": "RECORD", "fields": [{"name": "b", "type": "STRING"}]}, None, None),
    ],
)
def test_values(field: dict[str, Any], value: Any, expected: Any) -> None:
    assert entries([{"f": [{"v": value}]}], [{"name": "a", **field}]) == [{"a": expected}]


@pytest.mark.parametrize("row", [{"f": [{"v": "s3cret"}]}, {"f": []}, {}, {"f": [{"v": "1"}, {"v": "2"}]}, None])
def test_a_row_that_does_not_fit(row: Any) -> None:
    with pytest.raises(RequestFailedException, match="does not fit") as caught:
        entries([row], [{"name": "a", "type": "INTEGER"}])
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None
