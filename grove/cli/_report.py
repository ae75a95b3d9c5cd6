"""How a collection goes and went: a line of progress, facts for programs, a summary for people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from grove import _core
from grove.cli._rehearsal import Nowhere
from grove.cli._terminal import Progress, span, styled, table
from grove.connectors import QUARANTINE, BaseConnector
from grove.exceptions import AccessException, GroveException
from grove.models import OutputStream
from grove.oneshot import Report
from grove.workers import Attempt

__all__ = ["course", "facts", "merged_course", "show", "show_course", "watching"]

# Lines of the summary: a terminal holds no more. What went wrong comes first.
_MOST_LINES = 40

_COLOURS = {
    "failed": "red",
    "locked": "yellow",
    "stopped": "yellow",
    "succeeded": "green",
    "not_due": "bright_black",
}


# --- while it runs ---


def watching(progress: Progress, streams: int) -> Callable[[Sequence[Attempt], Report], None]:
    """What shows, as often as it is called, how far the collection of so many streams has come."""

    def watch(active: Sequence[Attempt], report: Report) -> None:
        show_course(progress, course(active, report), streams)

    return watch


def course(active: Sequence[Attempt], report: Report) -> dict[str, Any]:
    """How far a collection has come: the streams that are `done` and `left`, `entries`, and the names of `running`."""
    running = [attempt for attempt in active if attempt.began is not None]
    return {
        "done": len(report.attempts),
        "left": len(active),
        "entries": sum(attempt.entries for attempt in report.attempts) + sum(map(_entries_so_far, running)),
        "running": [attempt.config.name for attempt in running],
    }


def show_course(progress: Progress, found: dict[str, Any], streams: int) -> None:
    """Show how far the collection of so many `streams` has come, by what `course` has found."""
    running, done = found["running"], streams - found["left"]
    more = f" and {len(running) - 3} more" if len(running) > 3 else ""
    names = ", ".join(running[:3])
    progress.show(f"{done} of {streams} streams done, {found['entries']:,} entries. {names}{more}")


def merged_course(parts: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], int]:
    """How far several processes have come together, as `course` says it, and the number of their streams."""
    found: dict[str, Any] = {"done": 0, "left": 0, "entries": 0, "running": []}
    for part in parts:
        found = {name: found[name] + part[name] for name in found}
    return found, found["done"] + found["left"]


def _entries_so_far(attempt: Attempt) -> int:
    connector = attempt.connector
    # Its thread may be adding a descriptor.
    return 0 if connector is None else max(list(connector._saved.values()), default=0)


# --- when it is over ---


def facts(attempt: Attempt, limit: int | None = None, nowhere: Nowhere | None = None) -> dict[str, Any]:
    """What is to be said of a stream that was collected, up to a `limit` of entries, or to `nowhere` in a rehearsal.

    `pointer` is the committed one; `first_pointer` and `last_pointer`, of a rehearsal, are those of the entries.
    """
    connector, config = attempt.connector, attempt.config
    found: dict[str, Any] = {
        "name": config.name,
        "connector": config.connector,
        "identity": config.identity,
        "operation": config.operation,
        "outcome": attempt.outcome,
        "entries": attempt.entries,
        "quarantined": 0 if connector is None else connector._saved.get(QUARANTINE, 0),
        "seconds": round(attempt.seconds, 3),
        "limit_reached": limit is not None and attempt.outcome == "stopped" and attempt.entries >= limit,
        "error": attempt.error or None,
        "next": _next(attempt),
    }
    if nowhere is None:
        found["pointer"] = None if connector is None else _pointer(connector)
        return found
    found["first_pointer"] = found["last_pointer"] = None
    raw = [descriptor for descriptor, stream in config.outputs.items() if stream == OutputStream.raw]
    if connector is not None and raw:
        tally = nowhere.tally(config.name, raw[0])
        if tally.entries:
            path: _core.PointerPath = connector._pointer_path()
            found["first_pointer"], found["last_pointer"] = path.pointers([tally.first, tally.last])
    return found


def _next(attempt: Attempt) -> str | None:
    """The command to type after a failure."""
    if attempt.outcome != "failed":
        return None
    if attempt.misconfigured:
        return "grove validate"
    failures = (attempt.failure, getattr(attempt.failure, "__cause__", None))
    # What is not the source's fault lies in the cache, the output or the secrets.
    own = any(isinstance(failure, AccessException) for failure in failures)
    return "grove doctor" if own else f"grove check {attempt.config.name}"


def _pointer(connector: BaseConnector) -> str | None:
    with contextlib.suppress(GroveException):
        return connector.pointer
    return None


def show(streams: Sequence[dict[str, Any]], out: TextIO) -> None:
    """Write the summary of `streams`, as `facts` made them, to `out`: a table, and below it what to do next."""
    order = list(_COLOURS)
    ranked = sorted(streams, key=lambda stream: order.index(stream["outcome"]))
    rehearsed = any("last_pointer" in stream for stream in streams)
    header = ["stream", "outcome", "entries", *(["first", "last"] if rehearsed else ["pointer"]), "time"]
    names = ("first_pointer", "last_pointer") if rehearsed else ("pointer",)
    rows = [
        [
            stream["name"],
            stream["outcome"].replace("_", " "),
            f"{stream['entries']:,}",
            *(stream[name] or "" for name in names),
            span(stream["seconds"]) if stream["outcome"] != "not_due" else "",
        ]
        for stream in ranked[:_MOST_LINES]
    ]
    lines = table(header, rows, right=(2,))
    out.write(f"{styled(lines[0], out, bold=True)}\n")
    for stream, line in zip(ranked, lines[1:], strict=False):
        word = stream["outcome"].replace("_", " ")
        out.write(f"{line.replace(word, styled(word, out, fg=_COLOURS[stream['outcome']]), 1)}\n")
    if len(ranked) > _MOST_LINES:
        out.write(f"... and {len(ranked) - _MOST_LINES:,} more.\n")
    for note in _notes(ranked):
        out.write(f"{note}\n")
    out.flush()


def _notes(streams: Sequence[dict[str, Any]]) -> list[str]:
    """What the outcomes mean for whoever reads them."""
    notes = []
    for stream in streams:
        name = stream["name"]
        if stream["limit_reached"]:
            notes.append(f"{name}: stopped by --limit, after a whole page. The next run goes on from there.")
        elif stream["outcome"] == "stopped":
            notes.append(f"{name}: stopped before its end. The next run goes on from its last page.")
        elif stream["outcome"] == "locked":
            notes.append(f"{name}: is being collected by another process.")
        if stream["quarantined"]:
            notes.append(f"{name}: {stream['quarantined']:,} entries were set aside in `{QUARANTINE}`.")
    # What is wrong with documents is told apart.
    commands = dict.fromkeys(stream["next"] for stream in streams if stream["next"] not in (None, "grove validate"))
    notes += [f"Next: {command}" for command in commands]
    waiting = [stream["name"] for stream in streams if stream["outcome"] == "not_due"]
    if waiting:
        notes.append(f"{len(waiting):,} not due yet. To collect one now: grove run {waiting[0]}")
    return notes[:_MOST_LINES]
