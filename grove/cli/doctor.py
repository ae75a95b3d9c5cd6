"""`grove doctor`: looks at this machine and at the set-up, and says what to do about what is wrong."""

import click

from grove.cli._terminal import findings, json_option, print_json, quietly


@click.command(epilog="Exit codes: 0 nothing fails; 1 something does.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> int:
    """Look at this machine and at the set-up, and say what to do about what is wrong.

    No source is asked, no stream is moved and nothing is delivered; a file is written to the output's directory, and
    removed again. Secrets are fetched.
    """
    from grove.cli._diagnosis import Examination

    quietly(ctx)
    found = Examination().findings()
    failed = any(finding.status == "fail" for finding in found)
    if as_json:
        print_json({"ok": not failed, "checks": [finding.facts() for finding in found]})
    else:
        click.echo("\n".join(findings(found)))
    return 1 if failed else 0
