"""`grove practice`: the practice API in a terminal, for a first configuration to be pointed at."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, get_args

import click

from grove.helpers.signals import Mailbox
from grove.testing.practice import Granularity, Order, Paging, PracticeAPI
from grove.testing.practice_bodies import error_body, html
from grove.testing.practice_documents import http_json
from grove.testing.practice_faults import Fault, rate_limited, reset, slow, sometimes, stalled, status, truncated

# How many of the answers, pages or entries are odd, where any are to be.
_SHARE = 0.1
# Seconds between two arrivals, where there are any, and how late an entry may be.
_TICK = 0.2
_LATEST = 60.0

_ANSWERS: dict[str, Fault] = {
    "unavailable": status(503),
    "rate-limit": rate_limited(2),
    "reset": reset(),
    "truncated": truncated(100),
    "stalled": stalled(100),
    "slow": slow(1.0),
    "html": html(),
    "error-body": error_body(b'{"error":"internal_error"}'),
}
_OTHERS = {
    "overlap": "pages begin with the end of the one before",
    "empty": "pages are empty although there are more",
    "tied": "new entries have the time of the newest",
    "late": f"new entries are up to {_LATEST:g} seconds late",
}


@click.command(
    epilog="Faults of answers: " + ", ".join(_ANSWERS) + ". " + "; ".join(f"{n}: {t}" for n, t in _OTHERS.items()) + "."
)
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65_535), help="Where; 0: any free one.")
@click.option("--entries", default=1_000, show_default=True, type=click.IntRange(0, 1_000_000), help="Already there.")
@click.option("--rate", default=1.0, show_default=True, type=click.FloatRange(0, 1_000), help="New ones each second.")
@click.option("--order", default="oldest_first", show_default=True, type=click.Choice(get_args(Order)))
@click.option("--paging", default="cursor", show_default=True, type=click.Choice(get_args(Paging)))
@click.option("--page-size", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Entries to a page.")
@click.option(
    "--granularity",
    default="millisecond",
    show_default=True,
    type=click.Choice(get_args(Granularity)),
    help="What the filters `since` and `until` are rounded down to.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME",
    type=click.Choice([*_ANSWERS, *_OTHERS]),
    help="What is the matter with one in ten; may be given several times.",
)
@click.option("--seed", type=int, help="Makes the same choices as another time.  [default: printed]")
def practice(
    port: int,
    entries: int,
    rate: float,
    order: Order,
    paging: Paging,
    page_size: int,
    granularity: Granularity,
    faults: tuple[str, ...],
    seed: int | None,
) -> int:
    """Serve a log API to try a configuration on.

    Some entries are there already, and more arrive. The document with which Grove collects them goes to stdout,
    everything else to stderr:

    \b
        mkdir conf; grove practice > conf/practice.json &
        GROVE_CONFIG_LOCAL_FILE_PATH=conf grove

    SIGINT and SIGTERM end it, with a summary of what was offered.
    """
    if "empty" in faults and paging not in ("cursor", "next_link"):
        raise click.UsageError(f"With --paging {paging}, an empty page says that there are no more.")
    seed = random.randrange(2**32) if seed is None else seed
    chance = random.Random(seed)
    spacing = 1 / rate if rate else 1.0
    api = PracticeAPI(
        entries,
        order=order,
        paging=paging,
        page_size=page_size,
        granularity=granularity,
        beginning=time.time() - entries * spacing,
        spacing=spacing,
        port=port,
    )
    _disturb(api, faults, chance)
    mailbox = Mailbox()
    with mailbox.signals(), ExitStack() as stack:
        try:
            stack.enter_context(api)
        except OSError as err:
            raise click.ClickException(
                f"Port {port} cannot be used: {err.strerror}. Name another one with --port, or 0 for any free one."
            ) from err
        document = http_json(api, **({"lookback": _LATEST} if "late" in faults else {}))
        click.echo(json.dumps(document, indent=2))
        _introduce(api, rate, faults, seed)
        _arrivals(api, mailbox, rate, faults, chance)
    _sum_up(api)
    return 0


def _disturb(api: PracticeAPI, faults: tuple[str, ...], chance: random.Random) -> None:
    """Let one answer or page in ten be odd, in one of the ways that were named."""
    answers = [_ANSWERS[name] for name in faults if name in _ANSWERS]
    if answers:
        api.fault(None, sometimes(_SHARE, chance, *answers))

    def oddity() -> None:
        # At one request, what the next page will be like.
        if "overlap" in faults and chance.random() < _SHARE:
            api.overlap(1, 3)
        if "empty" in faults and chance.random() < _SHARE:
            api.short(1, 0)

    api.before(None, oddity)


def _introduce(api: PracticeAPI, rate: float, faults: tuple[str, ...], seed: int) -> None:
    _say(f"{len(api.offered):,} entries at {api.url}, and {rate:g} more each second. See some:")
    _say(f"  curl -H 'Authorization: Bearer {api.token}' '{api.url}?limit=2'")
    _say("The document that collects them is on stdout. What it has to say of an API:")
    facts = {
        "token": f"{api.token}, in the header Authorization",
        "filter": f"since, inclusive, rounded down to the {api.granularity}",
        "entries": "a list at `entries`",
        "paging": f"{api.paging}, {api.page_size} to a page",
        "pointer path": f"{api.shape.path}, the time of an entry",
        "order": api.order,
    }
    for name, fact in facts.items():
        _say(f"  {name:<14}{fact}")
    if faults:
        _say(f"One in ten goes wrong: {', '.join(faults)} (--seed {seed}).")
    _say("Ctrl-C ends it.")


def _arrivals(api: PracticeAPI, mailbox: Mailbox, rate: float, faults: tuple[str, ...], chance: random.Random) -> None:
    """Offer what arrives, until the process is asked to end."""
    kinds: list[Callable[[], list[Any]]] = []
    kinds += [lambda: api.offer(1, tied=True)] if "tied" in faults else []
    kinds += [lambda: api.offer(1, late=chance.uniform(1, _LATEST))] if "late" in faults else []
    started, arrived = time.monotonic(), 0
    while mailbox.receive(_TICK if rate else 3_600) is None:
        due = int((time.monotonic() - started) * rate) - arrived
        for _ in range(due):
            if kinds and chance.random() < _SHARE:
                chance.choice(kinds)()
            else:
                api.offer(1)
        arrived += due


def _sum_up(api: PracticeAPI) -> None:
    times = sorted(str(entry[api.shape.pointer]) for entry in api.offered)
    span = f", from {times[0]} to {times[-1]}" if times else ""
    _say(f"Offered {len(times):,} entries{span}; sent {api.served:,} in whole answers.")
    statuses = Counter(request.status for request in api.requests)
    answers = ", ".join(
        f"{count:,} with {f'status {code}' if code else 'no answer'}" for code, count in sorted(statuses.items())
    )
    _say(f"Answered requests: {answers or 'none'}.")


def _say(text: str) -> None:
    """What is for people goes to stderr, so that stdout holds the document alone."""
    click.echo(text, err=True)
