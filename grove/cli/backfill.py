"""`grove backfill`: collect a span of a stream's past, beside what is live."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from grove.cli._documents import choose, complete_documents
from grove.cli._terminal import Progress, json_option, log_for_people, print_json, table
from grove.helpers.signals import Mailbox

if TYPE_CHECKING:
    from grove.cli._backfills import Backfill
    from grove.connectors import BaseConnector

_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d.*")


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """A moment (see `grove.connectors.rest.times`) from ISO 8601, in UTC where there is no offset."""
    from grove.connectors.rest import times

    if value is None:
        return None
    moment = times.moment_of(value) if _WRITTEN.fullmatch(value) else None
    if moment is None:
        raise click.BadParameter(f"{value!r} is no time. Write it like 2026-11-01 or 2026-11-01T12:00:00Z.", ctx, param)
    return moment


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the command line asks for."""

    name: str
    since: int
    until: int | None
    as_json: bool
    debug: bool


@click.command(
    epilog=(
        "Killed or stopped, it goes on where it was when the same command is given again. Rate limits are shared with "
        "the live stream. Exit codes are those of `grove`."
    )
)
@click.argument("name", metavar="NAME", required=False, shell_complete=complete_documents)
@click.option(
    "--since", callback=_moment, metavar="T", help="The first moment to collect: an ISO 8601 date or time, UTC."
)
@click.option("--until", callback=_moment, metavar="T", help="The moment before which to end; now, where not said.")
@click.option("--list", "listing", is_flag=True, help="List the backfills that were begun.")
@click.option("--forget", is_flag=True, help="Forget this one, so that it can be collected once more.")
@json_option
@click.pass_context
def backfill(
    ctx: click.Context,
    name: str | None,
    since: int | None,
    until: int | None,
    listing: bool,
    forget: bool,
    as_json: bool,
) -> int:
    """Collect a span of a stream's past into the output, with the document's credentials and processors.

    It has a pointer of its own: the live one is never moved, and both may run at once. What the live stream has
    delivered of that span comes again.
    """
    debug = bool((ctx.find_root().obj or {}).get("debug"))
    mailbox = Mailbox()
    with mailbox.signals():
        # Only now: a request to stop is heard while this takes its time.
        from grove.entrypoints import base, local_process

        context = local_process.runtime_information()

        def work() -> int:
            if listing:
                return _list(name, as_json)
            if name is None or since is None:
                raise click.UsageError("NAME and --since are needed: which stream, and from when on.")
            opened = _Opened(_Wanted(name, since, until, as_json, debug), context)
            return opened.forget() if forget else opened.collect(mailbox)

        return base.guarded(work, context, debug, passing=(click.UsageError,))


def _list(name: str | None, as_json: bool) -> int:
    from grove.cli._backfills import listed
    from grove.runtime import Settings, open_cache

    found = [one.facts() for one in listed(open_cache(Settings.read())) if name in (None, one.name)]
    if as_json:
        print_json(found)
    elif found:
        rows = [[one["name"], one["since"], one["until"], one["state"]] for one in found]
        click.echo("\n".join(table(["stream", "since", "until", "state"], rows)))
    else:
        click.echo("No backfill was ever begun.")
    return 0


