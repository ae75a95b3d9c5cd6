"""`grove run`: collect every due stream once."""

import click

from grove.entrypoints import local_process


@click.command()
@click.pass_context
def run(ctx: click.Context) -> int:
    """Collect every stream that is due, once."""
    return local_process.entrypoint(debug=bool((ctx.find_root().obj or {}).get("debug")))
