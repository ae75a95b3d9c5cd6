"""`grove state explain`: whether a span of time has been collected, and how that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from grove.caches import Key
from grove.cli._documents import complete_documents, did_you_mean
from grove.cli._session import open_cache, session
from grove.cli._terminal import json_option, mark, moment, print_json, span
from grove.connectors import BaseConnector
from grove.constants import CACHE_KEY_POINTER, CHRONOLOGICAL
from grove.coverage import Run, decode
from grove.health.facts import key_of
from grove.health.standing import instant
from grove.helpers import clock, plugin
from grove.history import History
from grove.models import ConnectorConfig
from grove.oneshot import EXIT_FAILED, EXIT_OK
from grove.runtime import Settings, load_documents
from grove.state import COVERAGE, HISTORY

_DAY = timedelta(days=1)
_EARLIEST = datetime.min.replace(tzinfo=UTC)


def _moment(ctx: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """A date, a date with a time, or a time of today; UTC where it does not say."""
    if value is None:
        return None
    text = f"{clock.now():%Y-%m-%d}T{value}" if value[2:3] == ":" else value
    try:
        found = datetime.fromisoformat(text)
    except ValueError as err:
        raise click.BadParameter(f"{value!r} is no time; write 2026-11-24, 2026-11-24T10:00 or 10:00 (UTC).") from err
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time; as a gap it says `why`."""

    start: datetime
    end: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a span: "yes", "not yet", "no" or "unknown", and from what."""

    verdict: str
    gaps: list[Span]
    runs: list[Run]
    until: datetime | None


@click.command()
@click.argument("name", metavar="NAME", shell_complete=complete_documents)
@click.option("--from", "start", callback=_moment, help="The beginning (UTC); a day before the end without it.")
@click.option("--to", "end", callback=_moment, help="The end (UTC); now without it.")
@json_option
@click.pass_context
def explain(ctx: click.Context, name: str, start: datetime | None, end: datetime | None, as_json: bool) -> int:
    """Say whether all entries of a span of time have been collected from the stream NAME, and how that is known.

    It ends with 1 where something is missing, or where nothing is known of it.
    """
    now = clock.now()
    end = now if end is None else end
    start = end - _DAY if start is None else start
    if start >= end:
        raise click.UsageError(f"--from ({moment(start)}) has to lie before --to ({moment(end)}).")
    with session(ctx):
        settings = Settings.read()
        cache, documents = open_cache(settings), load_documents(settings)
        config = _config(name, documents.streams)
        place = key_of(config, cache)
        kinds = (COVERAGE, HISTORY, CACHE_KEY_POINTER)
        stored: Sequence[str | None] = cache.read([Key(*place(kind)) for kind in kinds])
        kind = plugin.load_class(config.connector, "grove.connectors")
    runs, history, pointer = decode(stored[0]), History.decode(stored[1]), stored[2]
    answer = judge(runs, history, pointer, start, end, now, oldest_first=kind.LOG_ORDER == CHRONOLOGICAL)
    lookback = _lookback(kind, config)
    if as_json:
        print_json(_document(name, start, end, answer, lookback))
    else:
        for line in in_words(name, start, end, answer, lookback):
            click.echo(line)
    return EXIT_OK if answer.verdict == "yes" else EXIT_FAILED


def _config(name: str, streams: list[ConnectorConfig]) -> ConnectorConfig:
    found = [config for config in streams if config.name == name]
    if len(found) != 1:
        hint = did_you_mean(name, [config.name for config in streams])
        problem = f"{len(found)} documents are called" if found else "There is no stream called"
        raise click.UsageError(f"{problem} {name!r}.{hint}")
    return found[0]


def _lookback(kind: type[BaseConnector], config: ConnectorConfig) -> float:
    """Seconds."""
    declared = getattr(getattr(kind, "SOURCE", None), "lookback", 0.0)
    return float(config.lookback if "lookback" in config.model_fields_set else declared)


# --- what is known ---


def judge(
    runs: list[Run],
    history: History | None,
    pointer: str | None,
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    oldest_first: bool,
) -> Answer:
    """Whether `runs`, and the last one of `history`, have asked for all from `start` to `end`."""
    spans = [found for run in runs if (found := _covered(run, now, oldest_first=oldest_first)) is not None]
    if history is not None and history.outcome == "succeeded":
        known = _time(pointer, now)
        begun = history.began - _delay(runs, now)
        if known is not None and begun > known:
            spans.append(Span(known, begun))
    until = max((one.end for one in spans), default=None)
    gaps = [_explained(gap, spans, runs, now) for gap in _holes(spans, start, end)]
    used = [
        run
        for run in runs
        if (found := _covered(run, now, oldest_first=oldest_first)) and found.start < end and found.end > start
    ]
    return Answer(_verdict(gaps, spans), gaps, used, until)


def _verdict(gaps: list[Span], spans: list[Span]) -> str:
    whys = {gap.why for gap in gaps}
    if not gaps:
        return "yes"
    if not spans or whys & {_UNKNOWN}:
        return "unknown"
    return "not yet" if whys == {_LATER} else "no"


_UNKNOWN = "no run is on record that asked for it"
_LATER = "no run has asked for it yet"
_HOLE = "the runs on record left it out: one of them failed, or the pointer was set"


def _explained(gap: Span, spans: list[Span], runs: list[Run], now: datetime) -> Span:
    if not spans or gap.start < min(one.start for one in spans):
        return Span(gap.start, gap.end, _UNKNOWN)
    return Span(gap.start, gap.end, _LATER if gap.start >= max(one.end for one in spans) else _HOLE)


def _covered(run: Run, now: datetime, *, oldest_first: bool) -> Span | None:
    """The time of which a run has all that its source had then; None where that cannot be said."""
    asked = run.since or run.before
    start = _EARLIEST if asked is None else _time(asked, now)
    if run.complete:
        begun = clock.parse_datestamp(run.last_began)
        end = begun if run.until is None else _time(run.until, now)
    else:
        # Oldest first, everything up to the pointer was there before the run broke off.
        end = _time(run.after, now) if oldest_first else None
    return None if start is None or end is None or end <= start else Span(start, end)


def _delay(runs: list[Run], now: datetime) -> timedelta:
    """How much older than itself the newest is that a run asks for."""
    for run in reversed(runs):
        until = _time(run.until, now)
        if until is not None:
            return max(clock.parse_datestamp(run.last_began) - until, timedelta(0))
    return timedelta(0)


def _time(pointer: str | None, now: datetime) -> datetime | None:
    return None if pointer is None else instant(pointer, now)


def _holes(spans: list[Span], start: datetime, end: datetime) -> list[Span]:
    """What of the time from `start` to `end` no span covers."""
    found, reached = [], start
    for one in sorted(spans, key=lambda one: one.start):
        if one.start > reached:
            found.append(Span(reached, min(one.start, end)))
        reached = max(reached, one.end)
        if reached >= end:
            break
    if reached < end:
        found.append(Span(reached, end))
    return [one for one in found if one.start < end]


def suggested_lookback(runs: list[Run], lookback: float) -> int | None:
    """Whole minutes, in seconds, that would have been enough for every late entry; None where what is set is enough."""
    lateness = max((run.lateness for run in runs), default=0.0)
    wanted = math.ceil(1.5 * lateness / 60) * 60
    return wanted if lateness and wanted > lookback else None


# --- in words ---

_WORDS = {
    "yes": ("ok", "Yes: everything that the source had of that time has been collected"),
    "not yet": ("warn", "Not yet: part of that time has not been asked for"),
    "no": ("fail", "No: part of that time has not been collected"),
    "unknown": ("warn", "That cannot be said: of part of that time no record is left"),
}


def in_words(name: str, start: datetime, end: datetime, answer: Answer, lookback: float) -> list[str]:
    """The answer for people, in lines."""
    status, words = _WORDS[answer.verdict]
    lines = [f"{name}, from {moment(start)} to {moment(end)}", f"{mark(status)} {words}."]
    lines += [f"     missing: {moment(gap.start)} to {moment(gap.end)}: {gap.why}" for gap in answer.gaps]
    runs = answer.runs
    count, ended = sum(run.runs for run in runs), sum(run.runs for run in runs if run.complete)
    if count:
        entries, pages, dropped = (sum(getattr(run, what) for run in runs) for what in ("entries", "pages", "dropped"))
        lines += [
            f"     As we know: {_counted(count, 'run')} that brought something asked for it; "
            f"{ended:,} of them went on until",
            "     the source said that there was no more.",
            f"     They brought {entries:,} new entries on {_counted(pages, 'page')}, "
            f"from {runs[0].first or 'none'} to {runs[-1].last or 'none'};",
            f"     {dropped:,} that came again were dropped.",
        ]
        limits = sorted({f"{name}={value}" for run in runs for name, value in run.limits})
        if limits:
            lines.append(f"     They asked with {', '.join(limits)}: what that leaves out was not asked for.")
    if answer.until is not None:
        lines.append(f"     The last answer covers all until {moment(answer.until)}.")
    quarantined = sum(run.quarantined for run in runs)
    if quarantined:
        lines.append(f"{mark('warn')} {quarantined:,} entries were set aside; they are in the output `quarantine`.")
    return [*lines, _about_late(runs, lookback)]


def _about_late(runs: list[Run], lookback: float) -> str:
    late = sum(run.late for run in runs)
    if not late:
        if lookback:
            return f"     None came late, and {span(lookback)} are asked for again each time (`lookback`)."
        return "     Entries that come later than newer ones cannot be seen: no `lookback` is set."
    suggested = suggested_lookback(runs, lookback)
    text = f"{late:,} entries came late, by {span(max(run.lateness for run in runs))} at most"
    if suggested is None:
        return f"     {text}; the `lookback` of {span(lookback)} is enough for that."
    return (
        f'{mark("warn")} {text}. Set "lookback": {suggested} in the document, so that such entries are asked for again.'
    )


def _document(name: str, start: datetime, end: datetime, answer: Answer, lookback: float) -> dict[str, Any]:
    runs = answer.runs
    return {
        "name": name,
        "from": moment(start),
        "to": moment(end),
        "answer": answer.verdict,
        "gaps": [{"from": moment(gap.start), "to": moment(gap.end), "why": gap.why} for gap in answer.gaps],
        "covered_until": moment(answer.until),
        "runs": sum(run.runs for run in runs),
        "runs_to_the_end": sum(run.runs for run in runs if run.complete),
        "pages": sum(run.pages for run in runs),
        "entries": sum(run.entries for run in runs),
        "dropped": sum(run.dropped for run in runs),
        "quarantined": sum(run.quarantined for run in runs),
        "late": sum(run.late for run in runs),
        "lateness": max((run.lateness for run in runs), default=0.0),
        "lookback": lookback,
        "suggested_lookback": suggested_lookback(runs, lookback),
    }


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
