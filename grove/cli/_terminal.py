"""What commands share: text for people, JSON for programs, and a line of progress that leaves no trace.

Nothing here is loaded before a command runs, and no option changes what goes into a pipe: colour and progress are for
terminals alone, and NO_COLOR (https://no-color.org) takes the colour away there too.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO, TypeVar

import click

from grove.helpers import clock, turns

__all__ = [
    "Finding",
    "PeopleFormatter",
    "Progress",
    "findings",
    "json_option",
    "log_for_people",
    "mark",
    "moment",
    "print_json",
    "printable",
    "quietly",
    "span",
    "styled",
    "table",
    "width",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])

_MARKS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}
_LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
_GAP = "  "


def json_option(command: _Function) -> _Function:
    """Give a command the option `--json`, as its argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document.")(command)


def print_json(document: Any) -> None:
    """Print `document` on stdout, as the one document that `--json` promises."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


# --- text ---

# A terminal obeys them, and what vendors send is shown on it.
_CONTROLS = {code: " " for code in (*range(32), *range(127, 160))}


def printable(text: str) -> str:
    """`text` on one line, with nothing in it that commands a terminal."""
    return text.translate(_CONTROLS)


def coloured(stream: TextIO) -> bool:
    """Whether what goes to `stream` may have colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, stream: TextIO | None = None, **style: Any) -> str:
    """`text` in a style of `click.style`, where `stream` (stdout) shows it."""
    return click.style(text, **style) if coloured(stream or sys.stdout) else text


def width(stream: TextIO) -> int:
    """The columns of the terminal that `stream` is; COLUMNS goes before what it says itself."""
    stated = os.environ.get("COLUMNS", "")
    return int(stated) if stated.isdecimal() and int(stated) else os.get_terminal_size(stream.fileno()).columns or 80


def mark(status: str, stream: TextIO | None = None) -> str:
    """One of "ok", "warn", "fail" and "skip" at the beginning of a line."""
    return styled(f"{status:<4}", stream, fg=_MARKS[status])


@dataclass(frozen=True, slots=True)
class Finding:
    """What a `check` has found: `status` is "ok", "warn", "fail" or "skip", `help` says what to do."""

    check: str
    status: str
    message: str
    help: str = ""

    def facts(self) -> dict[str, str | None]:
        """For programs."""
        return {"check": self.check, "status": self.status, "message": self.message, "help": self.help or None}


def findings(found: Sequence[Finding], indent: str = "") -> list[str]:
    """The lines of what was found, each with what to do below it."""
    longest = max((len(one.check) for one in found), default=0)
    lines = []
    for one in found:
        lines.append(f"{indent}{mark(one.status)}{_GAP}{one.check:<{longest}}{_GAP}{printable(one.message)}")
        if one.help:
            lines.append(f"{indent}{' ' * (4 + longest + 2 * len(_GAP))}{printable(one.help)}")
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """The lines of a table; the columns `right` are aligned on that side, and no line ends in blanks."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(row)
        ]
        return _GAP.join(cells).rstrip()

    return [line(header), *(line(row) for row in rows)]


def moment(value: datetime | None) -> str | None:
    """A time as `--json` gives it: ISO 8601, UTC, whole seconds; None where there is none."""
    return None if value is None else clock.datestamp(value)


def span(seconds: float) -> str:
    """A duration for people, such as "1.5 s", "12 min" or "3 days"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for unit, length, limit in (("min", 60, 3_600), ("h", 3_600, 172_800)):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


# --- progress ---


class Progress:
    """One line on stderr that is written over again and again, and gone in the end; nothing where that is no terminal.

    With `beside`, not where stdout is a terminal either, as both would write to the same lines. Safe for threads.
    """

    def __init__(self, *, beside: bool = False) -> None:
        self.active = sys.stderr.isatty() and not (beside and sys.stdout.isatty())
        self._lock = threading.RLock()
        self._shown = ""

    def show(self, text: str) -> None:
        """Put `text` in the place of what was there."""
        if not self.active:
            return
        with self._lock, turns.turn(turns.STDERR, 0):
            if text != self._shown:
                self._shown = text
                sys.stderr.write(f"\r\x1b[K{text[: width(sys.stderr) - 1]}")
                sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._shown:
                self._shown = ""
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()


# --- logs ---


class PeopleFormatter(logging.Formatter):
    """A record as one line to read: its level, the stream, the message, and why."""

    def format(self, record: logging.LogRecord) -> str:
        """Without registered secrets, as in JSON."""
        from grove.logging import redact

        facts = record.__dict__
        stream = facts.get("stream") or facts.get("identity")
        why = facts.get("exception") or facts.get("reason") or facts.get("error")
        parts = [f"{stream}:" if stream else "", record.getMessage(), str(why) if why else ""]
        text = redact(" ".join(filter(None, parts)))
        level = styled(record.levelname.lower(), sys.stderr, fg=_LEVELS.get(record.levelname))
        if record.exc_info and record.exc_info[1] is not None and not why:
            text += redact(f" {type(record.exc_info[1]).__name__}: {record.exc_info[1]}")
        return f"{level}: {printable(text)}"


class _AboveProgress(logging.StreamHandler[TextIO]):
    def __init__(self, progress: Progress) -> None:
        super().__init__(sys.stderr)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        with turns.turn(turns.STDERR, 0):
            self._progress.clear()
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        # As for JSON: a closed stderr is no reason to stop, and a traceback nothing to read.
        pass


def log_for_people(progress: Progress) -> None:
    """From here on, logs are lines to read, above `progress`: warnings and errors, or what LOG_LEVEL says.

    To be called once `grove.logging.configure()` has been.
    """
    handler = _AboveProgress(progress)
    handler.setFormatter(PeopleFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    if not os.environ.get("LOG_LEVEL"):
        root.setLevel(logging.WARNING)


def quietly(ctx: click.Context) -> None:
    """From here on, no logs: the command says itself all there is to say. With `--debug`, every one."""
    from grove.logging import configure

    debug = bool((ctx.find_root().obj or {}).get("debug"))
    configure({}, "DEBUG" if debug else "INFO")
    if not debug:
        logging.getLogger().handlers[0].setLevel(logging.CRITICAL)
