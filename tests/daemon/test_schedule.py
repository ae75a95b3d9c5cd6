"""When streams start, as decisions about numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from grove.schedule import (
    LONGEST,
    MOST_BACKOFF,
    SHORTEST,
    SPREAD_GAP,
    Schedule,
    backoff,
    come_back,
    look_again,
    remaining,
    retry,
    spread,
)

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
FREQUENCIES = st.integers(1, 86_400)
DRAWS = st.floats(0, 1)


# --- single decisions ---


@given(st.integers(1, 10_000), FREQUENCIES, DRAWS)
def test_a_failing_stream_waits_from_its_frequency_to_eight_times_that(
    failures: int, frequency: int, draw: float
) -> None:
    assert frequency <= backoff(failures, frequency, draw) <= min(2**failures, MOST_BACKOFF) * frequency


@pytest.mark.parametrize(("failures", "most"), [(1, 120), (2, 240), (3, 480), (4, 480), (1000, 480)])
def test_the_whole_of_the_wait_is_drawn(failures: int, most: int) -> None:
    assert [backoff(failures, 60, draw) for draw in (0.0, 0.5, 1.0)] == [60, (60 + most) / 2, most]


@pytest.mark.parametrize(
    ("ago", "expected"),
    [(None, 0), (0, 60), (20.5, 39.5), (60, 0), (600, 0), (-1, 0), (-86_400, 0)],
)
def test_a_stream_is_due_its_frequency_after_its_last_run(ago: float | None, expected: float) -> None:
    last = None if ago is None else NOW - timedelta(seconds=ago)
    assert remaining(last, 60, NOW) == expected


@given(st.integers(-(10**9), 10**9), FREQUENCIES)
def test_no_clock_makes_a_stream_wait_longer_than_its_frequency(ago: int, frequency: int) -> None:
    assert 0 <= remaining(NOW - timedelta(seconds=ago), frequency, NOW) <= frequency


@pytest.mark.parametrize(
    ("expires_in", "frequency", "expected"), [(300, 60, 60), (30, 60, 30), (0, 60, SHORTEST), (0, 1, SHORTEST)]
)
def test_a_locked_stream_is_looked_at_again(expires_in: float, frequency: float, expected: float) -> None:
    assert look_again(expires_in, frequency) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(900, 900), (-5, SHORTEST), (10**9, LONGEST)])
def test_a_source_is_asked_again_when_it_says(seconds: int, expected: float) -> None:
    assert come_back(NOW + timedelta(seconds=seconds), NOW) == expected


@given(st.integers(1, 10_000), st.integers(1, 3600), DRAWS)
def test_what_all_streams_need_is_tried_again_soon_and_then_less_often(failures: int, most: int, draw: float) -> None:
    assert 0 < retry(failures, most, draw) <= min(most, 2**failures)
    assert retry(failures + 1, most, draw) >= retry(failures, most, draw)


def test_few_streams_follow_each_other_closely() -> None:
    assert spread([60], 300) == [0]
    assert spread([60, 60], 300) == [0, SPREAD_GAP]
    assert spread([], 300) == []


def test_many_streams_are_spread_over_their_frequency() -> None:
    offsets = spread([60] * 10_000, 300)
    assert max(offsets) < 60
    assert all(0 < after - before < 0.01 for before, after in pairwise(offsets))


@given(st.lists(FREQUENCIES, max_size=200), st.integers(1, 3600))
def test_no_first_start_is_later_than_its_frequency_and_the_window(frequencies: list[int], window: int) -> None:
    offsets = spread(frequencies, window)
    assert all(0 <= offset <= min(frequency, window) for offset, frequency in zip(offsets, frequencies, strict=True))


# --- all streams ---


def test_the_one_that_is_due_the_longest_starts_first() -> None:
    schedule: Schedule[str] = Schedule()
    for name, due in {"a": 3.0, "b": 1.0, "c": 2.0}.items():
        schedule.add(name, 60, due)
    assert schedule.next_due() == 1
    assert [schedule.take(2.5) for _ in range(3)] == ["b", "c", None]


def test_a_run_that_took_longer_than_the_frequency_is_followed_at_once() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 60, 0)
    schedule.take(0)
    schedule.succeeded("a", 100)
    assert schedule["a"].due == 100


def test_success_forgets_failures() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 60, 0)
    now = 0.0
    for failures in (1, 2, 3):
        assert schedule.take(now) == "a"
        schedule.failed("a", now, 1.0)
        assert schedule["a"].failures == failures
        assert schedule["a"].due == now + 60 * 2**failures
        now = schedule["a"].due
    schedule.take(now)
    schedule.succeeded("a", now)
    assert (schedule["a"].failures, schedule["a"].due) == (0, now + 60)


@pytest.mark.parametrize(("frequency", "due"), [(60, 60), (300, 300), (20, 20), (5, 10)])
def test_a_new_frequency_counts_from_the_last_start(frequency: int, due: int) -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 60, 0)
    schedule.take(0)
    schedule.succeeded("a", 1)
    schedule.change("a", frequency, 10)
    assert (schedule.next_due(), schedule.take(due - 1), schedule.take(due)) == (due, None, "a")


def test_a_failing_stream_whose_document_changes_is_tried_at_once() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 60, 0)
    schedule.take(0)
    schedule.failed("a", 0, 1.0)
    schedule.change("a", 60, 5)
    assert (schedule["a"].due, schedule["a"].failures) == (5, 0)


def test_a_run_that_fails_with_a_document_that_has_changed_is_followed_at_once() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 60, 0)
    schedule.take(0)
    schedule.change("a", 30, 1)
    schedule.failed("a", 2, 1.0)
    assert (schedule["a"].due, schedule["a"].failures) == (2, 0)
    schedule.take(2)
    schedule.failed("a", 3, 1.0)
    assert schedule["a"].due == 3 + 2 * 30


def test_a_stream_that_is_removed_and_added_while_it_runs_waits_for_that_run() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 60, 0)
    schedule.take(0)
    schedule.remove("a")
    schedule.add("a", 60, 1)
    assert schedule.take(2) is None
    schedule.stopped("a", 3)
    assert schedule.take(3) == "a"


def test_a_stream_that_is_removed_while_it_runs_is_forgotten_when_that_ends() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 60, 0)
    schedule.take(0)
    schedule.remove("a")
    assert "a" in schedule
    schedule.stopped("a", 3)
    assert ("a" in schedule, len(schedule), schedule.next_due()) == (False, 0, None)


def test_a_stream_that_stops_by_itself_waits_its_frequency() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 60, 0)
    schedule.take(0)
    schedule.stopped("a", 1)
    assert schedule.next_due() == 61


def test_the_queue_does_not_grow_with_reloads() -> None:
    schedule: Schedule[int] = Schedule()
    for key in range(10):
        schedule.add(key, 60, 0)
    for now in range(1000):
        schedule.change(now % 10, 60 + now, now)
    assert len(schedule._queue) <= 2 * 10 + 64
    assert sorted(key for key in iter(lambda: schedule.take(10_000), None)) == list(range(10))


class Streams(RuleBasedStateMachine):
    """Any order of events, beside the plainest account of them: what runs, and what is wanted."""

    KEYS = st.sampled_from("abc")

    def __init__(self) -> None:
        super().__init__()
        self.schedule: Schedule[str] = Schedule()
        self.now = 0.0
        self.wanted: dict[str, int] = {}
        self.running: set[str] = set()

    @rule(key=KEYS, frequency=st.integers(1, 600), wait=st.integers(0, 600))
    def add(self, key: str, frequency: int, wait: int) -> None:
        if key not in self.wanted:
            self.schedule.add(key, frequency, self.now + min(wait, frequency))
            self.wanted[key] = frequency

    @precondition(lambda self: self.wanted)
    @rule(key=KEYS, frequency=st.integers(1, 600))
    def change(self, key: str, frequency: int) -> None:
        if key in self.wanted:
            self.schedule.change(key, frequency, self.now)
            self.wanted[key] = frequency

    @precondition(lambda self: self.wanted)
    @rule(key=KEYS)
    def remove(self, key: str) -> None:
        if self.wanted.pop(key, None) is not None:
            self.schedule.remove(key)

    @rule(seconds=st.integers(0, 2000))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule(most=st.integers(1, 5))
    def take(self, most: int) -> None:
        for _ in range(most):
            key = self.schedule.take(self.now)
            if key is None:
                assert not [
                    other for other in self.wanted if other not in self.running and self.schedule[other].due <= self.now
                ]
                return
            assert key not in self.running, "it runs already"
            assert key in self.wanted, "nobody wants it"
            self.running.add(key)

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        how=st.sampled_from(["succeeded", "failed", "stopped", "postponed"]),
        draw=DRAWS,
        wait=st.integers(0, 600),
    )
    def end(self, data: st.DataObject, how: str, draw: float, wait: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        if how == "failed":
            self.schedule.failed(key, self.now, draw)
        elif how == "postponed":
            self.schedule.postponed(key, self.now, wait)
        else:
            getattr(self.schedule, how)(key, self.now)
        self.running.discard(key)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert {key for key in "abc" if key in self.schedule} == self.wanted.keys() | self.running
        assert {key for key in self.wanted if self.schedule[key].running} == self.running & self.wanted.keys()

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        # Whatever has happened, a stream is due again within a time that its document decides.
        for key in self.wanted.keys() - self.running:
            assert self.schedule[key].due <= self.now + max(8 * 600, 600)

    @invariant()
    def the_next_moment_is_that_of_the_first(self) -> None:
        waiting = [self.schedule[key].due for key in self.wanted.keys() - self.running]
        assert self.schedule.next_due() == min(waiting, default=None)


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
