"""R22: time zones, daylight saving and a wrong clock change neither pointers nor object names nor what is collected."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest

from grove import _core
from grove.helpers import clock
from grove.lookback import earlier_pointer
from grove.outputs import ObjectName

from .world import Setting, World

ZONES = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
]
DATES = [
    datetime(2025, 3, 30, 0, 59, 59, tzinfo=UTC),
    datetime(2025, 10, 26, 0, 59, 59, tzinfo=UTC),
    datetime(2025, 3, 9, 6, 59, 59, tzinfo=UTC),
    datetime(2025, 11, 2, 5, 59, 59, tzinfo=UTC),
]
DAY = 86400.0


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    if not Path("/usr/share/zoneinfo", request.param).exists():
        pytest.skip(f"NOT TESTED: this machine knows nothing of {request.param}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def _written(moment: datetime) -> dict[str, list[str]]:
    """The moment, and two an hour and a day later, in every form in which a source may write it."""
    moments = [moment, moment + timedelta(hours=1), moment + timedelta(days=1)]
    return {
        "Z": [f"{each:%Y-%m-%dT%H:%M:%S}.25Z" for each in moments],
        "no zone": [f"{each:%Y-%m-%d %H:%M:%S}" for each in moments],
        "offset": [f"{each + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}+02:00" for each in moments],
        "mail": [f"{each:%a, %d %b %Y %H:%M:%S} +0000" for each in moments],
        "date": [f"{each + timedelta(days=number):%Y-%m-%d}" for number, each in enumerate(moments)],
        "integer": [str(int(each.timestamp())) for each in moments],
    }


@pytest.mark.parametrize("moment", DATES, ids=str)
def test_pointers(zone: str, moment: datetime) -> None:
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))
    steps = (0, 3600, 86400)
    for form, texts in _written(moment).items():
        ranks = [_core.rank(text) for text in texts]
        if form == "integer":
            assert ranks == [(1, seconds + step) for step in steps]
        elif form == "date":
            assert ranks == [(3, seconds // 86400 + day) for day in (0, 1, 3)]
        else:
            fraction = 250_000_000 if form == "Z" else 0
            assert ranks == [(2, (seconds + step) * 10**9 + fraction) for step in steps], form
        found = _core.order(texts)
        assert found is not None
        assert (found.low, found.high, found.ascending) == (texts[0], texts[2], True)
        span = DAY if form == "date" else 3600.0
        earlier = _core.rank(earlier_pointer(texts[1], span))
        assert earlier is not None
        assert earlier == ((3, ranks[1][1] - 1) if form == "date" else ranks[0]), form


@pytest.mark.parametrize("moment", DATES, ids=str)
def test_names_and_stamps(zone: str, moment: datetime) -> None:
    name = ObjectName(
        descriptor="logs",
        connector="made_up",
        identity="corp",
        operation="all",
        part=0,
        moment=moment,
        tag="0" * 16,
        kind=".json.gz",
        attempt="a-b-1-1",
    )
    stamp = f"{moment.year}-{moment.month:02}-{moment.day:02}T{moment.hour:02}:59:59Z"
    assert PurePosixPath(name.path()) == PurePosixPath(
        f"logs/made_up/corp/2025/{moment.month:02}/{moment.day:02}/all-{stamp}.0-{'0' * 16}.json.gz"
    )
    assert clock.datestamp(moment) == stamp
    assert clock.parse_datestamp(stamp) == moment


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
def test_a_stream_over_the_change(zone: str, newest_first: bool, shm: Path) -> None:
    """The whole of it: what is collected, the pointer, and where the objects lie, as if the zone were UTC."""
    setting = Setting(newest_first=newest_first, start="2025-03-30T00:59:59", lookback=3)
    with World(setting, shm) as world:
        world.source.arrive([1] * 59)
        world.until_quiet()
        world.source.arrive([2, 1, 3])
        world.until_quiet()
        assert not world.check()
        days = {os.path.relpath(path, world.out).split(os.sep)[3:6][-1] for path in world.visible()}
        assert days == {"30"}


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("jump", [-DAY, -3600.0, 3600.0, DAY])
def test_the_clock_jumps(jump: float, newest_first: bool, shm: Path) -> None:
    with World(Setting(newest_first=newest_first), shm) as world:
        for _ in range(3):
            world.source.arrive([2, 1, 3])
            assert world.run() == "succeeded"
            world.clock.jump(jump)
            jump = -jump
        world.until_quiet()
        assert not world.check()
        assert world.delivered() == Counter(range(18))


@pytest.mark.parametrize(
    ("ago", "due"), [(-DAY, True), (-1.0, True), (0.0, False), (299.0, False), (300.0, True), (DAY, True)]
)
def test_due(ago: float, due: bool, shm: Path) -> None:
    """A last run in the future does not keep a stream from running; one in the past does, for `frequency` seconds."""
    with World(Setting(), shm) as world:
        world.connect().last = world.clock.wall - timedelta(seconds=ago)
        connector = world.connect()
        connector.frequency = 300
        assert connector.due() is due
