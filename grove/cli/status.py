"""`grove status`: how every stream stands, from the cache, whether a daemon runs or not."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from grove.cli._documents import choose, complete_documents
from grove.cli._session import open_cache, session
from grove.cli._terminal import coloured, json_option, moment, print_json, span, styled, table
from grove.exceptions import GroveException
from grove.health.facts import Facts, KeyOf, key_of, read
from grove.health.standing import BAD, STATES, Standing, judge
from grove.helpers import clock
from grove.models import ConnectorConfig
from grove.oneshot import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK
from grove.runtime import Settings, load_documents

_COLOURS = {
    "failing": "red",
    "stale": "red",
    "overdue": "yellow",
    "running": "cyan",
    "new": "bright_black",
    "ok": "green",
}

_WIDEST = 200
"""Characters of a problem that a line shows."""


@click.command(
    epilog=(
        "With --check: 0 all is well; 1 a stream is failing, stale (short of what its document expects) or overdue; "
        "78 a document or a setting is wrong, or there is nothing to collect."
    )
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_documents)
@click.option("--check", is_flag=True, help="For monitors: print only what is wrong, and exit by it.")
@json_option
@click.pass_context
def status(ctx: click.Context, names: tuple[str, ...], check: bool, as_json: bool) -> int:
    """Show how the streams stand: the last run, the newest entry, and what is wrong.

    All of it comes from the cache, so it does not matter who collects them, or whether anybody does now.
    """
    with session(ctx):
        settings = Settings.read()
        documents = load_documents(settings)
        chosen = choose(documents, names)
        standings = _standings(chosen, settings)
        problems = [str(problem) for problem in documents.problems]
    code = _exit_code(standings, problems) if check else EXIT_OK
    if as_json:
        print_json(
            {
                "time": moment(clock.now()),
                "exit_code": _exit_code(standings, problems),
                "document_problems": problems,
                "streams": [standing.as_json() for standing in standings],
            }
        )
    elif check:
        _show_check(standings, problems)
    else:
        _show(standings, problems)
    return code


def _standings(configs: Sequence[ConnectorConfig], settings: Settings) -> list[Standing]:
    """How the streams of `configs` stand, the worst first."""
    cache = open_cache(settings)
    places: list[KeyOf] = []
    damaged: dict[int, Facts] = {}
    for index, config in enumerate(configs):
        try:
            places.append(key_of(config, cache))
        except Exception as err:
            # A connector with keys of its own, which cannot be made.
            damaged[index] = Facts(damage=str(err) if isinstance(err, GroveException) else repr(err))
    found = read(cache, places)
    facts = [damaged[index] if index in damaged else next(found) for index in range(len(configs))]
    now = clock.now()
    pairs = zip(configs, facts, strict=True)
    standings = [judge(config, fact, now, next_run=_due(config, fact)) for config, fact in pairs]
    order = list(STATES)
    return sorted(standings, key=lambda standing: (order.index(standing.state), standing.config.name))


def _due(config: ConnectorConfig, facts: Facts) -> datetime | None:
    """When the stream is due by its frequency; a daemon may know better."""
    return None if facts.last is None else facts.last + timedelta(seconds=config.frequency)


def _exit_code(standings: Sequence[Standing], problems: Sequence[str]) -> int:
    if problems or not standings:
        return EXIT_CONFIGURATION
    return EXIT_FAILED if any(standing.state in BAD for standing in standings) else EXIT_OK


# --- for people ---


def _show(standings: Sequence[Standing], problems: Sequence[str]) -> None:
    if not standings:
        click.echo("There is nothing to collect: no enabled configuration document was found.")
    else:
        lines = table(
            ["stream", "state", "last run", "new", "last 24 h", "newest entry", "next run"],
            [_row(standing) for standing in standings],
            right=(3, 4),
        )
        click.echo(styled(lines[0], bold=True))
        for standing, line in zip(standings, lines[1:], strict=True):
            width = len(standing.config.name)
            shown = styled(standing.state, fg=_COLOURS[standing.state])
            click.echo(line[:width] + line[width:].replace(standing.state, shown, 1))
    _show_problems(standings, problems, sys.stdout)
    if standings:
        counts = Counter(standing.state for standing in standings)
        words = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
        click.echo(f"\n{len(standings):,} {'stream' if len(standings) == 1 else 'streams'}: {words}.")


def _row(standing: Standing) -> list[str]:
    history, now = standing.facts.history, standing.now
    began = history.began if history is not None else standing.facts.last
    return [
        standing.config.name,
        standing.state,
        "never" if began is None else f"{span(max(0.0, (now - began).total_seconds()))} ago",
        "" if history is None else f"{history.counts.entries:,}",
        "" if history is None else f"{standing.entries_last_day:,}",
        "" if standing.freshness is None else f"{span(standing.freshness)} ago",
        _next(standing),
    ]


def _next(standing: Standing) -> str:
    if standing.state == "running":
        return "now"
    if standing.next_run is None:
        return "due"
    seconds = (standing.next_run - standing.now).total_seconds()
    return f"in {span(seconds)}" if seconds > 0 else "due"


def _show_problems(standings: Sequence[Standing], problems: Sequence[str], out: Any) -> None:
    bad = [standing for standing in standings if standing.problems]
    if bad or problems:
        click.echo("", file=out)
    for standing in bad:
        name = styled(standing.config.name, bold=True) if coloured(out) else standing.config.name
        click.echo(f"{name}: {_shortened('; '.join(standing.problems))}", file=out)
    for problem in problems:
        click.echo(_shortened(problem), file=out)


def _show_check(standings: Sequence[Standing], problems: Sequence[str]) -> None:
    for standing in standings:
        if standing.state in BAD:
            click.echo(f"{standing.state}: {standing.config.name}: {'; '.join(standing.problems)}")
    for problem in problems:
        click.echo(f"document: {problem}")
    if not standings:
        click.echo("There is nothing to collect: no enabled configuration document was found.")
    elif _exit_code(standings, problems) == EXIT_OK:
        click.echo(f"ok: {len(standings):,} {'stream' if len(standings) == 1 else 'streams'}")


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}..."
