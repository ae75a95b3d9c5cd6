"""`grove schema`: what a document may say, for editors that complete and check it."""

from __future__ import annotations

import click

from grove.cli._documents import complete_connectors
from grove.cli._terminal import print_json


@click.command(
    epilog="Save it beside your documents, and name it in them: `# yaml-language-server: $schema=FILE` as the first "
    'line of a YAML file, `"$schema": "FILE"` in JSON. `grove init` does.'
)
@click.option(
    "--connector", metavar="NAME", help="For documents of this one alone.", shell_complete=complete_connectors
)
def schema(connector: str | None) -> int:
    """Print the JSON Schema (draft-07) of configuration documents.

    It is made from the connectors and processors that are installed.
    """
    from grove.cli import _schemas
    from grove.exceptions import ConfigurationException

    try:
        print_json(_schemas.for_connector(connector) if connector else _schemas.for_all())
    except ConfigurationException as err:
        raise click.UsageError(str(err)) from err
    return 0
