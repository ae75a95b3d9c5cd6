"""Runs what is configured: every due stream once, each on its own, on a bounded pool of threads."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import queue
import re
import signal
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType
from typing import Any

from grove.caches import BaseCache
from grove.connectors import BaseConnector
from grove.constants import (
    DEFAULT_CACHE_HANDLER,
    DEFAULT_CONFIG_HANDLER,
    DEFAULT_CONFIG_REFRESH,
    DEFAULT_LOCK_DURATION,
    DEFAULT_OUTPUT_HANDLER,
    DEFAULT_WORKER_COUNT,
    ENV_GROVE_CACHE_HANDLER,
    ENV_GROVE_CONFIG_HANDLER,
    ENV_GROVE_CONFIG_REFRESH,
    ENV_GROVE_LOCK_DURATION,
    ENV_GROVE_OUTPUT_HANDLER,
    ENV_GROVE_SECRET_HANDLER,
    ENV_GROVE_WORKER_COUNT,
    PLUGIN_GROUP_CACHE,
    PLUGIN_GROUP_CONFIG,
    PLUGIN_GROUP_CONNECTOR,
    PLUGIN_GROUP_OUTPUT,
    PLUGIN_GROUP_SECRET,
)
from grove.exceptions import (
    ConcurrencyException,
    ConfigurationException,
    ConnectorMissingException,
    GroveException,
    StoppedError,
)
from grove.helpers import plugin
from grove.logging import register_secret
from grove.models import ConnectorConfig
from grove.outputs import BaseOutput
from grove.secrets import BaseSecret

logger = logging.getLogger(__name__)

OUTCOMES = ("succeeded", "failed", "locked", "stopped", "not_due")

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_LOCKED = 75
EXIT_CONFIGURATION = 78

# Seconds after a request to stop: for connectors to save their page, then to give back the leases of
# those that have not come back. Together they stay below the ten that a service manager is promised.
GRACE = 7.5
GRACE_UNLOCK = 1.5

# Fields that hold credentials whatever the connector.
_CREDENTIAL = re.compile(r"(?:^|_)(?:key|secret|token|password|passphrase|credentials?)$", re.IGNORECASE)


# --- what the environment says ---


@dataclass(frozen=True, slots=True)
class Settings:
    """The runtime's settings; durations are seconds."""

    workers: int = DEFAULT_WORKER_COUNT
    lock_duration: int = DEFAULT_LOCK_DURATION
    config_refresh: int = DEFAULT_CONFIG_REFRESH
    cache: str = DEFAULT_CACHE_HANDLER
    output: str = DEFAULT_OUTPUT_HANDLER
    config: str = DEFAULT_CONFIG_HANDLER
    secret: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings in `environment`; ConfigurationException names a variable that is no such number."""
        return cls(
            workers=_positive(environment, ENV_GROVE_WORKER_COUNT, DEFAULT_WORKER_COUNT),
            lock_duration=_positive(environment, ENV_GROVE_LOCK_DURATION, DEFAULT_LOCK_DURATION),
            config_refresh=_positive(environment, ENV_GROVE_CONFIG_REFRESH, DEFAULT_CONFIG_REFRESH),
            cache=environment.get(ENV_GROVE_CACHE_HANDLER) or DEFAULT_CACHE_HANDLER,
            output=environment.get(ENV_GROVE_OUTPUT_HANDLER) or DEFAULT_OUTPUT_HANDLER,
            config=environment.get(ENV_GROVE_CONFIG_HANDLER) or DEFAULT_CONFIG_HANDLER,
            secret=environment.get(ENV_GROVE_SECRET_HANDLER) or "",
        )


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigurationException(f"{name} is {text!r}; it has to be a whole number above 0.")
    return number


def runtime_information(runtime: str = __file__) -> dict[str, str]:
    """Where this process runs, for logs and `_grove.runtime`; `runtime` is the file it was started by."""
    allocation = os.environ.get("NOMAD_ALLOC_ID")
    if allocation:
        return {
            "runtime": runtime,
            "runtime_id": allocation,
            "runtime_region": os.environ.get("NOMAD_REGION", ""),
            "runtime_job_name": os.environ.get("NOMAD_JOB_NAME", ""),
        }
    return {
        "runtime": runtime,
        "runtime_id": str(os.getpid()),
        "runtime_host": socket.gethostname(),
    }


# --- documents ---


@dataclass(frozen=True, slots=True)
class Documents:
    """The streams to collect, and what is wrong with the documents that were left out or clash."""

    streams: list[ConnectorConfig]
    problems: list[str]


def load_documents(settings: Settings | None = None) -> Documents:
    """Every enabled document; ConfigurationException or AccessException where none can be reached."""
    settings = settings or Settings.read()
    handler = plugin.load_handler(settings.config, PLUGIN_GROUP_CONFIG)
    streams = [config for config in handler.get() if not config.disabled]
    for config in streams:
        _register_credentials(config)
    problems = [*getattr(handler, "problems", ())]
    for problem in _shared_state(streams):
        problems.append(problem)
        logger.error("Configuration documents share one state.", extra={"exception": problem})
    return Documents(streams, problems)


def configure() -> list[ConnectorConfig]:
    """Every enabled document. Errors as `load_documents()`."""
    return load_documents().streams


def _register_credentials(config: ConnectorConfig) -> None:
    values = {"key": config.key, **(config.model_extra or {})}
    for name, value in values.items():
        if isinstance(value, str) and (_CREDENTIAL.search(name) or name in config.encoding):
            register_secret(value)


def _shared_state(streams: list[ConnectorConfig]) -> Iterator[str]:
    """Documents that would move one pointer between them, so that each loses what the other has passed."""
    groups: dict[tuple[str, str], list[ConnectorConfig]] = defaultdict(list)
    for config in streams:
        groups[config.reference(), config.operation].append(config)
    for same in groups.values():
        if len(same) > 1 and not _keys_itself(same[0]):
            names = ", ".join(repr(config.name) for config in same)
            yield (
                f"The documents {names} have the same connector, identity and operation, and so one pointer "
                "between them. Give each its own `identity` or `operation`, or disable all but one."
            )


def _keys_itself(config: ConnectorConfig) -> bool:
    """Whether the connector tells apart what the document's common fields do not."""
    try:
        kind = plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR)
    except ConfigurationException:
        return False
    return getattr(kind, "cache_key", None) is not BaseConnector.cache_key