class _Opened:
    """A backfill, and what it works with. Errors as `load_documents()` and `Handlers`; click.UsageError."""

    def __init__(self, wanted: _Wanted, context: dict[str, str]) -> None:
        from grove.cli._backfills import find
        from grove.runtime import Handlers, Settings, load_documents

        self._wanted = wanted
        self._context = context
        self._settings = Settings.read()
        self._to_stdout = "local_stdout" in self._settings.output
        if wanted.as_json and self._to_stdout:
            raise click.UsageError(
                "With --json, stdout is for the report, and GROVE_OUTPUT_HANDLER sends entries there."
            )
        self._progress = Progress(beside=self._to_stdout)
        if sys.stderr.isatty() and not wanted.debug:
            log_for_people(self._progress)
        # What an older version kept under other keys is the live stream's: as where other documents share them.
        self._config = choose(load_documents(self._settings), [wanted.name])[0].model_copy()
        self._config._has_namesakes = True
        self._handlers = Handlers(self._settings)
        asked = self._asked()
        self._known = find(self._handlers.cache, asked)
        self._backfill = self._known or asked

    def _asked(self) -> Backfill:
        """What is asked for. click.UsageError where that cannot be had."""
        from grove.cli._backfills import KIND, Backfill
        from grove.connectors.rest import RestConnector, times
        from grove.helpers import clock
        from grove.runtime import prepare

        wanted, config = self._wanted, self._config
        connector = prepare(config, self._context, self._handlers, lambda connector: True)
        refusal = "how its source is asked is not declared, but a matter of the connector's own"
        if isinstance(connector, RestConnector):
            refusal = connector.no_past()
        if connector is None or refusal:
            raise click.UsageError(f"{config.name!r} ({config.connector}) cannot collect a past time: {refusal}.")
        now = times.nanoseconds(clock.now())
        if wanted.until is not None and wanted.until > now:
            raise click.UsageError("--until lies in the future.")
        until = now if wanted.until is None else wanted.until
        if until <= wanted.since:
            raise click.UsageError("--since has to lie before --until, and before now.")
        reference = connector.cache_key(KIND).removeprefix(f"{KIND}.")
        open_ended = wanted.until is None
        return Backfill(config.name, reference, connector.operation, wanted.since, until, open_ended)

    def forget(self) -> int:
        """Forget how far it is."""
        from grove.cli._backfills import forget

        if self._known is None:
            raise click.UsageError("No such backfill was ever begun. Those that were: grove backfill --list")
        forget(self._handlers.cache, self._known, self._settings.lock_duration)
        click.echo("It is forgotten. What it has delivered stays where it is.")
        return 0

    def collect(self, mailbox: Mailbox) -> int:
        """Collect what is not delivered yet, and say what that was."""
        from grove.cli._backfills import begin, finish
        from grove.cli._report import facts, watching
        from grove.oneshot import Collector
        from grove.runtime import Documents

        if self._backfill.finished is not None:
            return self._tell(None, 0)
        cache = self._handlers.cache
        if self._known is None:
            self._backfill = begin(cache, self._backfill)
        collector = Collector(
            self._context,
            self._settings,
            mailbox,
            handlers=self._handlers,
            due=lambda connector: True,
            ready=self._ready,
            watch=watching(self._progress, 1) if self._progress.active else None,
        )
        try:
            report = collector.run(Documents([self._config], []))
        finally:
            self._progress.clear()
        (attempt,) = report.attempts
        if attempt.outcome == "succeeded":
            self._backfill = finish(cache, self._backfill)
        return self._tell(facts(attempt), report.exit_code)

    def _ready(self, connector: BaseConnector) -> None:
        from grove.cli._backfills import namespace
        from grove.connectors.rest import RestConnector

        assert isinstance(connector, RestConnector), "others are refused before they run"
        connector.past = (self._backfill.since, self._backfill.until)
        connector.cache_key = namespace(connector.cache_key, self._backfill)  # type: ignore[method-assign]

    def _tell(self, stream: dict[str, Any] | None, code: int) -> int:
        """Say how it stands, with `stream` as `facts` made it where it ran; `code` itself."""
        backfill = self._backfill.facts()
        if self._wanted.as_json:
            print_json({**backfill, "exit_code": code, "stream": stream})
            return code
        span = f"{backfill['name']} from {backfill['since']} to {backfill['until']}"
        if stream is None:
            text = f"{span} was delivered by {backfill['finished']}. Once more: add --forget, then repeat it without."
        elif backfill["finished"] is not None:
            text = f"{span}: {stream['entries']:,} entries delivered in this run, and that is all."
        else:
            text = (
                f"{span}: {stream['entries']:,} entries delivered; {stream['outcome']}. To go on: {backfill['command']}"
            )
        click.echo(text, err=self._to_stdout)
        return code
