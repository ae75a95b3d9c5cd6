"""What is kept of runs, and what follows from it for a span of time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grove.cli._explain import Span, in_words, judge, suggested_lookback
from grove.coverage import KEPT, RECENT, Brought, Run, after, decode, encode
from grove.history import History
from tests.evidence.conftest import Place

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def at(hour: float) -> datetime:
    return NOON + timedelta(hours=hour - 12)


def text(hour: float) -> str:
    return at(hour).strftime("%Y-%m-%dT%H:%M:%SZ")


def run(begins: float, since: float | None, ends: float, **changed: Any) -> Run:
    """A run that begins and asks then, and leaves the pointer at `ends`."""
    known = None if since is None else text(since)
    made = Run(began=text(begins), last_began=text(begins), ended_by="source", before=known, after=text(ends))
    return replace(made, first=known, last=text(ends), pages=1, entries=10, **changed)


def answer(runs: list[Run], start: float, end: float, history: History | None = None, **changed: Any) -> Any:
    pointer = runs[-1].after if runs else None
    return judge(runs, history, pointer, at(start), at(end), NOON, **{"oldest_first": True, **changed})


# --- what is kept ---


def test_records_come_back() -> None:
    runs = [run(1, None, 0.5), run(2, 0.5, 1.5, limits=(("kind", "all"),), late=3, lateness=1.5, ended_by="failed")]
    assert decode(encode(runs)) == runs
    assert encode([]) is None


@pytest.mark.parametrize("damaged", ["", "{", "[1]", '[{"began":1}]', '[{"limits":3}]', '{"a":1}'])
def test_what_cannot_be_read_counts_as_none(damaged: str) -> None:
    assert decode(damaged) == []


def test_a_run_that_found_nothing_leaves_no_record() -> None:
    idle = replace(run(2, 1, 1), entries=0)
    assert after([], idle) == []
    assert len(after([], replace(idle, ended_by="failed"))) == 1
    assert len(after([], replace(idle, quarantined=1))) == 1


def test_older_runs_are_joined_day_by_day_where_each_went_on() -> None:
    runs: list[Run] = []
    for number in range(10 * 24 + RECENT):
        runs = after(runs, run(number, number - 1, number))
    assert [one.runs for one in runs] == [24] * 10 + [1] * RECENT
    assert (runs[1].before, runs[1].after, runs[1].entries) == (runs[0].after, runs[2].before, 240)
    assert sum(one.runs for one in runs) == 10 * 24 + RECENT


def test_what_did_not_go_on_stays_apart_and_the_oldest_goes() -> None:
    runs: list[Run] = []
    for number in range(200):
        runs = after(runs, run(number / 10, None, number / 10))
    assert len(runs) == KEPT
    assert runs[-1].began == text(19.9)
    assert len(encode(runs) or "") < 16_384


@pytest.mark.parametrize(
    ("known", "pages", "late", "lateness"),
    [
        (None, [["2026-01-01T00:00:00Z"]], 0, 0),
        ("2026-01-01T10:00:00Z", [["2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"]], 0, 0),
        ("2026-01-01T10:00:00Z", [["2026-01-01T09:59:00Z", "2026-01-01T09:58:30Z", "2026-01-01T11:00:00Z"]], 2, 90),
        ("2026-01-01T10:00:00Z", [["2026-01-01T11:00:00Z"], ["2026-01-01T11:00:00Z", "2026-01-01T09:00:00Z"]], 1, 3600),
        ("1767261600", [["1767261590", "1767261601"]], 1, 10),
        ("1767261600000", [["1767261590000"]], 1, 10),
        ("2026-01-03", [["2026-01-01", "2026-01-02"]], 2, 172_800),
        ("opaque", [["also", "opaque"]], 0, 0),
    ],
)
def test_lateness_is_measured(known: str | None, pages: list[list[str]], late: int, lateness: float) -> None:
    brought = Brought(known)
    for page in pages:
        brought.page([*page])
    brought.page([])
    assert (brought.late, brought.lateness) == (late, lateness)
    assert (brought.first, brought.last) == (pages[0][0], pages[-1][-1])


# --- what follows ---


def test_runs_that_asked_for_all_of_it_answer_yes() -> None:
    found = answer([run(9, 8, 8.9), run(10, 8.9, 9.8), run(11, 9.8, 10.2)], 9, 10.5)
    assert (found.verdict, found.gaps) == ("yes", [])
    assert len(found.runs) == 2
    words = "\n".join(in_words("logs", at(9), at(10.5), found, 0))
    assert "Yes: everything that the source had of that time has been collected." in words
    assert "2 runs that brought something asked for it; 2 of them went on until" in words
    assert "They brought 20 new entries on 2 pages" in words
    assert "cannot be seen: no `lookback` is set" in words


def test_a_first_run_without_a_beginning_covers_all_before_it() -> None:
    assert answer([run(9, None, 8)], 0, 9).verdict == "yes"


def test_time_after_the_last_run_is_not_collected_yet() -> None:
    found = answer([run(9, 8, 8.9)], 8.5, 10)
    assert (found.verdict, found.gaps, found.until) == (
        "not yet",
        [Span(at(9), at(10), "no run has asked for it yet")],
        at(9),
    )


def test_a_run_that_found_nothing_since_moves_the_end() -> None:
    history = History(at(11), at(11), "succeeded", first=at(1))
    assert answer([run(9, 8, 8.9)], 8.5, 11, history).verdict == "yes"
    delayed = run(9, 8, 8.9, until=text(8.95))
    found = answer([delayed], 8.5, 11, history)
    assert (found.verdict, found.until) == ("not yet", at(10.95))
    assert answer([run(9, 8, 8.9)], 8.5, 11, replace(history, outcome="failed")).verdict == "not yet"


def test_a_run_that_broke_off_covers_what_came_oldest_first() -> None:
    broken = run(9, 8, 8.5, ended_by="failed")
    assert answer([broken], 8, 8.5).verdict == "yes"
    assert answer([broken], 8, 8.6).verdict == "not yet"
    assert answer([broken], 8, 8.5, oldest_first=False).verdict == "unknown"


def test_what_was_left_out_in_the_middle_is_a_gap() -> None:
    found = answer([run(8, 7, 7.9), run(11, 10, 10.5)], 7, 11)
    assert found.verdict == "no"
    assert [(gap.start, gap.end) for gap in found.gaps] == [(at(8), at(10))]
    words = "\n".join(in_words("logs", at(7), at(11), found, 0))
    assert "missing: 2026-11-24T08:00:00Z to 2026-11-24T10:00:00Z: the runs on record left it out" in words


def test_what_lies_before_all_records_is_unknown() -> None:
    found = answer([run(9, 8, 8.9)], 7, 8.5)
    assert (found.verdict, found.gaps[0].why) == ("unknown", "no run is on record that asked for it")
    assert answer([], 7, 8).verdict == "unknown"
    opaque = replace(run(9, 8, 8.9), since="cursor-1", until="cursor-2")
    assert answer([opaque], 8, 8.5).verdict == "unknown"


def test_late_entries_suggest_a_lookback() -> None:
    runs = [run(9, 8, 8.9, late=2, lateness=250.0, quarantined=3, limits=(("kind", "login"),))]
    assert suggested_lookback(runs, 0) == 420
    assert suggested_lookback(runs, 420) is None
    assert suggested_lookback([run(9, 8, 8.9)], 0) is None
    words = "\n".join(in_words("logs", at(8), at(9), answer(runs, 8, 9), 60))
    assert '2 entries came late, by 4 min at most. Set "lookback": 420 in the document' in words
    assert "3 entries were set aside; they are in the output `quarantine`." in words
    assert "They asked with kind=login" in words


# --- of real runs ---


def test_runs_leave_their_records(fresh: Place) -> None:
    def covered() -> list[Run]:
        ((_, stored),) = fresh.cache().scan("coverage.")
        return decode(stored)

    fresh.collect(4)
    (first,) = covered()
    assert (first.before, first.after) == (None, "2025-03-30T00:59:04Z")
    assert (first.pages, first.entries, first.dropped) == (2, 4, 0)
    assert first.complete
    fresh.collect(4)
    assert covered() == [first]
    fresh.collect(6)
    second = covered()[1]
    assert (second.before, second.after) == (first.after, "2025-03-30T00:59:06Z")
    assert (second.first, second.last, second.dropped) == ("2025-03-30T00:59:05Z", "2025-03-30T00:59:06Z", 1)
