"""Records in Kafka: against the brokers that librdkafka brings for its own tests, over real connections."""

import json
import logging
import os
import threading
import uuid

import pytest

from grove.exceptions import AccessException, ConfigurationException
from grove.logging import redact
from grove.outputs import kafka
from grove.outputs.kafka import Handler
from grove.testing.output_contract import OutputContract
from tests.outputs.kafka_cluster import running_cluster
from tests.outputs.stream import Stream

PREFIX = "GROVE_OUTPUT_KAFKA_"


@pytest.fixture(scope="module")
def cluster():
    with running_cluster() as found:
        yield found


@pytest.fixture
def topic():
    return f"topic-{uuid.uuid4().hex}"


@pytest.fixture
def make(cluster, topic, monkeypatch):
    """An output, set up; `make(timeout="3")` sets GROVE_OUTPUT_KAFKA_TIMEOUT."""

    def build(**settings):
        for name, value in {"bootstrap_servers": cluster.servers, "topic": topic, **settings}.items():
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
        handler = Handler()
        handler.setup()
        return handler

    return build


def submit(output, *entries, **changes):
    data = output.serialize(list(entries), {})
    output.submit(data=data, **{"connector": "c", "identity": "i", "operation": "all", "descriptor": "logs", **changes})


class TestContract(OutputContract):
    @pytest.fixture
    def output(self, cluster, topic, make, monkeypatch):
        monkeypatch.setenv(f"{PREFIX}BOOTSTRAP_SERVERS", cluster.servers)
        monkeypatch.setenv(f"{PREFIX}TOPIC", topic)
        self.cluster, self.topic = cluster, topic
        return Handler()

    def entries(self, output):
        return self.cluster.entries(self.topic)


# --- records ---


def test_an_entry_is_a_record_that_says_where_it_came_from(cluster, topic, make):
    submit(make(), {"id": 1}, {"id": 2})
    records = cluster.records(topic)
    assert [record.value() for record in records] == [b'{"id":1,"_grove":{}}', b'{"id":2,"_grove":{}}']
    assert {record.key() for record in records} == {b"c/i/all"}
    assert dict(records[0].headers()) == {
        "descriptor": b"logs",
        "connector": b"c",
        "identity": b"i",
        "operation": b"all",
    }


def test_the_entries_of_a_stream_keep_their_order(cluster, topic, make):
    output = make()
    for page in range(20):
        submit(output, *({"id": page * 100 + number} for number in range(100)))
    records = cluster.records(topic)
    assert len({record.partition() for record in records}) == 1
    assert [json.loads(record.value())["id"] for record in records] == list(range(2000))


def test_a_topic_for_each_descriptor(cluster, topic, make):
    output = make(topic=f"{topic}.{{descriptor}}")
    submit(output, {"id": 1}, descriptor="logs")
    submit(output, {"id": 2}, descriptor="a/b c")
    assert [entry["id"] for entry in cluster.entries(f"{topic}.logs")] == [1]
    assert [entry["id"] for entry in cluster.entries(f"{topic}.a_b_c")] == [2]


def test_text_that_is_no_unicode_does_no_harm(cluster, topic, make):
    submit(make(), {"id": 1}, identity="\ud800")
    assert cluster.records(topic)[0].key() == b"c/?/all"


def test_a_page_larger_than_the_queue(cluster, topic, make):
    output = make(options='{"queue.buffering.max.messages": 50}')
    submit(output, *({"id": number} for number in range(1000)))
    assert len(cluster.records(topic)) == 1000


def test_an_empty_page_is_nothing(cluster, topic, make):
    submit(make())
    assert cluster.records(topic) == []


