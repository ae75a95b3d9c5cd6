"""`grove verify`: prove that an archive holds what was delivered, and nothing else."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import click

from grove.cli._session import open_cache
from grove.cli._terminal import json_option, mark, print_json, span
from grove.exceptions import ConfigurationException, GroveException, NotFoundException
from grove.runtime import Settings
from grove.verify import Report, open_archive
from grove.verify import verify as compare

_SHOWN = 50
"""Findings that are written out for people; programs get all of them."""


@click.command(
    epilog="Exit codes: 0 the archive is whole; 1 it is not; 2 there is nothing to verify; 78 no such cache."
)
@click.argument("place", metavar="DIR|s3://BUCKET[/PREFIX]")
@click.option(
    "--cache", "use_cache", is_flag=True, help="Prove the ends of the chains too, with the cache of this host."
)
@click.option(
    "--manifests",
    metavar="DIR|s3://BUCKET[/PREFIX]",
    help="Where the manifests are, if the objects were taken elsewhere since.",
)
@json_option
def verify(place: str, use_cache: bool, manifests: str | None, as_json: bool) -> int:
    """Prove that nothing was removed from an archive, altered, added or reordered.

    DIR is the directory that GROVE_OUTPUT_LOCAL_FILE_PATH names, or a copy of it: every object below it is compared
    with the manifests that the outputs keep where their setting MANIFEST is true. A bucket is reached with the
    settings of the output aws_s3.

    Without --cache one thing cannot be seen: that the newest objects of a stream were removed together with the end of
    their manifest, or that someone has written a whole manifest anew.
    """
    started = time.monotonic()
    try:
        archive = open_archive(place)
        lines = open_archive(manifests) if manifests else None
    except ConfigurationException as err:
        raise click.UsageError(str(err)) from err
    try:
        cache = open_cache(Settings.read()) if use_cache else None
    except ConfigurationException as err:
        click.echo(f"grove verify: {err}", err=True)
        return 78
    try:
        report = compare(archive, cache, lines)
    except NotFoundException as err:
        raise click.UsageError(str(err)) from err
    except GroveException as err:
        click.echo(f"grove verify: {err}", err=True)
        return 1
    if as_json:
        print_json(_document(report, with_cache=use_cache))
    else:
        _show(report, with_cache=use_cache, seconds=time.monotonic() - started)
    return 1 if report.findings else 0


def _document(report: Report, *, with_cache: bool) -> dict[str, Any]:
    document = asdict(report)
    document["whole"] = not report.findings
    document["end_proven"] = with_cache and not report.open_ends
    return document


def _show(report: Report, *, with_cache: bool, seconds: float) -> None:
    size = f"{report.size / 10**6:,.1f} MB"
    click.echo(
        f"{report.archive}: {report.objects:,} objects ({size}) against {report.lines:,} lines of {report.chains:,} "
        f"manifests in {span(seconds)}"
    )
    for finding in report.findings[:_SHOWN]:
        click.echo(f"{mark('fail')} {finding.what}: {f'{finding.object}: ' if finding.object else ''}{finding.message}")
    if len(report.findings) > _SHOWN:
        click.echo(f"     and {len(report.findings) - _SHOWN} more; --json has all of them")
    if report.waiting:
        click.echo(
            f"{mark('warn')} {len(report.waiting)} objects are committed and not visible yet; their run goes on."
        )
    if report.uncovered:
        click.echo(
            f"{mark('warn')} {len(report.uncovered)} objects are from a time that had no manifest; nothing is known of "
            "them. --json names them."
        )
    if not report.findings:
        click.echo(f"{mark('ok')} Nothing was removed, altered, added or reordered.")
    if with_cache:
        if not report.findings:
            click.echo(f"{mark('ok')} The manifests end where the cache says that they do.")
    else:
        click.echo(
            f"{mark('warn')} Whether the newest objects were removed together with the end of their manifest cannot be "
            "seen without the cache: --cache proves that too."
        )
