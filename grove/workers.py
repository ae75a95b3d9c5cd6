"""The threads that collect streams, each on its own, and what is done about those that do not come back."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from grove.connectors import BaseConnector
from grove.constants import CACHE_KEY_LOCK
from grove.exceptions import (
    ConcurrencyException,
    ConfigurationException,
    ConnectorMissingException,
    GroveException,
    RateLimitException,
    StoppedError,
)
from grove.health.facts import Facts, key_of, of_connector, read
from grove.helpers import clock
from grove.history import note
from grove.lease import CLOCK_MARGIN
from grove.models import ConnectorConfig
from grove.runtime import Handlers, is_due, prepare
from grove.state import HISTORY

__all__ = ["GRACE", "GRACE_UNLOCK", "OUTCOMES", "PATROL", "Attempt", "Workers", "given_up"]

logger = logging.getLogger(__name__)

OUTCOMES = ("succeeded", "failed", "locked", "stopped", "not_due")

# Seconds after a request to stop: for connectors to save their page, then to give back the leases of those that
# have not come back. Together they stay below the ten that a service manager is promised.
GRACE = 7.5
GRACE_UNLOCK = 1.5

# Seconds between two looks at whether everything still makes progress.
PATROL = 1.0


def _as_it_is(connector: BaseConnector) -> None:
    """What most connectors need before they run: nothing."""


@dataclass(eq=False, slots=True)
class Attempt:
    """One run of one stream, from its place in the queue to its outcome (one of OUTCOMES).

    `key` is whatever the caller knows the stream by, and `due` decides whether it is to run at all. Its connector
    exists once its secrets have been fetched; then `ready` is called with it, before it runs. `began` is on the
    monotonic clock, None before a worker has it in hand.

    What is known in the end: `failure` holds whatever went wrong, in words in `error`, and `misconfigured` says that
    it is the document. `entries` were delivered, to the output descriptor that got the most, in so many `seconds`.
    `ran` is when the run began, as the cache has it now, None where it did not get so far. `until` is when the source
    wants to be asked again, and `expires_in` when a lock that is held elsewhere may be over, in seconds.
    """

    config: ConnectorConfig
    key: Hashable = None
    due: Callable[[BaseConnector], bool] = is_due
    ready: Callable[[BaseConnector], None] = _as_it_is
    stopping: threading.Event = field(default_factory=threading.Event)
    began: float | None = None
    connector: BaseConnector | None = None
    abandoned: bool = False
    outcome: str = ""
    failure: BaseException | None = None
    misconfigured: bool = False
    error: str = ""
    entries: int = 0
    seconds: float = 0.0
    ran: datetime | None = None
    facts: Facts | None = None
    until: datetime | None = None
    expires_in: float = 0.0

    @property
    def about(self) -> dict[str, str]:
        """What log lines say of the stream."""
        config = self.config
        return {"stream": config.name, "connector": config.connector, "identity": config.identity}

    def hangs(self) -> bool:
        """Whether it has made no progress for its `run_timeout`."""
        if self.began is None:
            return False
        run = self.connector._run if self.connector is not None else None
        lease = run.lease if run is not None else None
        progress = self.began if lease is None else max(self.began, lease.progress)
        return clock.monotonic() - progress > self.config.run_timeout


class Workers:
    """A number of threads that take attempts from a queue. Each attempt is handed to `report` once it has ended.

    One stream's failure never concerns another, nor the thread. For use from one thread.
    """

    def __init__(
        self, count: int, context: dict[str, str], handlers: Handlers, report: Callable[[Attempt], None]
    ) -> None:
        self.count = count
        self._context = context
        self._handlers = handlers
        self._report = report
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._active: dict[Attempt, None] = {}
        self._lost: dict[Attempt, None] = {}
        self._stopping = False
        self._threads = 0
        for _ in range(count):
            self._start_thread()

    def _start_thread(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, name=f"grove-{self._threads}", daemon=True).start()

    # --- for the thread that feeds them ---

    def submit(self, attempt: Attempt) -> None:
        """Run `attempt` as soon as a thread is free."""
        with self._lock:
            self._active[attempt] = None
        self._queue.put(attempt)

    @property
    def active(self) -> list[Attempt]:
        """The attempts that have neither ended nor been abandoned, those that still wait for a thread included."""
        with self._lock:
            return list(self._active)

    @property
    def free(self) -> int:
        """How many more could begin at once."""
        return self.count - len(self._active)

    @property
    def lost(self) -> int:
        """How many abandoned attempts still keep a thread."""
        return len(self._lost)

    def stop(self) -> None:
        """Let every attempt end at its next page, and none begin."""
        with self._lock:
            self._stopping = True
            for attempt in self._active:
                attempt.stopping.set()

    def abandon(self, attempts: Iterable[Attempt], *, replace: bool) -> list[Attempt]:
        """Give up those `attempts` that have not ended: whatever they still try is refused. Which ones that were.

        Their leases are given back from a thread of its own, for the cache may be what they hang on. With `replace`,
        other threads take the place of theirs.
        """
        with self._lock:
            left = [attempt for attempt in attempts if attempt in self._active]
            for attempt in left:
                attempt.abandoned = True
                attempt.stopping.set()
                self._lost[attempt] = self._active.pop(attempt)
        for _ in left if replace else ():
            self._start_thread()
        helper = threading.Thread(target=_revoke, args=(left, replace), name="grove-unlock", daemon=True)
        helper.start()
        if not replace:
            helper.join(GRACE_UNLOCK)
        return left

    def close(self) -> None:
        """Let the threads go that wait for work."""
        for _ in range(self._threads):
            self._queue.put(None)

    # --- in the threads ---

    def _work(self) -> None:
        while (attempt := self._queue.get()) is not None:
            self._run(attempt)
            with self._lock:
                self._active.pop(attempt, None)
                self._lost.pop(attempt, None)
            self._report(attempt)
            if attempt.abandoned:
                # Another thread has taken this one's place.
                return

    def _run(self, attempt: Attempt) -> None:
        try:
            attempt.outcome = self._collect(attempt)
        except BaseException as err:
            # Also SystemExit, and whatever else a plug-in thinks up: it ends this stream, not this thread.
            attempt.outcome = "failed"
            attempt.failure = err
        try:
            _conclude(attempt)
            self._look_up(attempt)
        except Exception:
            logger.exception("The end of a run failed in a way that no one expected.", extra=attempt.about)

    def _collect(self, attempt: Attempt) -> str:
        with self._lock:
            if self._stopping or attempt.abandoned:
                return "stopped"
            attempt.began = clock.monotonic()
        connector = prepare(attempt.config, self._context, self._handlers, attempt.due)
        if connector is None:
            return "not_due"
        connector.stopping = attempt.stopping
        if not self._hold(attempt, connector):
            return "stopped"
        attempt.ready(connector)
        connector.run()
        # A plug-in with a `run()` of its own says nothing, and has raised nothing.
        return connector.outcome or "succeeded"

    def _look_up(self, attempt: Attempt) -> None:
        """Find out how the stream stands, where its run cannot have kept that or said so itself."""
        connector = attempt.connector
        if attempt.outcome not in ("failed", "locked") or attempt.facts is not None or attempt.abandoned:
            return
        if connector is not None:
            attempt.facts = of_connector(connector)
            return
        # There was no connector to keep it.
        cache, failure = self._handlers.cache, attempt.failure or attempt.error
        with contextlib.suppress(Exception):
            place = key_of(attempt.config, cache)
            note(cache, place(HISTORY), clock.now() - timedelta(seconds=attempt.seconds), failure)
            attempt.facts = next(read(cache, [place]))

    def _hold(self, attempt: Attempt, connector: BaseConnector) -> bool:
        """Whether anybody still waits for it: it may have been given up while it fetched its secrets, say."""
        with self._lock:
            attempt.connector = None if attempt.abandoned else connector
        return attempt.connector is not None


def _conclude(attempt: Attempt) -> None:
    """Find out how it went."""
    connector, raised = attempt.connector, attempt.failure
    if attempt.began is not None:
        attempt.seconds = clock.monotonic() - attempt.began
    if connector is not None:
        attempt.entries = max(connector._saved.values(), default=0)
        attempt.failure = connector.failure if raised is None else raised
    err = attempt.failure
    if err is not None:
        attempt.error = str(err) or type(err).__name__
    if raised is not None:
        _explain(attempt, raised)
    if connector is not None and attempt.outcome in ("succeeded", "failed"):
        # As it was written: in whole seconds.
        attempt.ran = connector._started.replace(microsecond=0)
    if connector is not None and connector.history is not None:
        attempt.facts = Facts(connector.history, connector._reached, attempt.ran)
    if isinstance(err, RateLimitException) and err.until is not None and err.until.tzinfo is not None:
        attempt.until = err.until


def _explain(attempt: Attempt, raised: BaseException) -> None:
    """Say what became of an attempt whose connector has said nothing, for it has raised something."""
    about = attempt.about
    if isinstance(raised, ConfigurationException | ConnectorMissingException):
        attempt.misconfigured = True
        logger.error("The stream's configuration is unusable.", extra={**about, "exception": attempt.error})
    elif isinstance(raised, ConcurrencyException):
        attempt.outcome = "locked"
        attempt.expires_in = _expires_in(attempt.connector)
        logger.info("The stream is being collected elsewhere.", extra=about)
    elif isinstance(raised, StoppedError):
        attempt.outcome = "stopped"
    elif isinstance(raised, GroveException):
        logger.error("The stream could not be collected.", extra={**about, "exception": attempt.error})
    else:
        logger.error("The stream failed in a way that no one expected.", extra=about, exc_info=raised)


def _expires_in(connector: BaseConnector | None) -> float:
    """Seconds until the lock of a stream that is collected elsewhere may be over; 0 where it does not say."""
    if connector is None:
        return 0.0
    cache = connector._cache
    try:
        text = cache.get(connector.cache_key(CACHE_KEY_LOCK), connector.operation)
        seconds = clock.seconds_until(clock.parse_lock_date(text))
    except (GroveException, ValueError):
        return 0.0
    return max(0.0, seconds + (CLOCK_MARGIN if cache.SCOPE == "shared" else 0.0))


def given_up(config: ConnectorConfig) -> str:
    """Why a run that hangs has failed."""
    return f"It made no progress for {config.run_timeout:g} seconds (`run_timeout`), and was given up."


def _revoke(attempts: list[Attempt], hanging: bool) -> None:
    """Take their streams from `attempts`, and keep that, where they were `hanging`."""
    for attempt in attempts:
        if attempt.connector is None:
            continue
        try:
            attempt.connector.abandon()
            if hanging:
                _note_hanging(attempt, attempt.connector)
        except Exception as err:
            logger.warning(
                "A lease could not be given back; it expires by itself.",
                extra={**attempt.about, "exception": str(err)},
            )


def _note_hanging(attempt: Attempt, connector: BaseConnector) -> None:
    place = key_of(attempt.config, connector._cache)
    with contextlib.suppress(GroveException):
        note(connector._cache, place(HISTORY), connector._started, given_up(attempt.config))