# --- one stream ---


class Handlers:
    """What all streams of a process share: the cache, the output, and the secret store if one is used."""

    def __init__(self, settings: Settings) -> None:
        self._secret_name = settings.secret
        self._secret: BaseSecret | None = None
        self._lock = threading.Lock()
        self.cache: BaseCache = plugin.load_handler(settings.cache, PLUGIN_GROUP_CACHE)
        self.cache.setup()
        self.output: BaseOutput = plugin.load_handler(settings.output, PLUGIN_GROUP_OUTPUT)
        self.output.setup()

    def resolve(self, config: ConnectorConfig) -> ConnectorConfig:
        """A copy of `config` with its secrets, fetched now, so that a rotated one is seen by the next run.

        ConfigurationException where no store is configured, else what the store raises.
        """
        config = config.model_copy()
        if not config.secrets:
            return config
        loaded = self._store(config).load(config)
        # A handler may fill the document in place.
        return loaded if loaded is not None else config

    def _store(self, config: ConnectorConfig) -> BaseSecret:
        if not self._secret_name:
            raise ConfigurationException(
                f"{config.name!r} wants secrets, and {ENV_GROVE_SECRET_HANDLER} is not set. "
                "Set it to the store that holds them, for example local_file."
            )
        with self._lock:
            if self._secret is None:
                self._secret = plugin.load_handler(self._secret_name, PLUGIN_GROUP_SECRET)
            return self._secret


