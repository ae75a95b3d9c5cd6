"""The `groved` command."""

from typing import Any

import click

from grove.__about__ import __version__
from grove.cli import execute
from grove.helpers.signals import Mailbox


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "SIGHUP looks at the configuration again at once. SIGTERM and SIGINT end it within 10 seconds, with leases "
        "given back; a second one ends it at once. Exit codes: 0 it was asked to end; 1 it has to be started again; "
        "2 wrong usage; 78 a setting is wrong."
    ),
)
@click.version_option(__version__, "-V", "--version", prog_name="groved", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Log everything, and show where an unexpected error comes from.")
@click.pass_context
def daemon(ctx: click.Context, debug: bool) -> int:
    """Collect audit logs from APIs that cannot push them, each stream at its own frequency.

    Streams are described by documents, JSON or YAML, in the directory GROVE_CONFIG_LOCAL_FILE_PATH, which is looked
    at again every GROVE_CONFIG_REFRESH seconds; entries go to stdout unless GROVE_OUTPUT_HANDLER says otherwise;
    logs go to stderr.
    """
    debug = debug or bool((ctx.find_root().obj or {}).get("debug"))
    mailbox = Mailbox()
    with mailbox.signals(reload=True):
        # Only now: a request to stop is heard while this takes its time.
        from grove.entrypoints import local_daemon

        return local_daemon.entrypoint(debug, mailbox)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line, and end the process with the code that its help names."""
    return execute(daemon, "groved", arguments)