def test_all_threads_share_one_producer(monkeypatch, make):
    made = []
    real = kafka.Producer
    monkeypatch.setattr(kafka, "Producer", lambda *args, **kwargs: made.append(1) or real(*args, **kwargs))
    output = make()
    threads = [threading.Thread(target=submit, args=(output, {"id": number})) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_forked_child_has_a_producer_of_its_own(cluster, topic, make):
    output = make()
    submit(output, {"id": 1})
    child = os.fork()
    if not child:
        try:
            submit(output, {"id": 2})
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert sorted(entry["id"] for entry in cluster.entries(topic)) == [1, 2]


# --- errors ---


def test_a_record_that_is_too_large_says_what_to_raise(topic, make):
    output = make(options='{"message.max.bytes": 2000}')
    with pytest.raises(AccessException, match=r"(?s)message\.max\.bytes.*max\.message\.bytes"):
        submit(output, {"id": 1}, {"id": 2, "fill": "x" * 5000}, {"id": 3})
    submit(output, {"id": 4})


def test_brokers_that_cannot_be_reached_are_named(make):
    output = make(bootstrap_servers="127.0.0.1:1", timeout="1")
    with pytest.raises(AccessException, match=r"127\.0\.0\.1:1 did not take a page.*refused"):
        submit(output, {"id": 1})


def test_a_producer_that_has_failed_for_good_is_replaced(cluster, topic, make, monkeypatch):
    class Failed(kafka.Producer):
        def produce(self, *args, **kwargs):
            raise kafka.KafkaException(kafka.KafkaError(kafka.KafkaError._FATAL, "made up", True))

    with monkeypatch.context() as patch:
        patch.setattr(kafka, "Producer", Failed)
        output = make()
    with pytest.raises(AccessException, match="made up"):
        submit(output, {"id": 1})
    submit(output, {"id": 2})
    assert [entry["id"] for entry in cluster.entries(topic)] == [2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bootstrap_servers", ""),
        ("topic", "white space"),
        ("timeout", "0"),
        ("options", "no JSON"),
        ("options", '{"nonsense": 1}'),
        ("security_protocol", "nonsense"),
    ],
)
def test_a_wrong_setting_is_named(make, name, value):
    with pytest.raises(ConfigurationException, match=f"{PREFIX}({name.upper()}|.*{name.replace('_', '.')})|nonsense"):
        make(**{name: value})


def test_no_credential_is_shown(make, caplog):
    caplog.set_level(logging.DEBUG)
    output = make(
        bootstrap_servers="127.0.0.1:1",
        timeout="1",
        security_protocol="sasl_plaintext",
        sasl_mechanism="PLAIN",
        sasl_username="me",
        sasl_password="s3cret1",
        options='{"ssl.key.password": "s3cret2"}',
    )
    with pytest.raises(AccessException) as caught:
        submit(output, {"id": 1})
    text = f"{output.config!r} {caught.value} {[record.getMessage() for record in caplog.records]}"
    assert "s3cret" not in text
    assert redact("s3cret1 s3cret2") == "[redacted] [redacted]"


# --- R23: what the promise says, through the real engine ---


class Faulty(kafka.Producer):
    """The producer, of which one record meets a fault: the `number`th from 0."""

    fault = ""
    number = 0
    produced = 0

    def produce(self, topic, line, on_delivery, **about):
        number, Faulty.produced = Faulty.produced, Faulty.produced + 1
        if number != Faulty.number:
            super().produce(topic, line, on_delivery=on_delivery, **about)
        elif Faulty.fault == "not taken":
            raise kafka.KafkaException(kafka.KafkaError(kafka.KafkaError._TRANSPORT, "made up"))
        elif Faulty.fault == "fatal":
            raise kafka.KafkaException(kafka.KafkaError(kafka.KafkaError._FATAL, "made up", True))
        elif Faulty.fault == "refused":
            on_delivery(kafka.KafkaError(kafka.KafkaError.NOT_ENOUGH_REPLICAS, "made up"), None)
        else:
            error = kafka.KafkaError(kafka.KafkaError._MSG_TIMED_OUT, "made up")
            super().produce(topic, line, on_delivery=lambda *_: on_delivery(error, None), **about)


@pytest.mark.parametrize("fault", ["not taken", "fatal", "refused", "stored and unacknowledged"])
@pytest.mark.parametrize("number", range(7))
def test_a_fault_at_any_record_loses_nothing_and_repeats_at_most_its_page(
    cluster, topic, make, monkeypatch, number, fault
):
    monkeypatch.setattr(kafka, "Producer", Faulty)
    for name, value in {"fault": fault, "number": number, "produced": 0}.items():
        monkeypatch.setattr(Faulty, name, value)
    stream = Stream(make(), lambda: [entry["id"] for entry in cluster.entries(topic)], newest_first=number % 2 == 1)
    stream.source.arrive([1, 3, 1, 2])
    assert stream.run() == "failed"
    assert Faulty.produced > number
    assert stream.goes_on() <= stream.source.page_size


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
def test_an_outage_in_the_middle_is_survived(cluster, topic, make, newest_first):
    stream = Stream(
        make(timeout="1"), lambda: [entry["id"] for entry in cluster.entries(topic)], newest_first=newest_first
    )
    stream.source.arrive([1, 3, 1, 2])

    def outage(number):
        if number == 2:
            cluster.pause()

    stream.source.before_page = outage
    try:
        assert stream.run() == "failed"
    finally:
        cluster.resume()
    stream.source.before_page = lambda number: None
    # What was on its way when the brokers stood still may be there, and comes again.
    assert stream.goes_on() <= stream.source.page_size
