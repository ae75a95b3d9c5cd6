"""The process that is started: it starts workers, passes on what it is told, and says what became of them.

Its main thread decides. For each worker one thread hears what it says, and another waits for its end; both put that
into the mailbox, which hears signals as well.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from grove.__about__ import __version__
from grove.exceptions import ConfigurationException, GroveException
from grove.health.server import PATIENCE, Ping, StatusServer
from grove.health.snapshot import Snapshot
from grove.helpers import clock, turns
from grove.helpers.signals import Mailbox, Reload, Stop
from grove.oneshot import EXIT_CONFIGURATION, EXIT_OK, Report
from grove.processes.link import CONFIGURATION, USAGE, Link
from grove.processes.share import Share
from grove.runtime import Settings

__all__ = ["Collected", "UsageError", "collect", "keep_running"]

logger = logging.getLogger(__name__)

LIMIT = 9.5
"""Seconds that workers have to end, once they were asked to: a little more than they take at most."""

BACKOFF, MOST_BACKOFF = 1.0, 60.0
"""Seconds until a worker that has ended is started again: twice as many each time, up to the second number."""

STEADY = 300.0
"""Seconds after which a worker that ends has not failed before."""

# Seconds to wait for a message: while somebody watches, while workers are to end, and where nothing is planned.
_TICK, _PATROL, _IDLE = 0.2, 1.0, 3600.0

# A worker finds its modules, Grove's own among them, where this process does.
_WORKER = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1])['path']; "
    "from grove.processes.worker import main; sys.exit(main())"
)

_snapshots: TypeAdapter[Snapshot] = TypeAdapter(Snapshot)


class UsageError(Exception):
    """What the command line asks for is not there; the message says what."""


@dataclass(eq=False, slots=True)
class _Worker:
    """One worker process. What it has said of itself stays when it ends: `snapshot`, `course`, `report`, `failure`."""

    share: Share
    process: subprocess.Popen[bytes] | None = None
    link: Link | None = None
    began: float = 0.0
    failures: int = 0
    again: float | None = None
    snapshot: Snapshot | None = None
    course: dict[str, Any] | None = None
    report: dict[str, Any] | None = None
    failure: tuple[str, str] | None = None
    asked: dict[str, threading.Event] = field(default_factory=dict)

    def ask(self, what: str) -> threading.Event:
        """Ask for something; the event is set once it has answered, or ended. What it still owes is not asked again."""
        answered = self.asked.get(what)
        if answered is None or answered.is_set():
            answered = self.asked[what] = threading.Event()
            link = self.link
            if link is None:
                answered.set()
            else:
                link.send(ask=what)
        return answered

    def gone(self) -> None:
        """Its process has ended: nobody is to wait for what it owes."""
        self.process, link, self.link = None, self.link, None
        for answered in self.asked.values():
            answered.set()
        if link is not None:
            link.close()

    def heard(self, message: dict[str, Any]) -> None:
        """Keep what it has said."""
        if "failure" in message:
            self.failure = (message["failure"], message["text"])
        elif "report" in message:
            self.report = message["report"]
        elif "course" in message:
            self.course = message["course"]
        elif "answer" in message:
            if message["answer"] == "snapshot" and message["value"] is not None:
                self.snapshot = _snapshots.validate_json(message["value"])
            self.asked[message["answer"]].set()


@dataclass(frozen=True, slots=True)
class _Ended:
    worker: _Worker
    code: int


class _Workers:
    """The worker processes of `job`, which says what they are to do."""

    def __init__(self, count: int, job: dict[str, Any], mailbox: Mailbox) -> None:
        self.all = [_Worker(Share(number, count)) for number in range(1, count + 1)]
        self._job = job
        self._mailbox = mailbox
        self._locks = turns.open_locks()
        # A worker that was stopped in its turn must not stop the one who ends it.
        turns.join(self._locks, patience=_PATROL)
        mailbox.last_will = self.kill

    @property
    def alive(self) -> list[_Worker]:
        """Those whose process has not ended, as far as that was heard."""
        return [worker for worker in self.all if worker.process is not None]

    def start(self, worker: _Worker) -> None:
        """Start its process. OSError where the system has no room for another."""
        ours, theirs = socket.socketpair()
        job = {"number": worker.share.number, "count": worker.share.count, "link": theirs.fileno(), **self._job}
        try:
            worker.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _WORKER, json.dumps({**job, "path": sys.path, "locks": self._locks})],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *set(self._locks.values())),
                # Of its own, so that what a terminal sends to all comes from here alone, and once.
                process_group=0,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        worker.link, worker.began, worker.again, worker.failure = Link(ours), clock.monotonic(), None, None
        worker.asked.clear()
        logger.debug("A worker process was started.", extra=_about(worker))
        name = f"grove-worker-{worker.share.number}"
        ear = threading.Thread(target=_hear, args=(worker, worker.link), name=name, daemon=True)
        ear.start()
        waiting = threading.Thread(
            target=self._wait, args=(worker, worker.process, ear), name=f"{name}-end", daemon=True
        )
        waiting.start()

    def _wait(self, worker: _Worker, process: subprocess.Popen[bytes], ear: threading.Thread) -> None:
        code = process.wait()
        # It hears the end by itself, unless somebody whom the worker has started keeps the link.
        ear.join(1.0)
        self._mailbox.send(_Ended(worker, code))

    def tell(self, **message: Any) -> None:
        """Tell all of them."""
        for worker in self.alive:
            if worker.link is not None:
                worker.link.send(**message)

    def kill(self) -> None:
        """End them at once."""
        for worker in self.all:
            if worker.process is not None:
                worker.process.kill()

    def close(self) -> None:
        """End those that are left, and be alone again."""
        self.kill()
        turns.leave()
        for file in set(self._locks.values()):
            os.close(file)


def _hear(worker: _Worker, link: Link) -> None:
    for message in link.received():
        worker.heard(message)


def _about(worker: _Worker) -> dict[str, Any]:
    return {"worker": str(worker.share), "worker_id": None if worker.process is None else worker.process.pid}


def _how(code: int) -> str:
    """How a process with this exit code ended, in words."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with the exit code {code}"


