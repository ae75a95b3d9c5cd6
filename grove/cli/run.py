"""`grove run`: collect streams once; what is due, or what is named, for good or as a rehearsal."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from grove.cli._documents import choose, complete_documents
from grove.cli._terminal import Progress, json_option, log_for_people, print_json
from grove.helpers.signals import Mailbox

if TYPE_CHECKING:
    from grove.connectors import BaseConnector
    from grove.oneshot import Report
    from grove.runtime import Settings
    from grove.workers import Attempt

    Watch = Callable[[Sequence[Attempt], Report], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be collected: the streams called `names` or all of them, `everything` also where it is not due."""

    names: Sequence[str] = ()
    everything: bool = False
    dry_run: bool = False
    limit: int | None = None


@click.command(
    epilog=(
        "On a terminal, progress and a summary go to stderr, and warnings and errors are lines to read. Elsewhere logs "
        "are JSON on stderr, and nothing else is said. Exit codes are those of `grove`."
    )
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_documents)
@click.option("--all", "everything", is_flag=True, help="Also streams that are not due yet.")
@click.option("--dry-run", is_flag=True, help="Deliver nothing and move nothing; say what would have come.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop a stream after the page with which it has N entries; the next run goes on from there.",
)
@json_option
@click.pass_context
def run(
    ctx: click.Context, names: tuple[str, ...], everything: bool, dry_run: bool, limit: int | None, as_json: bool
) -> int:
    """Collect streams once.

    Without a NAME, every stream that is due is collected, as by `grove` alone. A stream that is named (the `name` of
    its document) is collected whether it is due or not.
    """
    debug = bool((ctx.find_root().obj or {}).get("debug"))
    wanted = Wanted(names, everything or bool(names), dry_run, limit)
    mailbox = Mailbox()
    with mailbox.signals():
        # Only now: a request to stop is heard while this takes its time.
        from grove.entrypoints import base, local_process

        context = local_process.runtime_information()
        work = functools.partial(_run, wanted, context, mailbox, as_json=as_json, debug=debug)
        return base.guarded(work, context, debug, passing=(click.UsageError,))


def _run(wanted: Wanted, context: dict[str, str], mailbox: Mailbox, *, as_json: bool, debug: bool) -> int:
    """Collect what is wanted, say how it went, and return the exit code. Errors as `collect`."""
    from grove.cli._report import show, watching
    from grove.runtime import Settings

    settings = Settings.read()
    to_stdout = "local_stdout" in settings.output and not wanted.dry_run
    if as_json and to_stdout:
        raise click.UsageError(
            "With --json, stdout is for the report, and GROVE_OUTPUT_HANDLER sends entries there. Use another output, "
            "or --dry-run."
        )
    progress = Progress(beside=to_stdout)
    if sys.stderr.isatty() and not debug:
        log_for_people(progress)
    try:
        if settings.processes > 1:
            report, streams = _collect_together(wanted, settings, mailbox, progress, debug)
        else:
            watch = functools.partial(watching, progress) if progress.active else None
            report, streams = collect(wanted, settings, context, mailbox, watch)
    finally:
        progress.clear()
    if as_json:
        print_json(
            {
                "dry_run": wanted.dry_run,
                "exit_code": report.exit_code,
                "problems": report.problems,
                "streams": streams,
            }
        )
    elif wanted.dry_run or sys.stderr.isatty():
        out = sys.stdout if wanted.dry_run else sys.stderr
        if streams:
            show(streams, out)
        if report.problems or not streams:
            out.write("Next: grove validate\n" if report.problems else "Next: grove init\n")
    return report.exit_code


def collect(
    wanted: Wanted,
    settings: Settings,
    context: dict[str, str],
    mailbox: Mailbox,
    watching: Callable[[int], Watch] | None = None,
) -> tuple[Report, list[dict[str, Any]]]:
    """Collect this process's share of what is wanted: how it went, and the facts of each stream.

    `watching`, called with the number of streams, makes what looks on meanwhile. Errors as `load_documents()`,
    `choose()` and `Collector.run()`.
    """
    from grove.cli._rehearsal import rehearsal
    from grove.cli._report import facts
    from grove.oneshot import Collector
    from grove.runtime import is_due, load_documents

    documents = load_documents(settings)
    chosen = choose(documents, wanted.names)
    handlers, nowhere = rehearsal(settings) if wanted.dry_run else (None, None)

    def ready(connector: BaseConnector) -> None:
        connector.limit = wanted.limit

    collector = Collector(
        context,
        settings,
        mailbox,
        handlers=handlers,
        due=(lambda connector: True) if wanted.everything else is_due,
        ready=ready,
        watch=None if watching is None else watching(len(chosen)),
    )
    report = collector.run(documents, chosen)
    return report, [facts(attempt, wanted.limit, nowhere) for attempt in report.attempts]


def _collect_together(
    wanted: Wanted, settings: Settings, mailbox: Mailbox, progress: Progress, debug: bool
) -> tuple[Report, list[dict[str, Any]]]:
    """As `collect`, in several processes."""
    from grove.cli._report import merged_course, show_course
    from grove.processes import supervisor

    def watch(courses: Sequence[dict[str, Any]]) -> None:
        show_course(progress, *merged_course(courses))

    try:
        found = supervisor.collect(settings, debug, mailbox, asdict(wanted), watch if progress.active else None)
    except supervisor.UsageError as err:
        raise click.UsageError(str(err)) from err
    return found.report, found.streams
