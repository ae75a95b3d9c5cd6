"""One worker process: a `grove` or a `groved` for a share of the streams. A supervisor starts it, and ends it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import click
from pydantic import TypeAdapter

from grove.cli._report import course
from grove.cli._terminal import Progress, log_for_people
from grove.cli.run import Wanted, collect
from grove.daemon import Supervisor
from grove.entrypoints import base, local_daemon, local_process
from grove.exceptions import ConfigurationException, GroveException
from grove.health.server import Ping
from grove.health.snapshot import Snapshot
from grove.helpers import turns
from grove.helpers.signals import Mailbox, Reload, Stop
from grove.models import ConnectorConfig
from grove.oneshot import EXIT_CONFIGURATION, EXIT_FAILED, Report
from grove.processes.link import CONFIGURATION, OTHER, USAGE, Link
from grove.processes.share import Share
from grove.runtime import Settings
from grove.workers import Attempt

__all__ = ["main"]

logger = logging.getLogger(__name__)

ALONE = 15.0
"""Seconds after which a worker without a supervisor ends, whatever it still does."""

_snapshots: TypeAdapter[Snapshot] = TypeAdapter(Snapshot)


def main() -> int:
    """Do what the supervisor says in the only argument, a JSON object; the exit code."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    os.set_inheritable(job["link"], False)
    link = Link(socket.socket(fileno=job["link"]))
    turns.join({int(descriptor): file for descriptor, file in job["locks"].items()})
    work = _daemon if job["command"] == "daemon" else _collect
    mailbox = Mailbox()
    with mailbox.signals(reload=True):
        return work(job, link, mailbox)


def _daemon(job: dict[str, Any], link: Link, mailbox: Mailbox) -> int:
    context = local_daemon.runtime_information()

    def work() -> int:
        settings = replace(_settings(job), status_address="")
        supervisor = Supervisor(context, settings, mailbox)
        _listen(link, mailbox, supervisor.snapshot)
        return supervisor.run()

    return _guarded(work, context, job, link)


def _collect(job: dict[str, Any], link: Link, mailbox: Mailbox) -> int:
    context = local_process.runtime_information()

    def work() -> int:
        _listen(link, mailbox)
        wanted = Wanted(**job["wanted"])
        if sys.stderr.isatty() and not job["debug"]:
            log_for_people(_Elsewhere() if job["watched"] else Progress())
        watching = (lambda count: _telling(link)) if job["watched"] else None
        report, streams = collect(wanted, _settings(job), context, mailbox, watching)
        link.send(report={"problems": report.problems, "outcomes": report.streams, "streams": streams})
        return report.exit_code

    return _guarded(work, context, job, link)


class _Elsewhere(Progress):
    """The line of progress that the supervisor shows."""

    def clear(self) -> None:
        """Take it away; what it was is not known here."""
        if self.active:
            sys.stderr.write("\r\x1b[K")


def _telling(link: Link) -> Callable[[Sequence[Attempt], Report], None]:
    return lambda active, report: link.send(course=course(active, report))


def _settings(job: dict[str, Any]) -> Settings:
    return replace(Settings.read(), share=Share(job["number"], job["count"]))


def _guarded(work: Callable[[], int], context: dict[str, str], job: dict[str, Any], link: Link) -> int:
    """Do `work`. What is wrong for all workers alike is told by the supervisor, once."""

    def quiet() -> int:
        if job["number"] > 1:
            for handler in logging.getLogger().handlers:
                handler.addFilter(_is_no_document)
        return work()

    try:
        return base.guarded(quiet, context, job["debug"], passing=(GroveException, click.UsageError))
    except ConfigurationException as err:
        link.send(failure=CONFIGURATION, text=str(err))
        return EXIT_CONFIGURATION
    except click.UsageError as err:
        link.send(failure=USAGE, text=err.message)
    except GroveException as err:
        link.send(failure=OTHER, text=str(err))
    return EXIT_FAILED


def _is_no_document(record: logging.LogRecord) -> bool:
    """Whether a log line is not about a document, which all workers read, and the first one speaks of."""
    return "document" not in record.__dict__


# --- what the supervisor says ---


def _listen(link: Link, mailbox: Mailbox, snapshot: Callable[[], Snapshot] | None = None) -> None:
    """Hear the supervisor from now on, in a thread of its own."""
    threading.Thread(target=_hear, args=(link, mailbox, snapshot), name="grove-link", daemon=True).start()


def _hear(link: Link, mailbox: Mailbox, snapshot: Callable[[], Snapshot] | None) -> None:
    for message in link.received():
        if "stop" in message:
            mailbox.send(Stop(message["stop"]))
        elif "reload" in message:
            mailbox.send(Reload())
        elif message.get("ask") == "alive":
            threading.Thread(target=_answer_alive, args=(link, mailbox), daemon=True).start()
        elif message.get("ask") == "snapshot" and snapshot is not None:
            threading.Thread(target=_answer_snapshot, args=(link, snapshot), daemon=True).start()
    # Nobody is left who would end it, or start it again.
    mailbox.send(Stop(signal.SIGTERM))
    threading.Event().wait(ALONE)
    os._exit(EXIT_FAILED)


def _answer_alive(link: Link, mailbox: Mailbox) -> None:
    ping = Ping()
    mailbox.send(ping)
    ping.heard.wait()
    link.send(answer="alive", value=None)


def _answer_snapshot(link: Link, snapshot: Callable[[], Snapshot]) -> None:
    text = None
    try:
        found = snapshot()
        streams = [(replace(standing, config=_in_short(standing.config)), totals) for standing, totals in found.streams]
        text = _snapshots.dump_json(replace(found, streams=streams)).decode()
    except Exception:
        logger.exception("What the status page shows could not be found out.")
    finally:
        link.send(answer="snapshot", value=text)


def _in_short(config: ConnectorConfig) -> ConnectorConfig:
    """What is shown of a document: no credentials."""
    names = ("name", "connector", "identity", "operation", "frequency", "expect")
    return ConnectorConfig.model_construct(**{name: getattr(config, name) for name in names})