# --- once ---


@dataclass(frozen=True, slots=True)
class Collected:
    """What all workers have collected: the report, and what each says of its streams."""

    report: Report
    streams: list[dict[str, Any]]


def collect(
    settings: Settings,
    debug: bool,
    mailbox: Mailbox,
    wanted: Mapping[str, Any] = MappingProxyType({}),
    watch: Callable[[Sequence[dict[str, Any]]], object] | None = None,
) -> Collected:
    """Collect every due stream once, or what is `wanted` (see `grove.cli.run`), in `settings.processes` workers.

    `watch` is called several times a second with how far each of them has come.

    A worker that ends without a report counts as one failed stream, under its own name. UsageError,
    ConfigurationException or GroveException where that is what kept all of them from their work.
    """
    with mailbox.signals():
        job = {"command": "run", "debug": debug, "wanted": dict(wanted), "watched": watch is not None}
        workers = _Workers(settings.processes, job, mailbox)
        try:
            return _collect(workers, mailbox, watch)
        finally:
            workers.close()


def _collect(
    workers: _Workers, mailbox: Mailbox, watch: Callable[[Sequence[dict[str, Any]]], object] | None
) -> Collected:
    codes: dict[_Worker, int] = {}
    deadline: float | None = None
    for worker in workers.all:
        try:
            workers.start(worker)
        except OSError as err:
            raise GroveException(f"A worker process cannot be started: {err.strerror}.") from err
    while workers.alive:
        if watch is not None:
            watch([worker.course for worker in workers.all if worker.course is not None])
        message = mailbox.receive(_PATROL if watch is None else _TICK)
        if isinstance(message, _Ended):
            codes[message.worker] = message.code
            message.worker.gone()
        elif isinstance(message, Stop):
            logger.info("Stopping.", extra={"signal": message.name})
            deadline = deadline or clock.monotonic() + LIMIT
            workers.tell(stop=message.number)
        elif deadline is not None and clock.monotonic() >= deadline:
            workers.kill()
    failures = [worker.failure for worker in workers.all if worker.failure is not None]
    if failures and not any(worker.report for worker in workers.all):
        _raise(*failures[0])
    report, streams = Report(), list[dict[str, Any]]()
    for worker in workers.all:
        _add(report, streams, worker, codes[worker])
    report.tell()
    return Collected(report, streams)


def _raise(kind: str, text: str) -> None:
    if kind == USAGE:
        raise UsageError(text)
    raise (ConfigurationException if kind == CONFIGURATION else GroveException)(text)


def _add(report: Report, streams: list[dict[str, Any]], worker: _Worker, code: int) -> None:
    found = worker.report
    if found is not None:
        report.problems += found["problems"]
        for outcome, names in found["outcomes"].items():
            report.streams[outcome] += names
        streams += found["streams"]
        return
    text = worker.failure[1] if worker.failure is not None else f"It {_how(code)}."
    logger.error(
        "A worker process has not done its work; the next run goes on from the last page of its streams.",
        extra={"worker": str(worker.share), "exception": text},
    )
    if code == EXIT_CONFIGURATION:
        report.problems.append(text)
    else:
        report.streams["failed"].append(f"worker process {worker.share}")


# --- for good ---


def keep_running(settings: Settings, debug: bool, mailbox: Mailbox) -> int:
    """Keep `settings.processes` workers running until the process is asked to end; the exit code.

    ConfigurationException where a setting is wrong.
    """
    with mailbox.signals(reload=True):
        return _Daemon(settings, {"command": "daemon", "debug": debug}, mailbox).run()


