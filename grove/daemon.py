"""Keeps every stream running at its frequency, until the process is asked to end.

One thread decides (`Supervisor.run`), a bounded number of others collect (`grove.workers`), and one more looks at the
configuration (`grove.loader`). They talk through one mailbox, which hears signals as well. When a stream starts is
decided in `grove.schedule`.
"""

from __future__ import annotations

import logging
import os
import random
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from grove.__about__ import __version__
from grove.connectors import BaseConnector
from grove.exceptions import GroveException
from grove.health.facts import Facts, last_run
from grove.health.server import Ping, StatusServer
from grove.health.snapshot import Snapshot, Totals, View
from grove.health.stale import LOOK_EVERY, Shortfalls, expects
from grove.helpers import clock
from grove.helpers.signals import Mailbox, Reload, Stop
from grove.history import Counts, History
from grove.lease import owner
from grove.loader import Loaded, Loader, NotLoaded, StreamKey
from grove.models import ConnectorConfig
from grove.oneshot import EXIT_FAILED, EXIT_OK
from grove.runtime import Settings
from grove.schedule import Schedule, come_back, look_again, remaining, retry, spread
from grove.workers import GRACE, PATROL, Attempt, Workers, given_up

__all__ = ["Stream", "Supervisor", "collect_forever"]

logger = logging.getLogger(__name__)

LATE = 1.0
"""Seconds after which a start is late."""

REPORT_LATE = 60.0
"""Seconds between two reports that starts are late."""

LOST_LIMIT = 10
"""How many threads may be lost to hanging streams, or as many as there are workers if that is more."""

IDLE = 3600.0
"""Seconds to wait for a message where nothing at all is planned."""


@dataclass(slots=True)
class Stream:
    """One stream: its document, how its last run went (moments in UTC), and the last run of all, wherever it was.

    `facts` are what is known of it, `since` is from when on it is looked after here, and `totals` add up its runs.
    """

    config: ConnectorConfig
    since: datetime
    known: datetime | None = None
    began: datetime | None = None
    ended: datetime | None = None
    outcome: str = ""
    entries: int = 0
    error: str = ""
    facts: Facts = field(default_factory=Facts)
    totals: Totals = field(default_factory=Totals)


@dataclass(slots=True)
class _Look:
    """Whether a stream is due, found out in the worker that has it in hand, with one read of the cache.

    `known` is the last run that this process knows of: where it is still the last one, the schedule's word counts.
    Afterwards `last` is what was read, and `wait` for how long the stream is not due. `facts` are what the cache has of
    a stream that was run elsewhere.
    """

    known: datetime | None
    last: datetime | None = None
    wait: float = 0.0
    facts: Facts | None = None

    def __call__(self, connector: BaseConnector) -> bool:
        kind = type(connector)
        if kind.due is not BaseConnector.due or kind.last is not BaseConnector.last:
            self.wait = 0.0 if connector.due() else connector.frequency
            return self.wait <= 0
        self.last, self.facts = last_run(connector, self.known)
        if self.last is None or self.last == self.known:
            return True
        now = clock.now()
        if self.last > now:
            connector.logger.warning("The last run lies in the future; is the clock right?")
        self.wait = remaining(self.last, connector.frequency, now)
        return self.wait <= 0


class _Lateness:
    """How late streams start, and since when all workers are busy: told once in a while, and when it is over."""

    def __init__(self) -> None:
        self._full_since: float | None = None
        self._count = 0
        self._most = 0.0
        self._told: float | None = None

    @property
    def told(self) -> bool:
        """Whether it is still to be told that it is over."""
        return self._told is not None

    def started(self, late: float) -> None:
        """A stream was started, that many seconds after it was due."""
        if late > LATE:
            self._count += 1
            self._most = max(self._most, late)

    def look(self, now: float, overdue: float, workers: Workers) -> None:
        """Tell what there is to tell; `overdue` is for how long the next stream has been due."""
        if workers.free:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        if self._count or overdue > LATE:
            if self._told is None or now - self._told >= REPORT_LATE:
                self._tell(now, overdue, workers)
        elif self._told is not None:
            self._told = None
            logger.info("Streams start on time again.")

    def _tell(self, now: float, overdue: float, workers: Workers) -> None:
        active = sorted((a for a in workers.active if a.began is not None), key=lambda a: a.began or 0.0)
        logger.warning(
            "Streams start late.",
            extra={
                "event": "late",
                "started_late": self._count,
                "latest": round(max(self._most, overdue), 1),
                "workers": workers.count,
                "busy": len(active),
                "all_busy_for": 0.0 if self._full_since is None else round(now - self._full_since, 1),
                "hanging": workers.lost,
                "longest": {a.config.name: round(now - (a.began or now), 1) for a in active[:5]},
                "hint": "Raise GROVE_WORKER_COUNT, or lower `run_timeout` of streams that hang."
                if self._full_since is not None
                else "The machine is too slow for so many streams.",
            },
        )
        self._told, self._count, self._most = now, 0, 0.0


