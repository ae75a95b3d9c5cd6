"""The brokers that librdkafka has for tests, in a process of their own: `python -m tests.outputs.kafka_cluster`."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

ROOT = Path(__file__).parent.parent.parent


class Cluster:
    """Brokers at `servers`, and what their topics hold."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.servers = process.stdout.readline().strip()
        self._process = process

    def pause(self) -> None:
        """Let them do nothing until `resume`; connections stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._process.send_signal(signal.SIGCONT)

    def records(self, topic: str) -> list[Any]:
        """Every message of a topic."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": "test",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
            }
        )
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
            found: list[Any] = []
            ended: set[int] = set()
            while len(ended) < len(partitions):
                message = consumer.poll(10)
                assert message is not None, "the brokers do not answer"
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise AssertionError(str(message.error()))
            return found
        finally:
            consumer.close()

    def entries(self, topic: str) -> list[Any]:
        """Every record of a topic, parsed."""
        return [json.loads(message.value()) for message in self.records(topic)]


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Brokers that run until the block ends."""
    command = [sys.executable, "-m", "tests.outputs.kafka_cluster"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield Cluster(process)
        finally:
            process.kill()


if __name__ == "__main__":
    # The brokers live as long as the client that asked for them.
    client = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 3, "log_level": 0})
    brokers = client.list_topics(timeout=10).brokers.values()
    print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
    sys.stdin.read()