def prepare(config: ConnectorConfig, context: dict[str, str], handlers: Handlers) -> BaseConnector | None:
    """The connector of `config`, ready to run; None where it is not due.

    Whether it is due is asked before its secrets are fetched and its processors are built.
    ConnectorMissingException, ConfigurationException, or what the secret store raises.
    """
    try:
        kind = plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR)
    except ConfigurationException as err:
        raise ConnectorMissingException(f"{config.name!r} cannot be collected. {err}") from err
    plain = getattr(kind, "__init__", None) is BaseConnector.__init__
    if plain:
        probe = _construct(kind, config.model_copy(update={"processors": []}), context, handlers)
        if not probe.due():
            return None
    connector = _construct(kind, handlers.resolve(config), context, handlers)
    # A constructor of its own may want its credentials: then only the whole connector can be asked.
    return connector if plain or connector.due() else None


def _construct(kind: Any, config: ConnectorConfig, context: dict[str, str], handlers: Handlers) -> BaseConnector:
    connector: BaseConnector
    if _takes_handlers(kind):
        connector = kind(config, context, cache=handlers.cache, output=handlers.output)
    else:
        connector = kind(config, context)
        connector._cache = handlers.cache
        connector._output = handlers.output
    return connector


def _takes_handlers(kind: Any) -> bool:
    parameters = inspect.signature(kind).parameters
    return {"cache", "output"} <= parameters.keys() or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def dispatch(config: ConnectorConfig, context: dict[str, str], handlers: Handlers | None = None) -> datetime:
    """Collect one stream if it is due; when it last ran. Errors as `prepare()` and `BaseConnector.run()`."""
    handlers = handlers or Handlers(Settings.read())
    connector = prepare(config, context, handlers)
    if connector is None:
        return _construct(plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR), config, context, handlers).last
    connector.run()
    return connector.last


# --- all streams, once ---


@dataclass(slots=True)
class Report:
    """What became of every stream, by name, and what was wrong with the documents."""

    problems: list[str] = field(default_factory=list)
    streams: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def count(self, outcome: str) -> int:
        """How many streams ended as `outcome`."""
        return len(self.streams.get(outcome, ()))

    @property
    def exit_code(self) -> int:
        """78 if a document is bad, else 1 if a stream failed, else 75 if all due ones are locked, else 0."""
        if self.problems:
            return EXIT_CONFIGURATION
        if self.count("failed"):
            return EXIT_FAILED
        if self.count("locked") and not self.count("succeeded") and not self.count("stopped"):
            return EXIT_LOCKED
        return EXIT_OK


