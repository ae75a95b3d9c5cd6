"""`grove run`: collect every due stream once."""

import click

from grove.helpers.signals import Mailbox


@click.command()
@click.pass_context
def run(ctx: click.Context) -> int:
    """Collect every stream that is due, once."""
    debug = bool((ctx.find_root().obj or {}).get("debug"))
    mailbox = Mailbox()
    with mailbox.signals():
        # Only now: a request to stop is heard while this takes its time.
        from grove.entrypoints import local_process

        return local_process.entrypoint(debug, mailbox)
