"""A supervisor in a time of its own: hours pass in no time, and in the same way each time."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from grove import lease
from grove.caches import Batch, Key
from grove.caches.local_memory import Handler as MemoryCache
from grove.configs import BaseConfig
from grove.connectors import BaseConnector
from grove.daemon import Supervisor
from grove.helpers import clock, plugin
from grove.helpers.signals import Mailbox, Reload, Stop
from grove.models import ConnectorConfig
from grove.outputs import BaseOutput
from grove.runtime import Settings

from .processes import Daemon

BEGINNING = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
CONTEXT = {"runtime": "test"}
LOADER = "loader"


class Clock:
    """The wall clock and the monotonic one, which move together when told."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    def advance(self, seconds: float) -> None:
        self.passed += seconds


@dataclass(frozen=True)
class Hung:
    """A run, or the loader, has told that it does not come back."""

    what: object


class TimedMailbox(Mailbox):
    """Time passes only where nothing is under way: neither a worker that answers, nor the loader."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def receive(self, timeout: float) -> object | None:
        stage = self._stage
        while True:
            if stage.under_way():
                # In real time, and only for what is certain to come.
                message = self._queue.get(timeout=30)
            else:
                try:
                    message = self._queue.get_nowait()
                except queue.Empty:
                    stage.pass_time(timeout)
                    try:
                        message = self._queue.get_nowait()
                    except queue.Empty:
                        return None
            if isinstance(message, Hung):
                stage.hung.append(message.what)
                continue
            return message


class Documents(BaseConfig):
    """The documents of a stage."""

    stage: Stage

    def get(self, id: str | None = None) -> list[ConnectorConfig]:
        self.stage.load()
        self.begin()
        return [config for source, data in sorted(self.stage.documents.items()) for config in self.read(data, source)]


class Output(BaseOutput):
    """Everything is taken."""

    def submit(self, *args: Any, **kwargs: Any) -> None:
        pass


class NoRenewer:
    """Leases are renewed by nobody: it would be in real time."""

    def add(self, held: Any) -> None:
        pass

    def remove(self, held: Any) -> None:
        pass


class Stage:
    """Documents, connectors, a clock, and a supervisor that is run from one moment to another.

    What a stream does when it runs is its function in `acts`, by name; others save nothing. `load` is called before
    documents are read. `runs` has the moment and the name of each run, moments being seconds since the stage was made.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.documents: dict[str, bytes] = {}
        self.acts: dict[str, Callable[[BaseConnector], None]] = {}
        self.runs: list[tuple[float, str]] = []
        self.load: Callable[[], object] = lambda: None
        self.hung: list[object] = []
        self.left: list[int] = []
        self.loaded = threading.Event()
        self.plugins: dict[str, Any] = {"timed": self._connector(), "output": Output, "documents": self._source()}
        self.mailbox = TimedMailbox(self)
        self.supervisor: Any = None
        self._actions: list[tuple[float, Callable[[], None]]] = []
        self._planning = threading.Lock()
        self._patch = patch
        self.cache = MemoryCache()
        self.cache.setup()
        self.cache.reset()
        self._install()

    def _install(self) -> None:
        patch, real = self._patch, plugin.load_class
        patch.setattr(plugin, "load_class", lambda name, group: self.plugins.get(name) or real(name, group))
        patch.setattr(clock, "now", self.clock.now)
        patch.setattr(clock, "monotonic", self.clock.monotonic)
        patch.setattr(lease, "_renewer", NoRenewer())
        patch.setattr(random, "random", random.Random(7).random)
        for name, value in {"CACHE": "local_memory", "OUTPUT": "output", "CONFIG": "documents"}.items():
            patch.setenv(f"GROVE_{name}_HANDLER", value)

    def _source(self) -> type:
        return type("Source", (Documents,), {"stage": self})

    def _connector(self) -> type[BaseConnector]:
        stage = self

        class Timed(BaseConnector):
            CONNECTOR = "timed"
            POINTER_PATH = "id"
            LOG_ORDER = "CHRONOLOGICAL"

            def collect(self) -> None:
                stage.runs.append((round(stage.clock.passed, 6), self.name))
                stage.acts.get(self.name, lambda connector: None)(self)

        return Timed

    # --- what there is ---

    def document(self, name: str, **fields: Any) -> None:
        """Write a document, under its name; it is due every 60 seconds if nothing else is said."""
        config = {"name": name, "identity": name, "connector": "timed", "frequency": 60, **fields}
        self.documents[name] = ConnectorConfig.model_validate(config).model_dump_json(exclude_defaults=True).encode()

    def key(self, kind: str, name: str) -> Key:
        """Where the cache keeps a fact of the stream `name`."""
        config = ConnectorConfig(name=name, identity=name, connector="timed")
        return Key(f"{kind}.{config.reference()}", "all")

    def store(self, kind: str, name: str, value: str) -> None:
        self.cache.apply(Batch().set(self.key(kind, name), value))

    def stored(self, kind: str, name: str) -> str | None:
        return self.cache.read([self.key(kind, name)])[0]

    def ran_elsewhere(self, name: str, ago: float = 0.0) -> None:
        """Another process has run the stream, that long ago."""
        self.store("last_run", name, clock.datestamp(self.clock.now() - timedelta(seconds=ago)))

    def hang(self, what: object, until: Callable[[], object]) -> None:
        """Within a run (a connector), or within `load`: let the time pass as if it never came back.

        It does once `until` returns.
        """
        self.mailbox.send(Hung(what))
        until()
        self.hung.remove(what)

    # --- time ---

    def at(self, moment: float, action: Callable[[], object]) -> None:
        """Do something at a moment; for any thread."""
        with self._planning:
            self._actions.append((moment, lambda: action() and None))
            self._actions.sort(key=lambda entry: entry[0])

    def under_way(self) -> bool:
        running = self.supervisor._running.values()
        loading = self.supervisor._loading and LOADER not in self.hung
        return loading or any(attempt.connector not in self.hung for attempt in running)

    def pass_time(self, most: float) -> None:
        if self._actions and self._actions[0][0] <= self.clock.passed + most:
            moment, action = self._actions.pop(0)
            self.clock.advance(max(0.0, moment - self.clock.passed))
            action()
        else:
            self.clock.advance(most)

    def run(self, until: float, **settings: Any) -> int:
        """Run a supervisor until a moment, and return its exit code."""
        self.at(until, lambda: self.mailbox.send(Stop(15)))
        known = {"cache": "local_memory", "output": "output", "config": "documents", "workers": 4}
        self.supervisor = Supervisor(CONTEXT, Settings(**{**known, **settings}), self.mailbox, self.left.append)
        loaded = self.supervisor._loaded

        def note(*args: Any) -> None:
            loaded(*args)
            self.loaded.set()

        self._patch.setattr(self.supervisor, "_loaded", note)
        return int(self.supervisor.run())

    def reload(self) -> None:
        """Within a run: send SIGHUP's message, and wait (in real time) until it has had its effect."""
        self.loaded.clear()
        self.mailbox.send(Reload())
        assert self.loaded.wait(30)

    def starts(self, name: str) -> list[float]:
        """When the stream was run."""
        return [moment for moment, other in self.runs if other == name]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(monkeypatch)
    yield stage
    stage.cache.reset()


@pytest.fixture
def groved(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.close()