class Mailbox:
    """Where the main thread hears of finished streams, and of signals.

    A signal handler must not touch anything that its own thread may hold a lock of; this queue is safe
    for it.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._signalled = False

    def send(self, message: object) -> None:
        self._queue.put(message)

    def receive(self, timeout: float | None) -> object | None:
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            return None

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT arrive as `Stop`; a second one ends the process at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self._signalled:
                os._exit(128 + number)
            self._signalled = True
            self.send(Stop(number))

        before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)


@dataclass(frozen=True, slots=True)
class Stop:
    """The process was asked to end."""

    number: int


@dataclass(frozen=True, slots=True)
class _Finished:
    config: ConnectorConfig
    outcome: str
    problem: str = ""


class Collector:
    """Collects every due stream once."""

    def __init__(
        self,
        context: dict[str, str],
        settings: Settings | None = None,
        mailbox: Mailbox | None = None,
        leave: Callable[[int], Any] = os._exit,
    ) -> None:
        self.stopping = threading.Event()
        self._context = context
        self._settings = settings or Settings.read()
        self._mailbox = mailbox or Mailbox()
        self._leave = leave
        self._handlers: Handlers | None = None
        self._waiting: queue.SimpleQueue[ConnectorConfig] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running: dict[int, BaseConnector] = {}

    def run(self, documents: Documents) -> Report:
        """Collect, and say how it went. One stream's failure never concerns another.

        After a request to stop, streams end at their next page. Where some do not within `GRACE` seconds,
        their leases are given back and the process ends from here, with the report's exit code.
        ConfigurationException or AccessException where the cache or the output cannot be used.
        """
        report = Report(problems=list(documents.problems))
        streams = documents.streams
        if not streams:
            logger.warning("There is nothing to collect: no enabled configuration document was found.")
            return report
        self._handlers = Handlers(self._settings)
        for config in streams:
            self._waiting.put(config)
        workers = min(self._settings.workers, len(streams))
        for number in range(workers):
            threading.Thread(target=self._work, name=f"grove-{number}", daemon=True).start()
        self._wait(len(streams), report)
        logger.info(
            "Collection finished.",
            extra={
                "streams": len(streams),
                **{name: report.count(name) for name in OUTCOMES},
                "problems": len(report.problems),
            },
        )
        return report

    def _wait(self, left: int, report: Report) -> None:
        deadline: float | None = None
        while left:
            message = self._mailbox.receive(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if isinstance(message, _Finished):
                left -= 1
                report.streams[message.outcome].append(message.config.name)
                if message.problem:
                    report.problems.append(message.problem)
            elif isinstance(message, Stop):
                logger.info("Stopping.", extra={"signal": signal.Signals(message.number).name})
                deadline = time.monotonic() + GRACE
                self.stopping.set()
            else:
                self._abandon(report)
                return

    def _work(self) -> None:
        while True:
            try:
                config = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._mailbox.send(self._collect(config))

    def _collect(self, config: ConnectorConfig) -> _Finished:
        if self.stopping.is_set():
            return _Finished(config, "stopped")
        about = {"stream": config.name, "connector": config.connector, "identity": config.identity}
        try:
            return _Finished(config, self._collect_one(config, about))
        except (ConfigurationException, ConnectorMissingException) as err:
            logger.error("The stream's configuration is unusable.", extra={**about, "exception": str(err)})
            return _Finished(config, "failed", str(err))
        except ConcurrencyException:
            logger.info("The stream is being collected elsewhere.", extra=about)
            return _Finished(config, "locked")
        except StoppedError:
            return _Finished(config, "stopped")
        except GroveException as err:
            logger.error("The stream could not be collected.", extra={**about, "exception": str(err)})
        except BaseException:
            # Also SystemExit, and whatever else a plug-in thinks up: it ends this stream, not this thread.
            logger.exception("The stream failed in a way that no one expected.", extra=about)
        return _Finished(config, "failed")

    def _collect_one(self, config: ConnectorConfig, about: dict[str, str]) -> str:
        assert self._handlers is not None
        connector = prepare(config, self._context, self._handlers)
        if connector is None:
            logger.info("The stream is not due yet.", extra={**about, "frequency": config.frequency})
            return "not_due"
        connector.stopping = self.stopping
        with self._lock:
            self._running[id(connector)] = connector
        try:
            connector.run()
        finally:
            with self._lock:
                del self._running[id(connector)]
        # A plug-in with a `run()` of its own says nothing, and has raised nothing.
        return connector.outcome or "succeeded"

    def _abandon(self, report: Report) -> None:
        with self._lock:
            stuck = list(self._running.values())
        for connector in stuck:
            report.streams["failed"].append(connector.name)
            logger.error(
                "The stream did not stop in time, and is abandoned; the next run goes on from its last page.",
                extra={"stream": connector.name, **connector.log_context},
            )
        # Giving back a lease asks the cache, which may be what the stream hangs on.
        helper = threading.Thread(target=_give_back, args=(stuck,), name="grove-unlock", daemon=True)
        helper.start()
        helper.join(GRACE_UNLOCK)
        self._leave(report.exit_code)


def _give_back(connectors: list[BaseConnector]) -> None:
    for connector in connectors:
        try:
            connector.unlock()
        except Exception as err:
            logger.warning(
                "A lease could not be given back; it expires by itself.",
                extra={"stream": connector.name, "exception": str(err)},
            )


def collect_once(context: dict[str, str]) -> int:
    """Collect every due stream once; the exit code. Errors as `load_documents()` and `Collector.run()`."""
    mailbox = Mailbox()
    with mailbox.signals():
        settings = Settings.read()
        return Collector(context, settings, mailbox).run(load_documents(settings)).exit_code