class _Daemon:
    def __init__(self, settings: Settings, job: dict[str, Any], mailbox: Mailbox) -> None:
        self._settings = settings
        self._mailbox = mailbox
        self._job = job
        self._started = clock.now()
        self._deadline: float | None = None
        self._failure: tuple[str, str] | None = None
        self._workers: _Workers

    def run(self) -> int:
        """Errors as `keep_running()`."""
        settings = self._settings
        server: StatusServer | None = None
        if settings.status_address:
            server = StatusServer(settings.status_address, self.snapshot, self._mailbox.send)
        self._workers = workers = _Workers(settings.processes, self._job, self._mailbox)
        try:
            for worker in workers.all:
                self._start(worker)
            if server is not None:
                server.start()
            logger.info(
                "Grove has started its worker processes.",
                extra={
                    "version": __version__,
                    "pid": os.getpid(),
                    "processes": settings.processes,
                    "status": None if server is None else server.url,
                },
            )
            while workers.alive or self._deadline is None:
                self._turn()
        finally:
            workers.close()
            if server is not None:
                server.close()
        if self._failure is not None:
            _raise(*self._failure)
        logger.info("All worker processes have ended.", extra={"code": EXIT_OK})
        return EXIT_OK

    def _turn(self) -> None:
        now = clock.monotonic()
        if self._deadline is not None and now >= self._deadline:
            logger.warning(
                "Worker processes did not end in time, and are killed.", extra={"count": len(self._workers.alive)}
            )
            self._workers.kill()
            self._deadline = now + LIMIT
        due = [worker for worker in self._workers.all if worker.again is not None and worker.again <= now]
        for worker in due:
            self._start(worker)
        moments = [worker.again for worker in self._workers.all if worker.again is not None]
        moments += [self._deadline] if self._deadline is not None else []
        message = self._mailbox.receive(max(0.0, min(moments, default=now + _IDLE) - clock.monotonic()))
        if isinstance(message, _Ended):
            self._ended(message.worker, message.code)
        elif isinstance(message, Reload):
            self._workers.tell(reload=True)
        elif isinstance(message, Ping):
            threading.Thread(target=self._ping, args=(message,), name="grove-ping", daemon=True).start()
        elif isinstance(message, Stop):
            logger.info("Stopping.", extra={"signal": message.name})
            self._stop(message.number)

    def _start(self, worker: _Worker) -> None:
        try:
            self._workers.start(worker)
        except OSError as err:
            self._back_off(worker, f"could not be started: {err.strerror}")

    def _stop(self, number: int) -> None:
        if self._deadline is None:
            self._deadline = clock.monotonic() + LIMIT
            for worker in self._workers.all:
                worker.again = None
            self._workers.tell(stop=number)

    def _ended(self, worker: _Worker, code: int) -> None:
        worker.gone()
        if self._deadline is not None:
            return
        if worker.failure is not None and worker.failure[0] == CONFIGURATION:
            # Settings are the same for all, and do not change.
            self._failure = worker.failure
            self._stop(signal.SIGTERM)
            return
        self._back_off(worker, _how(code))

    def _back_off(self, worker: _Worker, how: str) -> None:
        now = clock.monotonic()
        worker.failures = 1 if now - worker.began >= STEADY else worker.failures + 1
        wait = min(BACKOFF * 2.0 ** (worker.failures - 1), MOST_BACKOFF)
        worker.again = now + wait
        logger.error(
            "A worker process has ended, and is started again.",
            extra={
                "worker": str(worker.share),
                "exception": f"It {how}.",
                "failures": worker.failures,
                "next_in": wait,
            },
        )

    # --- for the status page ---

    def _ping(self, ping: Ping) -> None:
        """Answer once the deciding thread of every worker has; one that is to be started again is no reason not to."""
        for answered in [worker.ask("alive") for worker in self._workers.alive]:
            answered.wait()
        ping.heard.set()

    def snapshot(self) -> Snapshot:
        """How all workers are at this moment; of one that does not say, what it has said last. For any thread."""
        alive = self._workers.alive
        until = clock.monotonic() + PATIENCE / 2
        asked = [(worker, worker.ask("snapshot")) for worker in alive]
        missing = [w for w, answered in asked if not answered.wait(max(0.0, until - clock.monotonic()))]
        waiting_for = [f"Worker process {w.share} is started again." for w in self._workers.all if w not in alive]
        waiting_for += [f"Worker process {worker.share} does not answer." for worker in missing]
        parts = [worker.snapshot for worker in self._workers.all if worker.snapshot is not None]
        waiting_for += [text for part in parts for text in part.waiting_for]
        if self._deadline is not None:
            waiting_for.append("The process is ending.")
        return Snapshot.merged(clock.now(), parts, started=self._started, waiting_for=tuple(dict.fromkeys(waiting_for)))
