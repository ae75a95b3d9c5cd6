"""One Kafka record per entry, acknowledged by every in-sync replica before a page counts as delivered."""

import os
import re
import threading
from typing import Any, ClassVar

from confluent_kafka import KafkaError, KafkaException, Producer
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from grove.exceptions import AccessException, ConfigurationException
from grove.logging import register_secret
from grove.outputs import BaseOutput

__all__ = ["Handler"]

ENV_PREFIX = "GROVE_OUTPUT_KAFKA_"

_PLACEHOLDER = "{descriptor}"
_NOT_IN_TOPICS = re.compile(r"[^A-Za-z0-9._-]")
_CREDENTIAL = re.compile(r"password|secret|key\.pem|sasl\.oauthbearer\.config")
_STEP = 0.1


class Handler(BaseOutput):
    """Produces to one topic, or one per descriptor. The entries of a stream have one key, and so keep their order.

    The producer is idempotent: what it sends again by itself is stored once. A page that failed, though, may be
    there in part, and comes again with the next run.
    """

    KIND: ClassVar[str] = "json"
    EXTRA: ClassVar[str | None] = "kafka"

    class Configuration(BaseOutput.Configuration):
        """GROVE_OUTPUT_KAFKA_BOOTSTRAP_SERVERS and the rest.

        `topic` may hold "{descriptor}". `timeout` is how many seconds a record may take to be acknowledged. `options`
        are settings of librdkafka, and come before ours.
        https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
        """

        model_config = SettingsConfigDict(env_prefix=ENV_PREFIX)

        bootstrap_servers: str = Field(
            min_length=1, description="`host:port` of some brokers, with commas between them."
        )
        topic: str = Field(
            default="grove",
            pattern=r"^[A-Za-z0-9._{}-]{1,249}$",
            description="The topic; `{descriptor}` in it makes one for each.",
        )
        security_protocol: str | None = Field(
            default=None, description="How to reach the brokers: librdkafka's setting."
        )
        sasl_mechanism: str | None = Field(default=None, description="How to sign in: librdkafka's setting.")
        sasl_username: str | None = Field(default=None, description="Who signs in.")
        sasl_password: SecretStr | None = Field(default=None, description="The password of that user.")
        ssl_ca_location: str | None = Field(default=None, description="A file of the certificate authorities to trust.")
        timeout: float = Field(
            default=60.0, ge=1, le=900, description="Seconds until every record of a page has to be acknowledged."
        )
        options: dict[str, str | int | float | bool] = Field(
            default_factory=dict, repr=False, description="Other settings of librdkafka, as a JSON object."
        )

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._process = 0
        self._trouble = ""

    def setup(self) -> None:
        """ConfigurationException where a setting is none that librdkafka takes. Brokers are not waited for."""
        self._connected()

    def pack(self, ndjson: bytes) -> bytes:
        """The lines as they are."""
        return ndjson

    def submit(
        self,
        data: bytes,
        connector: str,
        identity: str,
        operation: str,
        part: int = 0,
        kind: str = "json",
        descriptor: str = "",
        name: str | None = None,
    ) -> None:
        """Produce each line of `data`; returns once all are acknowledged.

        AccessException where one was not; others may be there.
        """
        topic = self.config.topic.replace(_PLACEHOLDER, _NOT_IN_TOPICS.sub("_", descriptor))
        origin = {"descriptor": descriptor, "connector": connector, "identity": identity, "operation": operation}
        about = {
            "key": "/".join((connector, identity, operation)).encode("utf-8", "replace"),
            "headers": [(field, value.encode("utf-8", "replace")) for field, value in origin.items()],
        }
        producer = self._connected()
        reports: list[KafkaError | None] = []

        def report(error: KafkaError | None, message: object) -> None:
            # Called in whichever thread polls; appending is safe in all of them.
            reports.append(error)

        sent = 0
        for line in data.split(b"\n"):
            if not line:
                continue
            sent += 1
            try:
                _produce(producer, topic, line, on_delivery=report, **about)
            except KafkaException as err:
                # Not even its own queue takes it.
                reports.append(err.args[0])
                break
        while len(reports) < sent:
            producer.poll(_STEP)
        failures = [error for error in reports if error is not None]
        if failures:
            raise self._failure(producer, topic, failures)

    def _failure(self, producer: Producer, topic: str, failures: list[KafkaError]) -> AccessException:
        if any(failure.fatal() or failure.code() == KafkaError._FATAL for failure in failures):
            # It accepts nothing any more.
            with self._lock:
                if self._producer is producer:
                    self._producer = None
        failure = failures[0]
        reason = failure.str()
        if failure.code() == KafkaError._MSG_TIMED_OUT and self._trouble:
            reason = f"{reason}; {self._trouble}"
        return AccessException(
            f"The Kafka topic {topic} at {self.config.bootstrap_servers} did not take a page: {reason}. "
            f"{_advice(failure)}"
        )

    # --- the producer ---

    def _connected(self) -> Producer:
        """This process's producer, which all threads share."""
        with self._lock:
            # A forked child has none of the threads that do the work.
            if self._producer is None or self._process != os.getpid():
                self._producer = self._make()
                self._process = os.getpid()
            return self._producer

    def _make(self) -> Producer:
        settings = self._settings()
        for name, value in settings.items():
            if _CREDENTIAL.search(name):
                register_secret(str(value))
        try:
            return Producer(settings, logger=self.logger, error_cb=self._note)
        except (KafkaException, ValueError, TypeError) as err:
            reason = err.args[0].str() if isinstance(err, KafkaException) else str(err)
        raise ConfigurationException(f"The settings {ENV_PREFIX}* are not those of a Kafka client: {reason}.")

    def _settings(self) -> dict[str, Any]:
        config = self.config
        password = config.sasl_password.get_secret_value() if config.sasl_password is not None else None
        ours = {
            "bootstrap.servers": config.bootstrap_servers,
            "security.protocol": config.security_protocol,
            "sasl.mechanism": config.sasl_mechanism,
            "sasl.username": config.sasl_username,
            "sasl.password": password,
            "ssl.ca.location": config.ssl_ca_location,
            "delivery.timeout.ms": int(config.timeout * 1000),
            # The same partition for a key as Java clients choose.
            "partitioner": "murmur2_random",
            "client.id": "grove",
        }
        given = {name: value for name, value in ours.items() if value is not None}
        return {**given, **config.options, "enable.idempotence": True, "acks": "all"}

    def _note(self, error: KafkaError) -> None:
        self._trouble = error.str()


def _produce(producer: Producer, topic: str, line: bytes, **about: Any) -> None:
    while True:
        try:
            producer.produce(topic, line, **about)
            return
        except BufferError:
            # Its queue is full; a poll lets go of what was acknowledged.
            producer.poll(_STEP)


def _advice(failure: KafkaError) -> str:
    match failure.code():
        case KafkaError.MSG_SIZE_TOO_LARGE:
            return f"Raise message.max.bytes in {ENV_PREFIX}OPTIONS, and max.message.bytes of the topic."
        case KafkaError.UNKNOWN_TOPIC_OR_PART | KafkaError._UNKNOWN_TOPIC:
            return f"Create it, or correct {ENV_PREFIX}TOPIC."
        case KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return "Grant the user of this output to write to it."
        case _:
            return "See whether the brokers are in order; the next run sends the page again."
