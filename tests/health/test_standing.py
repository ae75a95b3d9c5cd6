"""Whether a stream is well, from what is known of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from grove.health.facts import Facts
from grove.health.standing import STATES, instant, judge
from grove.history import Counts, History, Hour, hour_of
from grove.models import ConnectorConfig

NOW = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
OK = History(NOW - timedelta(seconds=61), NOW - timedelta(seconds=60), "succeeded", NOW - timedelta(days=9))


def stream(**fields):
    return ConnectorConfig(**{"name": "a", "identity": "b", "connector": "c", "frequency": 600, **fields})


def ago(**span):
    return NOW - timedelta(**span)


def test_what_was_never_collected_is_new():
    assert judge(stream(), Facts(), NOW).state == "new"


def test_what_an_older_version_has_run_is_well():
    standing = judge(stream(), Facts(last=ago(minutes=5)), NOW)
    assert standing.state == "ok"
    assert standing.as_json()["last_run"] == {"began": "2026-11-24T13:25:00.000Z"}


def test_a_good_run():
    history = replace(
        OK,
        counts=Counts(2, 30, 4, 5),
        succeeded=OK.ended,
        delivered=OK.ended,
        hours={hour_of(NOW): Hour(30), hour_of(NOW) - 24: Hour(7), hour_of(NOW) - 25: Hour(1000)},
    )
    standing = judge(stream(), Facts(history, "2026-11-24T13:20:00+00:00"), NOW, next_run=NOW + timedelta(seconds=9))
    assert (standing.state, standing.problems, standing.freshness) == ("ok", (), 600.0)
    found = standing.as_json()
    assert found["last_run"] == {
        "began": "2026-11-24T13:28:59.000Z",
        "ended": "2026-11-24T13:29:00.000Z",
        "seconds": 1.0,
        "outcome": "succeeded",
        "error": None,
        "pages": 2,
        "entries": 30,
        "dropped": 4,
        "quarantined": 5,
    }
    assert found["entries_last_day"] == 37
    assert (len(found["hours"]), found["hours"][-1], sum(hour[0] for hour in found["hours"])) == (24, [30, 0], 30)
    assert (found["newest"], found["next_run"]) == ("2026-11-24T13:20:00.000Z", "2026-11-24T13:30:09.000Z")


def test_failures():
    once = judge(stream(), Facts(replace(OK, outcome="failed", error="no answer", failures=1)), NOW)
    assert (once.state, once.problems) == ("failing", ("failed: no answer",))
    often = judge(stream(), Facts(replace(OK, outcome="failed", error="no answer", failures=3)), NOW)
    assert often.problems == ("failed 3 times in a row: no answer",)


def test_a_stream_stays_failing_while_it_is_tried_again():
    history = replace(OK, outcome="failed", error="no answer", failures=1)
    assert judge(stream(), Facts(history, holder="1-a"), NOW).state == "failing"


def test_a_stopped_run_after_failures_is_failing_still():
    assert judge(stream(), Facts(replace(OK, outcome="stopped", failures=2)), NOW).state == "failing"


def test_a_damaged_state():
    standing = judge(stream(), Facts(damage="The cached pointer cannot be trusted."), NOW)
    assert (standing.state, standing.problems) == ("failing", ("The cached pointer cannot be trusted.",))


@pytest.mark.parametrize(("held", "running"), [("1-a", False), ("", True)])
def test_what_is_held_is_running(held, running):
    facts = Facts(replace(OK, ended=ago(days=9)), holder=held)
    assert judge(stream(), facts, NOW, running=running).state == "running"


@pytest.mark.parametrize(
    ("frequency", "idle", "state"),
    [
        (600, timedelta(hours=24, minutes=9), "ok"),
        (600, timedelta(hours=24, minutes=11), "overdue"),
        (86_400, timedelta(days=8, hours=23), "ok"),
        (86_400, timedelta(days=9, hours=1), "overdue"),
    ],
)
def test_what_nobody_collects_any_more_is_overdue(frequency, idle, state):
    standing = judge(stream(frequency=frequency), Facts(replace(OK, ended=NOW - idle)), NOW)
    assert standing.state == state
    assert bool(standing.problems) == (state == "overdue")


# --- expectations ---


def newest(pointer, within="2h", history=OK, **more):
    return judge(stream(expect={"newest_within": within}), Facts(history, pointer), NOW, **more)


def test_the_newest_entry_is_new_enough():
    assert newest("2026-11-24T11:30:00Z").state == "ok"


def test_the_newest_entry_is_too_old():
    standing = newest("2026-11-24T11:29:59Z")
    assert (standing.state, list(standing.shortfalls)) == ("stale", ["newest_within"])
    assert standing.problems == ("newest entry is 2 h old, expected within 2 h",)


def test_where_the_pointer_is_no_time_the_last_delivery_counts():
    assert newest("abc", history=replace(OK, delivered=ago(hours=1))).state == "ok"
    assert newest("abc", history=replace(OK, delivered=ago(hours=3))).state == "stale"
    assert newest("17", history=replace(OK, delivered=ago(hours=3))).state == "stale"


def test_before_the_first_entry_the_first_run_counts():
    assert newest(None, history=replace(OK, first=ago(hours=1))).state == "ok"
    standing = newest(None, history=replace(OK, first=ago(hours=3)))
    assert standing.problems == ("no entry for 3 h, expected within 2 h",)


def test_before_the_first_run_it_depends_on_who_looks():
    assert newest(None, history=None).problems == ("has never run",)
    assert newest(None, history=None, since=ago(hours=1)).state == "new"
    assert newest(None, history=None, since=ago(hours=3)).state == "stale"


def test_entries_per_day():
    config = stream(expect={"entries_per_day": 10})
    few = replace(OK, hours={hour_of(NOW) - 3: Hour(9)})
    assert judge(config, Facts(replace(few, hours={hour_of(NOW): Hour(10)})), NOW).state == "ok"
    assert judge(config, Facts(few), NOW).problems == ("9 entries in a day, expected 10",)
    assert judge(config, Facts(replace(few, first=ago(hours=23))), NOW).state == "ok"
    assert judge(config, Facts(), NOW).state == "new"


def test_failing_is_worse_than_stale_and_both_are_told():
    history = replace(OK, outcome="failed", error="no answer", failures=1)
    standing = newest("2026-11-23T00:00:00Z", history=history)
    assert (standing.state, len(standing.problems), list(standing.shortfalls)) == ("failing", 2, ["newest_within"])


def test_every_state_is_explained():
    assert list(STATES) == ["failing", "stale", "overdue", "running", "new", "ok"]


# --- pointers as times ---


@pytest.mark.parametrize(
    ("pointer", "moment"),
    [
        ("2026-11-24T13:00:00+01:00", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2026-11-24 12:00:00", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("Tue, 24 Nov 2026 12:00:00 GMT", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("1795521600", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("1795521600000", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("1795521600000000", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("1795521600000000000", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("987654321", None),
        ("9876543210", None),
        ("-5", None),
        ("9" * 40, None),
        ("a cursor", None),
        ("", None),
    ],
)
def test_the_time_of_a_pointer(pointer, moment):
    assert instant(pointer, NOW) == moment


def test_an_entry_from_the_future_is_as_fresh_as_can_be():
    assert judge(stream(), Facts(OK, "2026-11-24T14:00:00Z"), NOW).freshness == 0.0
