"""The DynamoDB cache, against moto made as strict as AWS: the contract, stored forms, what is too big, faults."""

import contextlib
import json
import threading
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from blake3 import blake3

from grove.caches import BaseCache, Batch, Key, _dynamodb_items, _dynamodb_large, _dynamodb_table, aws_dynamodb
from grove.caches.aws_dynamodb import Handler
from grove.exceptions import (
    AccessException,
    ConfigurationException,
    ConflictError,
    CorruptStateError,
    NotImplementedException,
)
from grove.helpers import aws, clock
from grove.testing.cache_contract import CacheContract, Link
from tests.servers import Server, free_port
from tests.tables import CREDENTIALS, REGION, plain_client, table
from tests.tcp_proxy import FAULTS, RESET_AFTER, RESET_BEFORE, Proxy

REFERENCE = "example_one.06dc0fd3c08a2bc6a33f5460da9fea10"
POINTER = Key(f"pointer.{REFERENCE}", "all")
EPOCH = Key(f"epoch.{REFERENCE}", "all")
BOUNDARY = Key(f"boundary.{REFERENCE}", "all")
BIG = "0123456789abcdef" * 64 * 1024
PERMISSIONS = {"GetItem", "TransactGetItems", "TransactWriteItems", "UpdateItem", "DeleteItem"}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials of nobody."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_clients() -> Iterator[None]:
    """Clients that this test makes are its own: with other settings, or counted."""
    forget_clients()
    yield
    forget_clients()


def forget_clients() -> None:
    for client in aws._clients.values():
        client.close()
    aws._clients.clear()


def table_of(tmp_path: Path) -> str:
    return blake3(str(tmp_path).encode()).hexdigest(8)


def make_cache(tmp_path: Path, port: int, **settings: Any) -> Handler:
    """A cache over this test's table."""
    return Handler(
        **{"url": f"http://127.0.0.1:{port}", "table": table_of(tmp_path), "table_region": REGION, **settings}
    )


class TestContract(CacheContract):
    FIGHTS = 20

    @pytest.fixture(autouse=True)
    def _server(self, port: int) -> None:
        self.port = port

    def make_cache(self, tmp_path: Path) -> BaseCache:
        return make_cache(tmp_path, self.port)

    @pytest.fixture
    def distant(self, tmp_path: Path) -> Iterator[tuple[BaseCache, Link]]:
        with Proxy(self.port) as link:
            yield make_cache(tmp_path, link.port), link


# --- one table per test ---


@pytest.fixture
def port(moto: Server, tmp_path: Path) -> Iterator[int]:
    """Of a server that has this test's table."""
    with table(moto.port, table_of(tmp_path)):
        yield moto.port


@pytest.fixture
def cache(port: int, tmp_path: Path) -> Handler:
    return make_cache(tmp_path, port)


@pytest.fixture
def link(port: int, monkeypatch: pytest.MonkeyPatch, no_clients: None) -> Iterator[Proxy]:
    """A link that can fail, used by clients that do not try again by themselves."""
    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    with Proxy(port) as proxy:
        yield proxy


