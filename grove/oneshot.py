"""Collects every due stream once, each on its own, on a bounded pool of threads."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from grove.helpers import clock
from grove.helpers.signals import Mailbox, Stop
from grove.recovery import recover_unconfigured
from grove.runtime import Documents, Handlers, Settings, load_documents, state_key
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


@dataclass(slots=True)
class Report:
    """What became of every stream, by name, and what was wrong with the documents."""

    problems: list[str] = field(default_factory=list)
    streams: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def count(self, outcome: str) -> int:
        """How many streams ended as `outcome`."""
        return len(self.streams.get(outcome, ()))

    def add(self, attempt: Attempt) -> None:
        """Note how an attempt has ended."""
        if attempt.outcome == "not_due":
            logger.info("The stream is not due yet.", extra={**attempt.about, "frequency": attempt.config.frequency})
        self.streams[attempt.outcome].append(attempt.config.name)
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


class Collector:
    """Collects every due stream once. `leave` is called with the exit code where threads have to be left behind."""

    def __init__(
        self,
        context: dict[str, str],
        settings: Settings | None = None,
        mailbox: Mailbox | None = None,
        leave: Callable[[int], Any] = os._exit,
    ) -> None:
        self._context = context
        self._settings = settings or Settings.read()
        self._mailbox = mailbox or Mailbox()
        self._leave = leave

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
        configured = {state_key(config) for config in streams}
        recover_unconfigured(handlers.cache, handlers.output, configured, self._settings.lock_duration)
        workers = Workers(min(self._settings.workers, len(streams)), self._context, handlers, self._mailbox.send)
        for config in streams:
            workers.submit(Attempt(config))
        complete = self._wait(workers, len(streams), report)
        if not complete:
            _abandon(workers, report)
        workers.close()
        logger.info(
            "Collection finished.",
            extra={
                "streams": len(streams),
                **{name: report.count(name) for name in OUTCOMES},
                "problems": len(report.problems),
            },
        )
        if not complete:
            self._leave(report.exit_code)
        return report

    def _wait(self, workers: Workers, left: int, report: Report) -> bool:
        """Whether all `left` streams have ended; otherwise some never will."""
        deadline: float | None = None
        while left:
            patience = PATROL if deadline is None else deadline - clock.monotonic()
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
