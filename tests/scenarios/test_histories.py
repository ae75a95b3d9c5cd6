"""Histories that no one wrote: whatever happens to a stream, in any order, in the end all is there once."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from grove.http import client
from grove.http._breaker import Breaker
from grove.testing.practice import PracticeAPI
from grove.testing.practice_bodies import html, packed, recoded, with_bom, with_entries
from grove.testing.practice_faults import Fault, rate_limited, raw, redirect, reset, status, truncated, where

from .streams import Stream

# How late an entry may be, in seconds, which the lookback has to cover; and a first run that goes back far enough.
_LATEST = 500.0
_DECLARED = {"lookback": 600, "first_run": 10 * 365 * 86_400}

FAULTS: list[Fault] = [
    status(400),
    status(401),
    status(503),
    redirect("http://other.example/"),
    rate_limited(5),
    rate_limited(5_000, "date"),
    reset(),
    reset(100),
    truncated(100),
    truncated(100, "close"),
    raw(b"SSH-2.0\r\n"),
    html(),
    with_entries(None),
    with_entries(["text"]),
    with_bom(),
    recoded("utf-16"),
    packed(),
]


def api_for(chance: random.Random, stream: Stream) -> PracticeAPI:
    granularity = chance.choice(["day", "second", "millisecond"])
    return PracticeAPI(
        chance.randrange(30),
        order=chance.choice(["oldest_first", "newest_first"]),
        paging=chance.choice(["cursor", "next_link", "keyset"]),
        granularity=granularity,  # type: ignore[arg-type]
        # A filter by day that leaves out what lies on it never gives today's entries.
        filters="inclusive" if granularity == "day" else chance.choice(["inclusive", "exclusive"]),
        ties=chance.choice(["arrival", "shuffled"]),
        shape=chance.choice(["plain", "second", "unix"]),
        page_size=chance.choice([3, 5, 20]),
        spacing=chance.choice([0.2, 1.0, 30.0]),
        clock=stream.clock,
    )


def disturb(chance: random.Random, api: PracticeAPI) -> None:
    """Whatever may happen to one run."""

    def which() -> int:
        return chance.randrange(1, 8)

    happenings: list[Callable[[], object]] = [
        # One fault to an answer: the second one would not find in it what it is to change.
        lambda: api.fault(which(), where(b'"entries":', chance.choice(FAULTS))),
        lambda: api.fault(range(which(), 30), where(b'"entries":', chance.choice(FAULTS))),
        lambda: api.before(which(), lambda: api.offer(chance.randrange(9), tied=chance.random() < 0.5)),
        lambda: api.before(which(), lambda: arrive_late(chance, api)),
        lambda: api.before(which(), lambda: api.expire_cursors(chance.choice([400, 410]))),
        lambda: api.short(which(), 1),
        lambda: api.overlap(which(), chance.randrange(1, 6)),
        lambda: api.loop(chance.randrange(3, 6), chance.randrange(1, 3)),
        lambda: setattr(api, "page_size", chance.choice([2, 3, 5, 20])),
    ]
    if api.paging != "keyset":
        happenings += [lambda: api.short(which(), 0), lambda: api.repeat(which())]
    for happening in chance.choices(happenings, k=chance.randrange(4)):
        happening()


def arrive_late(chance: random.Random, api: PracticeAPI) -> None:
    # What becomes of late entries while a collection stays unfinished for longer than the lookback: test_order.py.
    if api.order == "oldest_first" or api.spacing <= 1:
        api.offer(chance.randrange(3), late=chance.uniform(0, _LATEST))


def live(stream: Stream, seed: int) -> None:
    chance = random.Random(seed)
    with api_for(chance, stream) as api:
        for _ in range(6):
            disturb(chance, api)
            stream.run(api, **_DECLARED)
            api.heal()
            api.offer(chance.randrange(8), tied=chance.random() < 0.3)
            arrive_late(chance, api)
        _forget_hosts()
        run = stream.run(api, **_DECLARED)
        assert run.outcome == "succeeded", f"seed {seed}: {run.failure}"
        report = stream.compare(api)
        assert report.exact, f"seed {seed}: {report}"


def _forget_hosts() -> None:
    """Time passes, after which one that was down is asked again."""
    client._breaker = Breaker()


@pytest.mark.parametrize("seed", range(60))
def test_histories(stream: Stream, seed: int) -> None:
    live(stream, seed)


@pytest.mark.long
@pytest.mark.parametrize("block", range(60))
def test_many_histories(make_stream: Callable[[], Stream], block: int) -> None:
    for seed in range(1_000 + 50 * block, 1_050 + 50 * block):
        stream = make_stream()
        live(stream, seed)
        stream.close()
