"""What every way of running Grove needs: settings, documents, shared handlers, and a stream's connector."""

from __future__ import annotations

import functools
import gc
import inspect
import logging
import os
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from grove.caches import BaseCache
from grove.configs import BaseConfig, Problem, problem_of
from grove.connectors import BaseConnector
from grove.constants import (
    DEFAULT_CACHE_HANDLER,
    DEFAULT_CONFIG_HANDLER,
    DEFAULT_CONFIG_REFRESH,
    DEFAULT_LOCK_DURATION,
    DEFAULT_OUTPUT_HANDLER,
    DEFAULT_PROCESSES,
    DEFAULT_WORKER_COUNT,
    ENV_GROVE_CACHE_HANDLER,
    ENV_GROVE_CONFIG_HANDLER,
    ENV_GROVE_CONFIG_REFRESH,
    ENV_GROVE_LOCK_DURATION,
    ENV_GROVE_OUTPUT_HANDLER,
    ENV_GROVE_PROCESSES,
    ENV_GROVE_SECRET_HANDLER,
    ENV_GROVE_STATUS_ADDRESS,
    ENV_GROVE_WORKER_COUNT,
    PLUGIN_GROUP_CACHE,
    PLUGIN_GROUP_CONFIG,
    PLUGIN_GROUP_CONNECTOR,
    PLUGIN_GROUP_SECRET,
)
from grove.exceptions import (
    ConfigurationException,
    ConnectorMissingException,
)
from grove.helpers import plugin
from grove.logging import register_secret
from grove.models import ConnectorConfig, is_credential
from grove.outputs import BaseOutput
from grove.outputs._several import load as load_output
from grove.processes.share import Share
from grove.secrets import BaseSecret

logger = logging.getLogger(__name__)


# --- what the environment says ---

MOST_PROCESSES = 64
"""More cores than that are better used by several hosts, and processes cost memory."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The runtime's settings; durations are seconds. `share` says which streams are this process's."""

    workers: int = DEFAULT_WORKER_COUNT
    lock_duration: int = DEFAULT_LOCK_DURATION
    config_refresh: int = DEFAULT_CONFIG_REFRESH
    cache: str = DEFAULT_CACHE_HANDLER
    output: str = DEFAULT_OUTPUT_HANDLER
    config: str = DEFAULT_CONFIG_HANDLER
    secret: str = ""
    status_address: str = ""
    processes: int = DEFAULT_PROCESSES
    share: Share = field(default_factory=Share)

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
            status_address=environment.get(ENV_GROVE_STATUS_ADDRESS, "").strip(),
            processes=_positive(environment, ENV_GROVE_PROCESSES, DEFAULT_PROCESSES, most=MOST_PROCESSES),
        )


def _positive(environment: Mapping[str, str], name: str, default: int, most: int | None = None) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigurationException(f"{name} is {text!r}; it has to be a whole number above 0.")
    if most is not None and number > most:
        raise ConfigurationException(f"{name} is {text!r}; {most} is the most.")
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
    """The streams to collect, and what is wrong with the documents that were left out or clash.

    `warnings` are mistakes in documents that are used all the same; `count` is how many documents there are, those
    included that are disabled or unusable.
    """

    streams: list[ConnectorConfig]
    problems: list[Problem]
    warnings: list[Problem] = field(default_factory=list)
    count: int = 0


class DocumentSource:
    """The configuration backend, or another `handler`. ConfigurationException where its settings are wrong."""

    def __init__(self, settings: Settings, handler: BaseConfig | None = None) -> None:
        self._handler: BaseConfig = handler or plugin.load_handler(settings.config, PLUGIN_GROUP_CONFIG)
        self._backend = settings.config
        self._logged: set[Problem] = set()

    def load(self) -> Documents:
        """Every enabled document; ConfigurationException or AccessException where none can be reached.

        A process may call it again and again: what is wrong is logged once.
        """
        found = self._handler.get()
        streams = [config for config in found if not config.disabled]
        names = Counter((config.reference(), config.operation) for config in streams)
        for config in streams:
            config._has_namesakes = names[config.reference(), config.operation] > 1
            _register_credentials(config)
        shared, namesakes = list(_shared_state(streams)), list(_same_names(streams))
        for problem in shared:
            if problem not in self._logged:
                logger.error("Configuration documents share one state.", extra=_about(problem))
        for problem in namesakes:
            if problem not in self._logged:
                logger.warning("Configuration documents share one name.", extra=_about(problem))
        self._logged = {*shared, *namesakes}
        # A handler that somebody else wrote may give sentences, or nothing at all.
        problems = [
            problem if isinstance(problem, Problem) else Problem(self._backend, "unreadable", str(problem))
            for problem in getattr(self._handler, "problems", ())
        ]
        warnings = [*getattr(self._handler, "warnings", ()), *namesakes]
        return Documents(streams, [*problems, *shared], warnings, getattr(self._handler, "count", len(found)))


def load_documents(settings: Settings | None = None) -> Documents:
    """Every enabled document. Errors as `DocumentSource`."""
    return DocumentSource(settings or Settings.read()).load()


def configure() -> list[ConnectorConfig]:
    """Every enabled document. Errors as `load_documents()`."""
    return load_documents().streams


def _register_credentials(config: ConnectorConfig) -> None:
    values = {"key": config.key, **(config.model_extra or {})}
    for name, value in values.items():
        if isinstance(value, str) and (is_credential(name) or name in config.encoding):
            register_secret(value)