class Supervisor:
    """Runs every stream of the configuration again and again. Everything is decided in the thread of `run()`.

    `leave` is called with the exit code where threads have to be left behind.
    """

    def __init__(
        self,
        context: dict[str, str],
        settings: Settings | None = None,
        mailbox: Mailbox | None = None,
        leave: Callable[[int], Any] = os._exit,
    ) -> None:
        self.streams: dict[StreamKey, Stream] = {}
        self.schedule: Schedule[StreamKey] = Schedule()
        self._context = context
        self._settings = settings or Settings.read()
        self._mailbox = mailbox or Mailbox()
        self._leave = leave
        self._loader = Loader(self._settings, self._mailbox.send)
        self._loading = False
        self._load_again = False
        self._load_failures = 0
        self._next_load = 0.0
        self._workers: Workers | None = None
        self._running: dict[StreamKey, Attempt] = {}
        self._next_patrol = 0.0
        self._lateness = _Lateness()
        self._shortfalls = Shortfalls()
        self._next_look = 0.0
        self._problems = 0
        self._started = clock.now()
        self._exit: int | None = None

    def run(self) -> int:
        """Collect until a request to stop; the exit code. Streams then end at their next page.

        Where some do not within `GRACE` seconds, their leases are given back and the process ends from here.
        ConfigurationException where a setting is wrong.
        """
        settings = self._settings
        server = self._serve()
        logger.info(
            "Grove has started.",
            extra={
                "version": __version__,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "cache": settings.cache,
                "output": settings.output,
                "config": settings.config,
                "secret": settings.secret or None,
                "workers": settings.workers,
                "config_refresh": settings.config_refresh,
                "status": None if server is None else server.url,
            },
        )
        try:
            self._load(clock.monotonic())
            while self._exit is None:
                now = clock.monotonic()
                self._look_after(now)
                message = self._mailbox.receive(max(0.0, self._next_moment() - clock.monotonic()))
                if message is not None:
                    self._receive(message)
            return self._end(self._exit)
        finally:
            if server is not None:
                server.close()

    def _serve(self) -> StatusServer | None:
        """The status page, from now on, where GROVE_STATUS_ADDRESS says so."""
        if not self._settings.status_address:
            return None
        server = StatusServer(self._settings.status_address, self.snapshot, self._mailbox.send)
        server.start()
        return server

    # --- one turn ---

    def _next_moment(self) -> float:
        """When there is something to do even if nothing is heard."""
        if self._exit is not None:
            return 0.0
        moments = [self._next_load, clock.monotonic() + IDLE]
        if self._workers is not None:
            if self._workers.free and (due := self.schedule.next_due()) is not None:
                moments.append(due)
            if self._running or self._lateness.told:
                moments.append(self._next_patrol)
            if self._next_look:
                moments.append(self._next_look)
        return min(moments)

    def _look_after(self, now: float) -> None:
        if now >= self._next_load:
            self._load(now)
        workers = self._workers
        if workers is None:
            return
        while workers.free and (key := self.schedule.take(now)) is not None:
            self._start(workers, key, now)
        if now >= self._next_patrol:
            self._next_patrol = now + PATROL
            self._patrol(workers, now)
        if self._next_look and now >= self._next_look:
            self._look_at_shortfalls(now)

    def _receive(self, message: object) -> None:
        now = clock.monotonic()
        if isinstance(message, Attempt):
            self._ended(message, now)
        elif isinstance(message, Loaded):
            self._loaded(message, now)
        elif isinstance(message, NotLoaded):
            self._not_loaded(message, now)
        elif isinstance(message, Reload):
            logger.info("Looking at the configuration again, as asked.")
            if self._loading:
                # What it has read by now may be what was there before.
                self._load_again = True
            else:
                self._load(now)
        elif isinstance(message, Ping):
            message.heard.set()
        elif isinstance(message, Stop):
            logger.info("Stopping.", extra={"signal": message.name})
            self._exit = EXIT_OK

    # --- streams that run ---

    def _start(self, workers: Workers, key: StreamKey, now: float) -> None:
        stream = self.streams[key]
        self._lateness.started(now - self.schedule[key].due)
        attempt = self._running[key] = Attempt(stream.config, key, _Look(stream.known))
        workers.submit(attempt)

    def _ended(self, attempt: Attempt, now: float) -> None:
        if attempt.abandoned:
            logger.info("A run that was given up has come back; it counts for nothing.", extra=attempt.about)
            return
        key: Any = attempt.key
        del self._running[key]
        self._note(key, attempt, now)
        look = attempt.due
        if attempt.outcome == "succeeded":
            self.schedule.succeeded(key, now)
        elif attempt.outcome == "locked":
            self.schedule.postponed(key, now, look_again(attempt.expires_in, attempt.config.frequency))
        elif attempt.outcome == "not_due" and isinstance(look, _Look):
            self.schedule.postponed(key, now, look.wait)
        elif attempt.outcome == "stopped":
            self.schedule.stopped(key, now)
        elif attempt.until is not None:
            self.schedule.postponed(key, now, come_back(attempt.until, clock.now()))
        else:
            self.schedule.failed(key, now, random.random())
        self._tell(attempt, now)

    def _note(self, key: StreamKey, attempt: Attempt, now: float) -> None:
        """Keep how it went; a stream that was removed meanwhile is nobody's, and one that was not due did not run."""
        stream = self.streams.get(key)
        if stream is None:
            return
        if isinstance(attempt.due, _Look):
            stream.known = attempt.ran or attempt.due.last
        if attempt.outcome != "not_due":
            stream.ended = clock.now()
            stream.began = stream.ended - timedelta(seconds=now - (attempt.began or now))
            stream.outcome, stream.entries, stream.error = attempt.outcome, attempt.entries, attempt.error
        self._learn(stream, attempt)
        if expects(stream.config):
            self._shortfalls.look(key, self._view(key, stream, clock.now(), now).standing(clock.now()))

    def _learn(self, stream: Stream, attempt: Attempt) -> None:
        """What is known of the stream by now; a run that could not say so itself is added to what was known."""
        look = attempt.due
        if attempt.outcome == "not_due":
            if isinstance(look, _Look) and look.facts is not None:
                stream.facts = look.facts
            return
        counts = attempt.connector._counts if attempt.connector is not None else Counts()
        stream.totals.add(attempt.outcome, counts)
        if attempt.facts is not None and not attempt.abandoned:
            stream.facts = attempt.facts
        elif attempt.outcome != "locked" and stream.began is not None:
            error = attempt.failure or attempt.error or None
            history = History.after(stream.facts.history, stream.began, attempt.outcome, error, counts)
            stream.facts = replace(stream.facts, history=history, holder="", expires=None)

    def _tell(self, attempt: Attempt, now: float) -> None:
        level = logging.DEBUG
        if attempt.outcome == "failed":
            level = logging.WARNING
        elif attempt.entries:
            level = logging.INFO
        if not logger.isEnabledFor(level):
            return
        key: Any = attempt.key
        extra: dict[str, Any] = {**attempt.about, "outcome": attempt.outcome, "entries": attempt.entries}
        if attempt.began is not None:
            extra["seconds"] = round(now - attempt.began, 3)
        if key in self.schedule:
            slot = self.schedule[key]
            extra.update(next_in=round(slot.due - now, 1), failures=slot.failures)
        logger.log(level, "A run has ended.", extra=extra)

    # --- streams that hang ---

    def _patrol(self, workers: Workers, now: float) -> None:
        hanging = [attempt for attempt in self._running.values() if attempt.hangs()]
        for attempt in workers.abandon(hanging, replace=True) if hanging else ():
            key: Any = attempt.key
            del self._running[key]
            attempt.outcome = "failed"
            attempt.error = given_up(attempt.config)
            self._note(key, attempt, now)
            self.schedule.failed(key, now, random.random())
            logger.error(
                "The stream hangs; its run is given up, and the next one goes on from the last page that was saved.",
                extra={**attempt.about, "run_timeout": attempt.config.run_timeout, "hanging": workers.lost},
            )
            self._tell(attempt, now)
        if workers.lost > max(LOST_LIMIT, workers.count):
            logger.critical(
                "Too many threads hang; this process ends, to be started again.", extra={"hanging": workers.lost}
            )
            self._exit = EXIT_FAILED
        due = self.schedule.next_due()
        self._lateness.look(now, 0.0 if due is None else now - due, workers)

    # --- the configuration ---

    def _load(self, now: float) -> None:
        self._next_load = now + self._settings.config_refresh
        if self._loading:
            logger.warning(
                "The configuration has not been loaded yet; its source, the cache or the output does not answer.",
                extra={"streams": len(self.streams)},
            )
            return
        self._loading, self._load_again = True, False
        self._loader.start({key: stream.config.name for key, stream in self.streams.items()})

    def _loaded(self, loaded: Loaded, now: float) -> None:
        self._loading, self._load_failures, self._problems = False, 0, loaded.problems
        self._next_load = now if self._load_again else now + self._settings.config_refresh
        first = self._workers is None
        if self._workers is None:
            self._workers = Workers(self._settings.workers, self._context, self._loader.handlers, self._mailbox.send)
        removed = [key for key in self.streams if key not in loaded.streams]
        added = [key for key in loaded.streams if key not in self.streams]
        changed = [key for key, stream in self.streams.items() if _differs(stream.config, loaded.streams.get(key))]
        for key in removed:
            self._remove(key)
        for key in changed:
            self.streams[key].config = loaded.streams[key]
            if not expects(loaded.streams[key]):
                self._shortfalls.forget(key)
            self.schedule.change(key, loaded.streams[key].frequency, now)
        self._add(added, loaded, now)
        expecting = any(expects(stream.config) for stream in self.streams.values())
        self._next_look = now + LOOK_EVERY if expecting else 0.0
        due = self.schedule.next_due()
        logger.log(
            logging.INFO if first or added or changed or removed else logging.DEBUG,
            "The configuration is loaded.",
            extra={
                "streams": len(self.streams),
                "added": len(added),
                "changed": len(changed),
                "removed": len(removed),
                "problems": loaded.problems,
                "next_in": None if due is None else round(due - now, 1),
            },
        )
        if not self.streams and not loaded.elsewhere and (removed or (first and self._settings.share.leads)):
            logger.warning("There is nothing to collect: no enabled configuration document was found.")
        if logger.isEnabledFor(logging.DEBUG):
            for key in (*added, *changed):
                self._tell_plan(key, now)

    def _tell_plan(self, key: StreamKey, now: float) -> None:
        slot = self.schedule[key]
        about = {"stream": self.streams[key].config.name, "running": slot.running, "frequency": slot.frequency}
        logger.debug("A stream is planned.", extra={**about, "next_in": round(slot.due - now, 1)})

    def _add(self, keys: Iterable[StreamKey], loaded: Loaded, now: float) -> None:
        """Plan new streams: those that are due spread from now, the one that has been due the longest first."""
        wall = clock.now()
        waits: dict[StreamKey, float] = {}
        for key in keys:
            config, facts = loaded.streams[key], loaded.facts.get(key, Facts())
            self.streams[key] = Stream(config, wall, known=facts.last, facts=facts)
            waits[key] = remaining(facts.last, config.frequency, wall)
        due = [key for key, wait in waits.items() if not wait]
        due.sort(key=lambda key: _due_since(self.streams[key], wall), reverse=True)
        offsets = spread([loaded.streams[key].frequency for key in due], self._settings.config_refresh)
        waits.update(zip(due, offsets, strict=True))
        for key, wait in waits.items():
            self.schedule.add(key, loaded.streams[key].frequency, now + wait)

    def _remove(self, key: StreamKey) -> None:
        del self.streams[key]
        self._shortfalls.forget(key)
        self.schedule.remove(key)
        running = self._running.get(key)
        if running is not None:
            running.stopping.set()

    def _not_loaded(self, message: NotLoaded, now: float) -> None:
        if message.fatal:
            raise message.error
        self._loading = False
        self._load_failures += 1
        wait = retry(self._load_failures, self._settings.config_refresh, random.random())
        self._next_load = now if self._load_again else now + wait
        expected = isinstance(message.error, GroveException)
        logger.warning(
            "The configuration could not be loaded; what is known stays in use.",
            extra={
                "exception": str(message.error) if expected else repr(message.error),
                "streams": len(self.streams),
                "failures": self._load_failures,
                "next_in": round(wait, 1),
            },
            exc_info=None if expected else message.error,
        )

    # --- how the streams stand ---

    def snapshot(self) -> Snapshot:
        """All of it, at this moment; for any thread."""
        wall, now = clock.now(), clock.monotonic()
        workers = self._workers
        return Snapshot.of(
            wall,
            [self._view(key, stream, wall, now) for key, stream in self.streams.copy().items()],
            started=self._started,
            waiting_for=self._waiting_for(),
            workers=self._settings.workers,
            busy=0 if workers is None else len(self._running),
            hanging=0 if workers is None else workers.lost,
            document_problems=self._problems,
        )

    def _view(self, key: StreamKey, stream: Stream, wall: datetime, now: float) -> View:
        slot = self.schedule.find(key)
        waiting = slot is not None and not slot.running
        planned = wall + timedelta(seconds=max(0.0, slot.due - now)) if slot is not None and waiting else None
        running, facts = key in self._running, stream.facts
        if running:
            facts = replace(facts, holder=owner().name, expires=None)
        return View(stream.config, facts, stream.since, planned, running, stream.totals)

    def _waiting_for(self) -> tuple[str, ...]:
        if self._exit is not None:
            return ("The process is ending.",)
        if self._workers is None:
            return ("The configuration is not loaded yet, or the cache or the output is not open.",)
        return ()

    def _look_at_shortfalls(self, now: float) -> None:
        """Time alone can make a stream stale."""
        wall = clock.now()
        for key, stream in self.streams.items():
            if expects(stream.config):
                self._shortfalls.look(key, self._view(key, stream, wall, now).standing(wall))
        self._next_look = now + LOOK_EVERY

    # --- the end ---

    def _end(self, code: int) -> int:
        """Let every stream end at its next page, and give back the leases of those that do not."""
        workers = self._workers
        left: list[Attempt] = []
        if workers is not None:
            workers.stop()
            deadline = clock.monotonic() + GRACE
            while self._running and (patience := deadline - clock.monotonic()) > 0:
                message = self._mailbox.receive(patience)
                if isinstance(message, Attempt):
                    self._ended(message, clock.monotonic())
            left = workers.abandon(list(self._running.values()), replace=False) if self._running else []
            for attempt in left:
                logger.warning(
                    "The stream did not stop in time, and is given up; the next run goes on from its last page.",
                    extra=attempt.about,
                )
            workers.close()
        logger.info("Grove has stopped.", extra={"streams": len(self.streams), "given_up": len(left), "code": code})
        if left or self._loader.alive or (workers is not None and workers.lost):
            self._leave(code)
        return code


def _differs(known: ConnectorConfig, loaded: ConnectorConfig | None) -> bool:
    return loaded is not None and loaded is not known and loaded != known


def _due_since(stream: Stream, now: datetime) -> float:
    """For how long a stream has been due, in seconds; one that has never run comes last."""
    return 0.0 if stream.known is None else (now - stream.known).total_seconds() - stream.config.frequency


def collect_forever(context: dict[str, str], mailbox: Mailbox | None = None) -> int:
    """Collect until the process is asked to end; the exit code. Errors as `Supervisor.run()`.

    `mailbox` is one that hears signals already.
    """
    mailbox = mailbox or Mailbox()
    with mailbox.signals(reload=True):
        return Supervisor(context, Settings.read(), mailbox).run()
