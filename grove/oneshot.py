"""Collects streams once, each on its own, on a bounded pool of threads."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from grove.connectors import BaseConnector
from grove.helpers import clock
from grove.helpers.signals import Mailbox, Stop
from grove.loader import stream_key
from grove.models import ConnectorConfig
from grove.recovery import recover_unconfigured
from grove.runtime import Documents, Handlers, Settings, is_due, load_documents, state_key
from grove.workers import GRACE, OUTCOMES, PATROL, Attempt, Workers

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

# Seconds between two looks of whoever watches.
_TICK = 0.2


@dataclass(slots=True)
class Report:
    """What became of every stream, by name, and what was wrong with the documents.

    `attempts` are those that have ended, in that order; one that had to be abandoned is not among them.
    """

    problems: list[str] = field(default_factory=list)
    streams: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    attempts: list[Attempt] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """How many streams ended as `outcome`."""
        return len(self.streams.get(outcome, ()))

    def add(self, attempt: Attempt) -> None:
        """Note how an attempt has ended."""
        if attempt.outcome == "not_due":
            logger.info("The stream is not due yet.", extra={**attempt.about, "frequency": attempt.config.frequency})
        self.streams[attempt.outcome].append(attempt.config.name)
        self.attempts.append(attempt)
        if attempt.misconfigured:
            self.problems.append(attempt.error)

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

    def tell(self) -> None:
        """Log how it went."""
        logger.info(
            "Collection finished.",
            extra={
                "streams": sum(map(len, self.streams.values())),
                **{name: self.count(name) for name in OUTCOMES},
                "problems": len(self.problems),
            },
        )


class Collector:
    """Collects every due stream once. `leave` is called with the exit code where threads have to be left behind.

    `handlers` stand in for those that the settings name, and whatever else they hold is left alone then. `due` decides
    which streams are to run, `ready` is called with each connector before it does, and `watch` several times a second
    with the attempts that have not ended and the report as it is by then.
    """

    def __init__(
        self,
        context: dict[str, str],
        settings: Settings | None = None,
        mailbox: Mailbox | None = None,
        leave: Callable[[int], Any] = os._exit,
        *,
        handlers: Handlers | None = None,
        due: Callable[[BaseConnector], bool] = is_due,
        ready: Callable[[BaseConnector], None] | None = None,
        watch: Callable[[Sequence[Attempt], Report], None] | None = None,
    ) -> None:
        self._context = context
        self._settings = settings or Settings.read()
        self._mailbox = mailbox or Mailbox()
        self._leave = leave
        self._handlers = handlers
        self._due = due
        self._ready = ready
        self._watch = watch

    def run(self, documents: Documents, chosen: Sequence[ConnectorConfig] | None = None) -> Report:
        """Collect, and say how it went. One stream's failure never concerns another.

        `chosen` are those of the documents that are to be collected; all of them where it is not given. Of them, this
        process takes its share, and problems that concern no stream are for the process that leads.

        After a request to stop, streams end at their next page. Where some do not within `GRACE` seconds, or where
        all that is left hangs, their leases are given back and the process ends from here.
        ConfigurationException or AccessException where the cache or the output cannot be used.
        """
        share = self._settings.share
        report = Report(problems=[str(problem) for problem in documents.problems] if share.leads else [])
        every = documents.streams if chosen is None else chosen
        if not every:
            if share.leads:
                logger.warning("There is nothing to collect: no enabled configuration document was found.")
            return report
        streams = [config for config in every if share.has(stream_key(config))]
        handlers = self._handlers
        if handlers is None:
            handlers = Handlers(self._settings)
            if share.leads:
                configured = {state_key(config) for config in documents.streams}
                recover_unconfigured(handlers.cache, handlers.output, configured, self._settings.lock_duration)
        workers = Workers(min(self._settings.workers, len(streams)), self._context, handlers, self._mailbox.send)
        for config in streams:
            workers.submit(self._attempt(config))
        complete = self._wait(workers, len(streams), report)
        if not complete:
            _abandon(workers, report)
        workers.close()
        if share.count == 1:
            report.tell()
        if not complete:
            self._leave(report.exit_code)
        return report

    def _attempt(self, config: ConnectorConfig) -> Attempt:
        attempt = Attempt(config, due=self._due)
        if self._ready is not None:
            attempt.ready = self._ready
        return attempt

    def _wait(self, workers: Workers, left: int, report: Report) -> bool:
        """Whether all `left` streams have ended; otherwise some never will."""
        deadline: float | None = None
        pause = PATROL if self._watch is None else _TICK
        while left:
            if self._watch is not None:
                self._watch(workers.active, report)
            patience = pause if deadline is None else deadline - clock.monotonic()
            message = self._mailbox.receive(max(0.0, patience))
            if isinstance(message, Attempt):
                left -= 1
                report.add(message)
            elif isinstance(message, Stop):
                logger.info("Stopping.", extra={"signal": message.name})
                deadline = clock.monotonic() + GRACE
                workers.stop()
            elif deadline is not None:
                return False
            elif _nothing_moves(workers):
                logger.error("Nothing that is left makes progress; stopping.")
                deadline = clock.monotonic() + GRACE
                workers.stop()
        return True


def _nothing_moves(workers: Workers) -> bool:
    begun = [attempt for attempt in workers.active if attempt.began is not None]
    return bool(begun) and all(attempt.hangs() for attempt in begun)


def _abandon(workers: Workers, report: Report) -> None:
    for attempt in workers.abandon(workers.active, replace=False):
        if attempt.began is None:
            # It is left for the next run.
            report.streams["stopped"].append(attempt.config.name)
            continue
        report.streams["failed"].append(attempt.config.name)
        logger.error(
            "The stream did not stop in time, and is abandoned; the next run goes on from its last page.",
            extra=attempt.about,
        )


def collect_once(context: dict[str, str], mailbox: Mailbox | None = None) -> int:
    """Collect every due stream once; the exit code. Errors as `load_documents()` and `Collector.run()`.

    `mailbox` is one that hears signals already.
    """
    mailbox = mailbox or Mailbox()
    with mailbox.signals():
        settings = Settings.read()
        return Collector(context, settings, mailbox).run(load_documents(settings)).exit_code