def _about(problem: Problem) -> dict[str, str]:
    return {"document": problem.source, "code": problem.code, "exception": str(problem)}


def _shared_state(streams: list[ConnectorConfig]) -> Iterator[Problem]:
    """Documents that would move one pointer between them, so that each loses what the other has passed."""
    groups: dict[tuple[str, ...], list[ConnectorConfig]] = defaultdict(list)
    for config in streams:
        groups[state_key(config)].append(config)
    for same in groups.values():
        first, *others = same
        if not others or keys_itself(first):
            continue
        for config in others:
            yield problem_of(
                config,
                "shared-state",
                f"The documents {first.name!r}, {config.name!r} have the same connector, identity and operation, and "
                "so one pointer between them.",
                f"Give each its own `identity` or `operation`, or disable all but one.{_elsewhere(first, 'identity')}",
                ("identity",),
            )


def _same_names(streams: list[ConnectorConfig]) -> Iterator[Problem]:
    """Documents that cannot be told apart where a stream is called by its name."""
    known: dict[str, ConnectorConfig] = {}
    for config in streams:
        first = known.setdefault(config.name, config)
        if first is not config:
            yield problem_of(
                config,
                "duplicate-name",
                f"Another document is called {config.name!r}, too.",
                f"Give each a name of its own: commands and logs use it.{_elsewhere(first, 'name')}",
                ("name",),
            )


def _elsewhere(config: ConnectorConfig, field: str) -> str:
    place = config._origin.place(field)
    return f" The other one: {place}." if place else ""


def state_key(config: ConnectorConfig) -> tuple[str, str]:
    """Reference and operation: where the stream of a document has its state."""
    try:
        kind = plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR)
        return kind.stream_reference(config), config.operation
    except (ConfigurationException, AttributeError):
        # What is wrong with it, its run will say.
        return config.reference(), config.operation


def keys_itself(config: ConnectorConfig) -> bool:
    """Whether the connector tells streams apart in a way of its own, which only it knows."""
    try:
        kind = plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR)
    except ConfigurationException:
        return False
    return getattr(kind, "cache_key", None) is not BaseConnector.cache_key


# --- one stream ---


def open_cache(settings: Settings) -> BaseCache:
    """The cache that the settings name, ready for use. Errors are its own."""
    cache: BaseCache = plugin.load_handler(settings.cache, PLUGIN_GROUP_CACHE)
    cache.setup()
    return cache


def _open_output(settings: Settings) -> BaseOutput:
    output = load_output(settings.output)
    output.setup()
    return output


class Handlers:
    """What all streams of a process share: the cache, the output, and the secret store if one is used.

    A `cache` and an `output` that are set up already stand in for those that the settings name.
    """

    def __init__(self, settings: Settings, cache: BaseCache | None = None, output: BaseOutput | None = None) -> None:
        self._secret_name = settings.secret
        self._secret: BaseSecret | None = None
        self._lock = threading.Lock()
        self.cache = cache if cache is not None else open_cache(settings)
        self.output = output if output is not None else _open_output(settings)
        # What is loaded by now stays. Left out of its rounds, the garbage collector no longer stops pages for it.
        gc.freeze()

    def resolve(self, config: ConnectorConfig) -> ConnectorConfig:
        """A copy of `config` with its secrets, fetched now, so that a rotated one is seen by the next run.

        ConfigurationException where no store is configured, else what the store raises.
        """
        # Deep: what one run does to its document must not reach the next one.
        config = config.model_copy(deep=True)
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


def is_due(connector: BaseConnector) -> bool:
    """What the connector itself says."""
    return connector.due()


def prepare(
    config: ConnectorConfig,
    context: dict[str, str],
    handlers: Handlers,
    due: Callable[[BaseConnector], bool] = is_due,
) -> BaseConnector | None:
    """The connector of `config`, ready to run; None where it is not due.

    Whether it is `due` is asked once, before its secrets are fetched and its processors are built.
    ConnectorMissingException, ConfigurationException, or what the secret store raises.
    """
    try:
        kind = plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR)
    except ConfigurationException as err:
        raise ConnectorMissingException(f"{config.name!r} cannot be collected. {err}") from err
    plain = getattr(kind, "__init__", None) is BaseConnector.__init__
    if plain:
        bare = config.model_copy(update={"processors": []})
        probe = construct(kind, bare, context, handlers.cache, handlers.output)
        if not due(probe):
            return None
    connector = construct(kind, handlers.resolve(config), context, handlers.cache, handlers.output)
    if config.secrets:
        connector.fetch_secrets = functools.partial(handlers.resolve, config)
    # A constructor of its own may want its credentials: then only the whole connector can be asked.
    return connector if plain or due(connector) else None


def construct(
    kind: Any, config: ConnectorConfig, context: dict[str, str], cache: BaseCache, output: BaseOutput
) -> BaseConnector:
    """An instance of the connector class `kind`, whatever its constructor takes. Errors are those of the class."""
    connector: BaseConnector
    if _takes_handlers(kind):
        connector = kind(config, context, cache=cache, output=output)
    else:
        connector = kind(config, context)
        connector._cache = cache
        connector._output = output
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
        kind = plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR)
        return construct(kind, config, context, handlers.cache, handlers.output).last
    connector.run()
    return connector.last
