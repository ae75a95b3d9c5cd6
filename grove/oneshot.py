"""Collects every due stream once, each on its own, on a bounded pool of threads."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from grove.connectors import BaseConnector
from grove.exceptions import (
    ConcurrencyException,
    ConfigurationException,
    ConnectorMissingException,
    GroveException,
    StoppedError,
)
from grove.helpers import clock
from grove.helpers.signals import Mailbox, Stop
from grove.models import ConnectorConfig
from grove.recovery import recover_unconfigured
from grove.runtime import Documents, Handlers, Settings, load_documents, prepare

__all__ = [
    "EXIT_CONFIGURATION",
    "EXIT_FAILED",
    "EXIT_LOCKED",
    "EXIT_OK",
    "Collector",
    "Report",
    "collect_once",
]

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_LOCKED = 75
EXIT_CONFIGURATION = 78

OUTCOMES = ("succeeded", "failed", "locked", "stopped", "not_due")

# Seconds after a request to stop: for connectors to save their page, then to give back the leases of those that
# have not come back. Together they stay below the ten that a service manager is promised.
GRACE = 7.5
GRACE_UNLOCK = 1.5

# Seconds between two looks at whether anything still makes progress.
PATROL = 1.0


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


@dataclass(slots=True)
class _Active:
    """A stream that a worker has in hand; its connector exists once its secrets have been fetched."""

    config: ConnectorConfig
    about: dict[str, str]
    began: float
    connector: BaseConnector | None = None

    def hangs(self) -> bool:
        """Whether it has made no progress for its `run_timeout`."""
        run = self.connector._run if self.connector is not None else None
        lease = run.lease if run is not None else None
        progress = self.began if lease is None else max(self.began, lease.progress)
        return clock.monotonic() - progress > self.config.run_timeout


@dataclass(frozen=True, slots=True)
class _Finished:
    config: ConnectorConfig
    outcome: str
    problem: str = ""


class Collector:
    """Collects every due stream once. `leave` is called with the exit code where threads have to be left behind."""

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
        self._waiting: queue.SimpleQueue[ConnectorConfig] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._active: dict[int, _Active] = {}

    def run(self, documents: Documents) -> Report:
        """Collect, and say how it went. One stream's failure never concerns another.

        After a request to stop, streams end at their next page. Where some do not within `GRACE` seconds, or where
        all that is left hangs, their leases are given back and the process ends from here.
        ConfigurationException or AccessException where the cache or the output cannot be used.
        """
        report = Report(problems=list(documents.problems))
        streams = documents.streams
        if not streams:
            logger.warning("There is nothing to collect: no enabled configuration document was found.")
            return report
        handlers = Handlers(self._settings)
        configured = {(config.reference(), config.operation) for config in streams}
        recover_unconfigured(handlers.cache, handlers.output, configured, self._settings.lock_duration)
        for config in streams:
            self._waiting.put(config)
        workers = min(self._settings.workers, len(streams))
        for number in range(workers):
            threading.Thread(target=self._work, args=(handlers,), name=f"grove-{number}", daemon=True).start()
        complete = self._wait(len(streams), report)
        abandoned = [] if complete else self._abandon(report)
        logger.info(
            "Collection finished.",
            extra={
                "streams": len(streams),
                **{name: report.count(name) for name in OUTCOMES},
                "problems": len(report.problems),
            },
        )
        if abandoned:
            self._leave(report.exit_code)
        return report

    def _wait(self, left: int, report: Report) -> bool:
        """Whether all `left` streams have ended; otherwise some never will."""
        deadline: float | None = None
        while left:
            patience = PATROL if deadline is None else deadline - clock.monotonic()
            message = self._mailbox.receive(max(0.0, patience))
            if isinstance(message, _Finished):
                left -= 1
                report.streams[message.outcome].append(message.config.name)
                if message.problem:
                    report.problems.append(message.problem)
            elif isinstance(message, Stop):
                logger.info("Stopping.", extra={"signal": message.name})
                deadline = clock.monotonic() + GRACE
                self.stopping.set()
            elif deadline is not None:
                return False
            elif self._nothing_moves():
                logger.error("Nothing that is left makes progress; stopping.")
                deadline = clock.monotonic() + GRACE
                self.stopping.set()
        return True

    def _nothing_moves(self) -> bool:
        with self._lock:
            active = list(self._active.values())
        return bool(active) and all(stream.hangs() for stream in active)

    def _work(self, handlers: Handlers) -> None:
        while True:
            try:
                config = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._mailbox.send(self._collect(config, handlers))

    def _collect(self, config: ConnectorConfig, handlers: Handlers) -> _Finished:
        if self.stopping.is_set():
            return _Finished(config, "stopped")
        about = {"stream": config.name, "connector": config.connector, "identity": config.identity}
        active = _Active(config, about, clock.monotonic())
        with self._lock:
            self._active[id(active)] = active
        try:
            return _Finished(config, self._collect_one(active, handlers))
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
        finally:
            with self._lock:
                del self._active[id(active)]
        return _Finished(config, "failed")

    def _collect_one(self, active: _Active, handlers: Handlers) -> str:
        connector = prepare(active.config, self._context, handlers)
        if connector is None:
            logger.info("The stream is not due yet.", extra={**active.about, "frequency": active.config.frequency})
            return "not_due"
        connector.stopping = self.stopping
        active.connector = connector
        connector.run()
        # A plug-in with a `run()` of its own says nothing, and has raised nothing.
        return connector.outcome or "succeeded"

    def _abandon(self, report: Report) -> list[_Active]:
        with self._lock:
            stuck = list(self._active.values())
        for stream in stuck:
            report.streams["failed"].append(stream.config.name)
            logger.error(
                "The stream did not stop in time, and is abandoned; the next run goes on from its last page.",
                extra=stream.about,
            )
        # Giving back a lease asks the cache, which may be what the stream hangs on.
        helper = threading.Thread(target=_give_back, args=(stuck,), name="grove-unlock", daemon=True)
        helper.start()
        helper.join(GRACE_UNLOCK)
        # What never began is left for the next run.
        while True:
            try:
                report.streams["stopped"].append(self._waiting.get_nowait().name)
            except queue.Empty:
                return stuck


def _give_back(stuck: list[_Active]) -> None:
    for stream in stuck:
        if stream.connector is None:
            continue
        try:
            stream.connector.unlock()
        except Exception as err:
            logger.warning(
                "A lease could not be given back; it expires by itself.",
                extra={**stream.about, "exception": str(err)},
            )


def collect_once(context: dict[str, str], mailbox: Mailbox | None = None) -> int:
    """Collect every due stream once; the exit code. Errors as `load_documents()` and `Collector.run()`.

    `mailbox` is one that hears signals already.
    """
    mailbox = mailbox or Mailbox()
    with mailbox.signals():
        settings = Settings.read()
        return Collector(context, settings, mailbox).run(load_documents(settings)).exit_code