def stored(tmp_path: Path, port: int) -> list[dict[str, Any]]:
    """Every item of the table, in order."""
    pages = plain_client(port).get_paginator("scan").paginate(TableName=table_of(tmp_path), ConsistentRead=True)
    found = [item for page in pages for item in page["Items"]]
    return sorted(found, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


def put(tmp_path: Path, port: int, item: dict[str, Any]) -> None:
    plain_client(port).put_item(TableName=table_of(tmp_path), Item=item)


def internal(tmp_path: Path, port: int) -> list[str]:
    """Partition keys of chunks and records of batches."""
    return [
        item["pk"]["S"] for item in stored(tmp_path, port) if item["pk"]["S"].startswith(("grove:chunk", "grove:batch"))
    ]


def open_record(cache: Handler, batch: str) -> None:
    """What a large batch begins with."""
    opened = {"UpdateExpression": "SET decision = :open", "ExpressionAttributeValues": {":open": {"S": "open"}}}
    cache._table.update(_dynamodb_large._record(batch), **opened)


# --- what is stored ---


def test_an_older_deployment_s_table_goes_on(cache: Handler, tmp_path: Path, port: int) -> None:
    for kind, value in {
        "pointer": "2024-02-29T23:59:59Z",
        "deduplication": '["d41d8cd98f00b204e9800998ecf8427e"]',
    }.items():
        plain_client(port).update_item(
            TableName=table_of(tmp_path),
            Key={"pk": {"S": f"{kind}.{REFERENCE}"}, "sk": {"S": "all"}},
            UpdateExpression="SET #d = :d",
            ExpressionAttributeNames={"#d": "data"},
            ExpressionAttributeValues={":d": {"S": value}},
        )
    assert cache.get(*POINTER) == "2024-02-29T23:59:59Z"
    assert cache.get(f"deduplication.{REFERENCE}", "all") == '["d41d8cd98f00b204e9800998ecf8427e"]'
    with pytest.raises(ConflictError):
        cache.set(*POINTER, "2", not_set=True)
    cache.set(*POINTER, "2", constraint="2024-02-29T23:59:59Z")
    cache.delete(f"deduplication.{REFERENCE}", "all")
    assert stored(tmp_path, port) == [{"pk": {"S": POINTER.pk}, "sk": {"S": "all"}, "data": {"S": "2"}}]


def test_attributes_of_others_stay(cache: Handler, tmp_path: Path, port: int) -> None:
    item = {"pk": {"S": POINTER.pk}, "sk": {"S": "all"}, "data": {"S": "1"}, "expires": {"N": "1"}}
    put(tmp_path, port, item)
    cache.set(*POINTER, "2", constraint="1")
    assert stored(tmp_path, port) == [{**item, "data": {"S": "2"}}]


@pytest.mark.parametrize("data", [{}, {"data": {"N": "5"}}, {"data": {"B": b"5"}}], ids=["none", "number", "bytes"])
def test_an_item_without_text_is_not_an_absent_one(
    cache: Handler, tmp_path: Path, port: int, data: dict[str, Any]
) -> None:
    put(tmp_path, port, {"pk": {"S": POINTER.pk}, "sk": {"S": "all"}, **data})
    with pytest.raises(CorruptStateError, match=POINTER.pk):
        cache.get(*POINTER)


@pytest.mark.parametrize(
    ("key", "place", "original"),
    [
        (POINTER, POINTER, None),
        (Key("pointer.a", "événements/*"), Key("pointer.a", "événements/*"), None),
        (
            Key("pointer.a", ""),
            Key("pointer.a", "grove:key:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            '["pointer.a", ""]',
        ),
        (
            Key("pointer.a", "grove:x"),
            Key("pointer.a", "grove:key:c5924bb9832dcafe2857d330ea659057fd4de8e10ff3f5e8980df39d81bcb72b"),
            '["pointer.a", "grove:x"]',
        ),
        (
            Key("pointer.a", "\ud800"),
            Key("pointer.a", "grove:key:dff435ed8113f31233474261aa854f0f062f43abed8510a58522f0e5453b0301"),
            '["pointer.a", "\\ud800"]',
        ),
        (
            Key("", "a"),
            Key("grove:key:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", "a"),
            '["", "a"]',
        ),
    ],
    ids=["plain", "unicode", "empty", "like a hash", "surrogate", "empty pk"],
)
def test_where_a_key_lies(
    cache: Handler, tmp_path: Path, port: int, key: Key, place: Key, original: str | None
) -> None:
    cache.set(*key, "1")
    expected = {"pk": {"S": place.pk}, "sk": {"S": place.sk}, "data": {"S": "1"}}
    assert stored(tmp_path, port) == [{**expected, **({"original_key": {"S": original}} if original else {})}]
    assert list(cache.scan(key.pk)) == [(key, "1")]


def test_where_a_big_value_lies(cache: Handler, tmp_path: Path, port: int) -> None:
    generation = "0065e8f3c0-5f1d7f3f0c6f4a21b2d0a4f6c1a9e3d7"
    parts = [b"Z\xc3\xbcri", b"ch\xed\xa0\x80"]
    for number, part in enumerate(parts):
        put(
            tmp_path,
            port,
            {"pk": {"S": f"grove:chunk:{generation}"}, "sk": {"S": f"{number:06d}"}, "content": {"B": part}},
        )
    digest = blake3(b"".join(parts)).hexdigest()
    chunks = {"generation": {"S": generation}, "count": {"N": "2"}, "digest": {"S": digest}}
    put(tmp_path, port, {"pk": {"S": BOUNDARY.pk}, "sk": {"S": "all"}, "chunks": {"M": chunks}})
    assert cache.get(*BOUNDARY) == "Zürich\ud800"
    assert dict(cache.scan("boundary")) == {BOUNDARY: "Zürich\ud800"}
    cache.delete(*BOUNDARY, constraint="Zürich\ud800")
    assert stored(tmp_path, port) == []


# --- big values ---


@pytest.mark.parametrize("size", [31_999, 32_000, 32_001, 379_999, 380_000, 380_001, 760_000, 1_000_001])
def test_a_value_of_any_size(cache: Handler, tmp_path: Path, port: int, size: int) -> None:
    value = (BIG + BIG)[:size]
    cache.apply(Batch().require(BOUNDARY, None).set(BOUNDARY, value))
    assert cache.get(*BOUNDARY) == value
    assert len(internal(tmp_path, port)) == (0 if size <= 32_000 else -(-size // 380_000))
    with pytest.raises(ConflictError):
        cache.set(*BOUNDARY, "1", constraint=value[:-1] + "-")
    cache.set(*BOUNDARY, "1", constraint=value)
    assert (cache.get(*BOUNDARY), internal(tmp_path, port)) == ("1", [])


@pytest.mark.parametrize("known", [True, False], ids=["by its writer", "by another"])
def test_a_big_value_that_is_replaced_or_deleted_leaves_nothing(
    cache: Handler, tmp_path: Path, port: int, known: bool
) -> None:
    others = cache if known else make_cache(tmp_path, port)
    cache.apply(Batch().set(BOUNDARY, BIG).set(POINTER, BIG).set(EPOCH, "1"))
    assert len(internal(tmp_path, port)) == 6
    others.apply(Batch().require(EPOCH, "1").set(BOUNDARY, BIG[::-1]).set(POINTER, "small"))
    assert len(internal(tmp_path, port)) == 3
    assert cache.read([BOUNDARY, POINTER]) == [BIG[::-1], "small"]
    cache.delete(*BOUNDARY)
    assert internal(tmp_path, port) == []


def test_a_big_value_that_is_refused_leaves_nothing(cache: Handler, tmp_path: Path, port: int) -> None:
    cache.set(*EPOCH, "2")
    with pytest.raises(ConflictError, match="epoch"):
        cache.apply(Batch().require(EPOCH, "1").set(BOUNDARY, BIG))
    assert internal(tmp_path, port) == []


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_big_value_that_is_damaged_is_an_error(cache: Handler, tmp_path: Path, port: int, harm: str) -> None:
    cache.set(*BOUNDARY, BIG)
    place = {"pk": {"S": internal(tmp_path, port)[0]}, "sk": {"S": "000001"}}
    if harm == "changed":
        put(tmp_path, port, {**place, "content": {"B": b"something else"}})
    else:
        plain_client(port).delete_item(TableName=table_of(tmp_path), Key=place)
    with pytest.raises(CorruptStateError, match=BOUNDARY.pk):
        cache.get(*BOUNDARY)


def test_a_big_value_can_be_read_while_it_is_replaced(cache: Handler, tmp_path: Path, port: int) -> None:
    reader, values = make_cache(tmp_path, port), [letter * 800_000 for letter in "abcdefgh"]
    cache.apply(Batch().set(BOUNDARY, values[0]).set(POINTER, "a"))
    seen: list[list[str | None]] = []

    def read() -> None:
        while not seen or seen[-1][0] != values[-1]:
            seen.append(reader.read([BOUNDARY, POINTER]))

    thread = threading.Thread(target=read)
    thread.start()
    for value in values[1:]:
        cache.apply(Batch().set(BOUNDARY, value).set(POINTER, value[0]))
    thread.join()
    assert all(value in values and pointer == value[0] for value, pointer in seen if value is not None)
    assert len(seen) > 1


# --- what dead writers leave ---


def test_scan_removes_what_dead_writers_have_left(
    cache: Handler, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.set(*BOUNDARY, BIG)
    kept = internal(tmp_path, port)
    # Written, and never referred to: by a writer that died, or is not done yet.
    cache._table.write_parts(_dynamodb_items.Value.encode(BIG))
    open_record(cache, _dynamodb_items.new_id())
    assert len(internal(tmp_path, port)) == 7
    assert list(cache.scan("pointer.")) == []
    assert len(internal(tmp_path, port)) == 7
    later = clock.now() + timedelta(days=1, seconds=10)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert list(cache.scan("pointer.")) == []
    assert internal(tmp_path, port) == kept
    assert cache.get(*BOUNDARY) == BIG


def test_scan_lists_more_than_one_answer_holds(cache: Handler) -> None:
    batch = Batch()
    for number in range(60):
        batch.set(Key(f"lookback-{number}.{REFERENCE}", "all"), f"{number}-" * 8000)
    cache.apply(batch)
    cache.set(*POINTER, "1")
    assert dict(cache.scan("lookback-")) == batch.changes
    assert dict(cache.scan("")) == {**batch.changes, POINTER: "1"}


# --- batches too big for one transaction ---

KEYS = [
    Key(f"pointer.{REFERENCE}", name) for name in ("set", "delete", "big", "new", "only required", "required absent")
]
LONG, OTHER = "ab" * 75_000, "ba" * 75_000
BEFORE = ["1", "1", LONG, None, "1", None]
AFTER = ["2", None, OTHER, "2", "1", None]


def large_batch() -> Batch:
    """From BEFORE to AFTER, with a condition wherever there can be one."""
    batch = (
        Batch()
        .require(KEYS[0], "1")
        .require(KEYS[2], LONG)
        .require(KEYS[3], None)
        .require(KEYS[4], "1")
        .require(KEYS[5], None)
    )
    return batch.set(KEYS[0], "2").delete(KEYS[1]).set(KEYS[2], OTHER).set(KEYS[3], "2")


@pytest.fixture
def small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction takes two items, and nobody waits for another's batch."""
    monkeypatch.setattr(aws_dynamodb, "TRANSACTION", 2)
    monkeypatch.setattr(_dynamodb_large, "PATIENCE", 0.0)


def fill(cache: Handler) -> None:
    for key, value in zip(KEYS, BEFORE, strict=True):
        if value is not None:
            cache.set(*key, value)


@pytest.mark.usefixtures("small_transactions")
def test_a_large_batch_leaves_nothing_but_its_values(cache: Handler, tmp_path: Path, port: int) -> None:
    fill(cache)
    cache.apply(large_batch())
    assert cache.read(KEYS) == AFTER
    assert len(internal(tmp_path, port)) == 1
    assert all("intent" not in item for item in stored(tmp_path, port))
    assert len(stored(tmp_path, port)) == 5


@pytest.mark.usefixtures("small_transactions")
@pytest.mark.parametrize("unmet", range(len(KEYS)))
def test_a_large_batch_with_one_unmet_condition_changes_nothing(
    cache: Handler, tmp_path: Path, port: int, unmet: int
) -> None:
    fill(cache)
    before = stored(tmp_path, port)
    with pytest.raises(ConflictError, match=rf"\({KEYS[unmet].sk}\)"):
        cache.apply(large_batch().require(KEYS[unmet], "something else"))
    assert stored(tmp_path, port) == before


@pytest.mark.usefixtures("small_transactions")
@pytest.mark.parametrize("fault", [RESET_BEFORE, RESET_AFTER])
def test_a_writer_may_die_at_any_request_of_a_large_batch(tmp_path: Path, port: int, link: Proxy, fault: str) -> None:
    outcomes = set()
    for request in range(200):
        name = tmp_path / f"{request}"
        with table(port, table_of(name)):
            writer, other = make_cache(name, link.port), make_cache(name, port)
            fill(other)
            link.fail(fault, after=request, times=10_000)
            with contextlib.suppress(AccessException):
                writer.apply(large_batch())
            met = link.met
            link.fail("", times=0)
            found = other.read(KEYS)
            assert found in (BEFORE, AFTER), request
            assert not any("intent" in item for item in stored(name, port)), request
            outcomes.add("before" if found == BEFORE else "after")
            # Whoever comes next goes on, with what is there.
            batch = Batch()
            for key, value in zip(KEYS, found, strict=True):
                batch.require(key, value).set(key, "next")
            other.apply(batch)
            assert writer.read(KEYS) == ["next"] * len(KEYS)
        if not met:
            break
    assert request > 15
    assert outcomes == {"before", "after"}


@pytest.mark.usefixtures("small_transactions")
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_large_batch_that_others_abort_is_tried_again(
    cache: Handler, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    fill(cache)
    other, interrupted = make_cache(tmp_path, port), []
    decide = _dynamodb_large._decide

    def late(table: Any, batch: str, decision: str) -> str:
        if decision == "committed" and len(interrupted) < times:
            interrupted.append(batch)
            assert other.read(KEYS) == BEFORE
        return decide(table, batch, decision)

    monkeypatch.setattr(_dynamodb_large, "_decide", late)
    if times < 3:
        cache.apply(large_batch())
        assert other.read(KEYS) == AFTER
    else:
        with pytest.raises(AccessException, match="nothing was changed"):
            cache.apply(large_batch())
        assert other.read(KEYS) == BEFORE
    assert len(set(interrupted)) == times


@pytest.mark.usefixtures("small_transactions")
def test_a_large_batch_meets_what_another_has_announced(cache: Handler, tmp_path: Path, port: int) -> None:
    fill(cache)
    dead = "0065e8f3c0-5f1d7f3f0c6f4a21b2d0a4f6c1a9e3d7"
    for key, value in ((KEYS[0], "1"), (KEYS[3], None)):
        step = _dynamodb_items.Step(key, True, value, True, None)
        _dynamodb_large._announce(cache._table, dead, step, 0)
    # One of the two is in the way of a small batch, both of a large one.
    make_cache(tmp_path, port).apply(Batch().require(KEYS[0], "1").set(KEYS[0], "1"))
    cache.apply(large_batch())
    assert cache.read(KEYS) == AFTER


@pytest.mark.usefixtures("small_transactions")
def test_whoever_carries_out_a_dead_writer_s_batch_clears_away_what_it_replaces(
    cache: Handler, tmp_path: Path, port: int
) -> None:
    fill(cache)
    value = _dynamodb_items.Value.encode(OTHER)
    dead = "0065e8f3c0-5f1d7f3f0c6f4a21b2d0a4f6c1a9e3d7"
    cache._table.write_parts(value)
    _dynamodb_large._announce(cache._table, dead, _dynamodb_items.Step(KEYS[2], True, LONG, True, value), 0)
    open_record(cache, dead)
    assert _dynamodb_large._decide(cache._table, dead, "committed") == "committed"
    assert make_cache(tmp_path, port).get(*KEYS[2]) == OTHER
    assert value.chunks is not None
    assert set(internal(tmp_path, port)) == {f"grove:chunk:{value.chunks.generation}", f"grove:batch:{dead}"}


@pytest.mark.usefixtures("small_transactions")
def test_requests_of_a_large_batch_may_come_twice(
    cache: Handler, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache)
    call = _dynamodb_table.Table._call

    def twice(self: Any, operation: str, **parameters: Any) -> Any:
        # As the client does where a reply is lost: only the second answer is heard.
        if operation in ("update_item", "delete_item"):
            with contextlib.suppress(_dynamodb_table.ConditionError):
                call(self, operation, **parameters)
        return call(self, operation, **parameters)

    monkeypatch.setattr(_dynamodb_table.Table, "_call", twice)
    cache.apply(large_batch())
    assert cache.read(KEYS) == AFTER
    with pytest.raises(ConflictError):
        cache.apply(large_batch())
    assert cache.read(KEYS) == AFTER
    assert all("intent" not in item for item in stored(tmp_path, port))


def test_another_s_open_batch_is_waited_for(
    cache: Handler, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_dynamodb, "TRANSACTION", 2)
    fill(cache)
    other, decide, started = make_cache(tmp_path, port), _dynamodb_large._decide, threading.Event()
    found: list[list[str | None]] = []
    reader = threading.Thread(target=lambda: found.append(other.read(KEYS)))

    def late(table: Any, batch: str, decision: str) -> str:
        # By now every key is announced.
        reader.start()
        assert started.wait(30)
        return decide(table, batch, decision)

    get = other._table.get

    def seen(keys: Any) -> Any:
        items = get(keys)
        if any(_dynamodb_items.internal_name(key) for key in keys):
            started.set()
        return items

    monkeypatch.setattr(_dynamodb_large, "_decide", late)
    monkeypatch.setattr(other._table, "get", seen)
    cache.apply(large_batch())
    reader.join()
    assert found == [AFTER]


@pytest.mark.usefixtures("small_transactions")
def test_large_batches_of_several_writers_count_right(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_dynamodb_large, "PATIENCE", 0.05)
    keys = [Key(POINTER.pk, str(number)) for number in range(5)]
    first = make_cache(tmp_path, port)
    for key in keys:
        first.set(*key, "0")
    done, torn, stop = [0, 0], [], threading.Event()

    def write(who: int) -> None:
        cache = make_cache(tmp_path, port)
        while done[who] < 5:
            now = cache.get(*keys[0])
            batch = Batch()
            for key in keys:
                batch.require(key, now).set(key, str(int(now) + 1))
            with contextlib.suppress(ConflictError, AccessException):
                cache.apply(batch)
                done[who] += 1

    def read() -> None:
        cache = make_cache(tmp_path, port)
        while not stop.is_set():
            with contextlib.suppress(AccessException):
                values = cache.read(keys)
                if len(set(values)) > 1:
                    torn.append(values)

    writers = [threading.Thread(target=write, args=(who,)) for who in range(2)]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert torn == []
    assert first.read(keys) == ["10"] * 5


# --- links and services that fail ---


def error(kind: str, status: int = 400, **more: Any) -> bytes:
    """A reply of DynamoDB that is an error."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "as told", **more}).encode()
    head = f"HTTP/1.1 {status} Told\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def cancelled(*codes: str) -> bytes:
    return error("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_write_that_fails_for_good_is_unknown(
    tmp_path: Path, port: int, link: Proxy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(aws, "READ_TIMEOUT", 0.2)
    cache, near = make_cache(tmp_path, link.port), make_cache(tmp_path, port)
    near.set(*POINTER, "1")
    assert cache.get(*POINTER) == "1"
    link.fail(fault)
    with pytest.raises(AccessException, match="does not answer"):
        cache.apply(Batch().require(POINTER, "1").set(POINTER, "2"))
    cache.reopen()
    assert cache.get(*POINTER) == near.get(*POINTER) == ("2" if "after" in fault else "1")


@pytest.mark.parametrize(
    "answer",
    [
        error("ProvisionedThroughputExceededException"),
        error("ThrottlingException"),
        error("TransactionInProgressException"),
        error("InternalServerError", 500),
        cancelled("None", "TransactionConflict"),
        cancelled("ThrottlingError", "None"),
        cancelled("ProvisionedThroughputExceeded"),
    ],
    ids=["capacity", "throttled", "in progress", "server", "conflict", "cancelled throttled", "cancelled capacity"],
)
def test_a_write_that_comes_at_a_bad_moment_is_tried_again(
    tmp_path: Path, port: int, link: Proxy, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(aws, "ATTEMPTS", 3)
    cache = make_cache(tmp_path, link.port)
    cache.set(*POINTER, "1")
    cache.read([POINTER, EPOCH])
    link.fail(answer)
    cache.apply(Batch().require(POINTER, "1").set(POINTER, "2").set(EPOCH, "1"))
    assert link.met == 1
    assert cache.read([POINTER, EPOCH]) == ["2", "1"]


def test_a_table_that_stays_too_busy_is_an_error_that_says_so(
    tmp_path: Path, link: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_dynamodb_table, "FIRST_WAIT", 0.001)
    cache = make_cache(tmp_path, link.port)
    cache.set(*POINTER, "1")
    link.fail(cancelled("TransactionConflict"), times=1000)
    with pytest.raises(AccessException, match="too busy; nothing was changed"):
        cache.set(*POINTER, "2")
    assert link.met == _dynamodb_table.ATTEMPTS


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (cancelled("None", "ConditionalCheckFailed"), ConflictError),
        (cancelled("ThrottlingError", "ConditionalCheckFailed"), ConflictError),
        (cancelled("None", "ValidationError"), AccessException),
        (cancelled("ItemCollectionSizeLimitExceeded", "TransactionConflict"), AccessException),
        (error("AccessDeniedException"), AccessException),
        (error("IdempotentParameterMismatchException"), AccessException),
    ],
)
def test_a_refused_write_says_whether_a_condition_was_unmet(
    tmp_path: Path, link: Proxy, answer: bytes, raised: type[Exception]
) -> None:
    cache = make_cache(tmp_path, link.port)
    cache.read([POINTER, EPOCH])
    link.fail(answer)
    with pytest.raises(raised):
        cache.apply(Batch().set(POINTER, "2").require(EPOCH, None).set(EPOCH, "1"))
    assert cache.read([POINTER, EPOCH]) == [None, None]


@pytest.mark.usefixtures("no_clients")
def test_a_service_that_is_gone_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    cache = make_cache(tmp_path, free_port())
    for use in (
        cache.setup,
        lambda: cache.get(*POINTER),
        lambda: cache.set(*POINTER, "1"),
        lambda: list(cache.scan("")),
    ):
        with pytest.raises(AccessException, match="does not answer") as caught:
            use()
        assert "no-secret" not in "".join(traceback.format_exception(caught.value))


# --- signing in ---


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken"])
def test_expired_credentials_are_renewed(tmp_path: Path, link: Proxy, code: str) -> None:
    cache = make_cache(tmp_path, link.port)
    cache.set(*POINTER, "1")
    before = cache._table._access.client()
    link.fail(error(code))
    cache.apply(Batch().require(POINTER, "1").set(POINTER, "2"))
    assert cache.get(*POINTER) == "2"
    assert cache._table._access.client() is not before


def test_one_of_many_threads_signs_in_anew(tmp_path: Path, link: Proxy) -> None:
    access = make_cache(tmp_path, link.port)._table._access
    expired = access.client()
    access.renew(expired)
    renewed = access.client()
    # Another thread has found out later.
    access.renew(expired)
    assert renewed is not expired
    assert access.client() is renewed


def test_credentials_that_stay_expired_are_an_error(tmp_path: Path, link: Proxy) -> None:
    cache = make_cache(tmp_path, link.port)
    link.fail(error("ExpiredTokenException"), times=10)
    with pytest.raises(AccessException, match="ExpiredToken"):
        cache.get(*POINTER)
    assert link.met == 2


@pytest.mark.usefixtures("no_clients")
def test_a_role_is_assumed_and_the_endpoint_kept(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
    role = "arn:aws:iam::123456789012:role/grove"
    cache = make_cache(tmp_path, port, assume_role_arn=role)
    # The stand-in keeps an account's tables for itself; it is the same account here.
    cache.set(*POINTER, "1")
    client = cache._table._access.client()
    issued = client._request_signer._credentials
    assert issued.access_key.startswith("ASIA")
    assert issued.token
    assert client.meta.endpoint_url == f"http://127.0.0.1:{port}"
    identity = boto3.client(
        "sts",
        region_name=REGION,
        aws_access_key_id=issued.access_key,
        aws_secret_access_key=issued.secret_key,
        aws_session_token=issued.token,
    )
    assert identity.get_caller_identity()["Arn"].endswith("assumed-role/grove/GroveDynamoDBHandler")
    identity.close()


@pytest.mark.usefixtures("no_clients")
@pytest.mark.parametrize(
    ("settings", "environment", "region"),
    [
        ({"table_region": "eu-west-1"}, {"AWS_REGION": "eu-west-2"}, "eu-west-1"),
        ({}, {"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-2"),
        ({}, {"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        ({}, {"GROVE_CACHE_AWS_DYNAMODB_TABLE_REGION": "eu-north-1"}, "eu-north-1"),
        ({"table_region": ""}, {}, "us-east-1"),
    ],
)
def test_the_region_of_the_table(
    settings: dict[str, str], environment: dict[str, str], region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = Handler(**settings)._table._access.client()
    assert client.meta.region_name == region
    assert client.meta.endpoint_url == f"https://dynamodb.{region}.amazonaws.com"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Handler().config.table, Handler().config.url) == ("grove", None)
    for name in ("TABLE", "URL", "ASSUME_ROLE_ARN", "TABLE_REGION"):
        monkeypatch.setenv(f"GROVE_CACHE_AWS_DYNAMODB_{name}", f"the {name}")
    config = Handler().config
    found = (config.table, config.url, config.assume_role_arn, config.table_region)
    assert found == ("the TABLE", "the URL", "the ASSUME_ROLE_ARN", "the TABLE_REGION")


@pytest.mark.usefixtures("no_clients")
def test_handlers_share_a_client(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = [], aws.Access._make
    monkeypatch.setattr(aws.Access, "_make", lambda self: made.append(self) or make(self))
    caches = [make_cache(tmp_path, port) for _ in range(8)]
    threads = [threading.Thread(target=cache.read, args=([POINTER],)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_without_the_table_it_is_a_matter_of_settings(tmp_path: Path, port: int) -> None:
    cache = make_cache(tmp_path, port, table="no-such-table")
    with pytest.raises(ConfigurationException, match=r"no-such-table.*GROVE_CACHE_AWS_DYNAMODB_TABLE"):
        cache.setup()


def test_a_table_with_other_keys_is_a_matter_of_settings(tmp_path: Path, port: int) -> None:
    plain_client(port).create_table(
        TableName=f"{table_of(tmp_path)}-other",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(ConfigurationException, match="partition key pk"):
        make_cache(tmp_path, port, table=f"{table_of(tmp_path)}-other").setup()


@pytest.mark.usefixtures("no_clients")
@pytest.mark.parametrize(
    "settings", [{"url": "not a url"}, {"table_region": "no region"}, {"table": ""}], ids=["url", "region", "table"]
)
def test_a_setting_that_cannot_be_is_a_matter_of_settings(tmp_path: Path, port: int, settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationException, match="GROVE_CACHE_AWS_DYNAMODB"):
        make_cache(tmp_path, port, **settings).setup()


def test_a_role_that_may_not_be_assumed_is_a_matter_of_settings(
    tmp_path: Path, link: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{link.port}")
    body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>as told</Message></Error></ErrorResponse>"
    head = f"HTTP/1.1 403 Told\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    link.fail(head.encode() + body)
    cache = make_cache(tmp_path, link.port, assume_role_arn="arn:aws:iam::123456789012:role/grove")
    with pytest.raises(ConfigurationException, match="AssumeRole"):
        cache.setup()


@pytest.mark.usefixtures("no_clients")
def test_without_credentials_it_is_a_matter_of_settings(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationException, match="no AWS credentials"):
        make_cache(tmp_path, port).setup()


def test_without_rights_it_is_a_matter_of_settings(tmp_path: Path, link: Proxy) -> None:
    cache = make_cache(tmp_path, link.port)
    link.fail(error("AccessDeniedException"))
    with pytest.raises(ConfigurationException, match="dynamodb:GetItem"):
        cache.setup()
    link.fail(error("AccessDeniedException"))
    with pytest.raises(NotImplementedException, match="dynamodb:Scan"):
        list(cache.scan("pending."))


@pytest.mark.usefixtures("small_transactions")
def test_it_needs_no_other_rights_than_before_and_reads_what_is_there_now(cache: Handler) -> None:
    used: set[str] = set()
    consistent: set[Any] = set()

    def note(model: Any, params: dict[str, Any], **_: Any) -> None:
        used.add(model.name)
        body = json.loads(params["body"])
        used.update(f"{kind} in a transaction" for action in body.get("TransactItems", []) for kind in action)
        if model.name in ("GetItem", "Scan"):
            consistent.add(body.get("ConsistentRead"))

    cache._table._access.client().meta.events.register("before-call.dynamodb", note)
    fill(cache)
    cache.apply(large_batch())
    cache.apply(Batch().require(KEYS[1], None).set(KEYS[0], BIG))
    cache.apply(Batch().require(KEYS[1], None).delete(KEYS[0]))
    assert cache.read(KEYS[:2]) == [None, None]
    assert list(cache.scan("epoch.")) == []
    assert consistent == {True}
    used.discard("Scan")
    assert used - PERMISSIONS == {f"{kind} in a transaction" for kind in ("Get", "Update", "Delete", "ConditionCheck")}
