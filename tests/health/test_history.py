"""What a run keeps of itself, in the commit with which it ends."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from grove.caches import Batch
from grove.exceptions import RequestFailedException, StoppedError
from grove.history import ERROR_LENGTH, Counts, History, Hour, hour_of
from grove.logging import forget_secrets, register_secret
from grove.state import HISTORY
from tests.engine.conftest import Scripted, cache, delivered, frozen, make, output

__all__ = ["cache", "delivered", "frozen", "make", "output"]

BEGAN = datetime(2025, 3, 4, 10, 0, tzinfo=UTC)


def entries(*numbers):
    return [{"at": f"2025-03-04T09:00:{number:02}Z", "id": number} for number in numbers]


def stored(connector):
    (text,) = connector._cache.read([connector._collection().state.key(HISTORY)])
    return History.decode(text)


def test_a_run_that_succeeds(make, frozen):
    connector = make(pages=[entries(1, 2), lambda connector: frozen.advance(2.5), entries(2, 3)])
    history = stored(connector)
    assert history == connector.history
    assert (history.outcome, history.error, history.failures) == ("succeeded", "", 0)
    assert history.counts == Counts(pages=2, entries=3, dropped=1, quarantined=0)
    assert history.ended - history.began == timedelta(seconds=2.5)
    assert history.first == history.began
    assert history.succeeded == history.delivered == history.ended
    assert history.hours == {hour_of(history.ended): Hour(entries=3)}


def test_a_run_in_which_nothing_happens_keeps_what_was(make, frozen):
    first = make(pages=[entries(1)]).history
    frozen.advance(60)
    second = stored(make())
    assert second.counts == Counts()
    assert (second.delivered, second.first) == (first.ended, first.began)
    assert second.succeeded == second.ended > first.ended
    assert second.hours == first.hours


def test_entries_that_are_set_aside(make):
    connector = make(pages=[[*entries(1), {"id": "no time"}, 7]])
    assert stored(connector).counts == Counts(pages=1, entries=1, quarantined=2)


def test_entries_that_a_processor_cannot_take(make):
    fields = {"name": "split", "processor": "split_path", "source": "id"}
    connector = make(pages=[[{"at": "2025-03-04T09:00:00Z", "id": {"no": "list"}}]], processors=[fields])
    assert stored(connector).counts.quarantined == connector._saved.get("quarantine", 0)


def test_failures_are_counted_until_a_run_succeeds(make, frozen):
    make(pages=[entries(1), RequestFailedException("no answer")])
    frozen.advance(60)
    make(pages=[RequestFailedException("no\n answer")])
    failing = stored(make(run=False))
    assert (failing.outcome, failing.error, failing.failures) == ("failed", "no answer", 2)
    assert failing.succeeded is None
    assert failing.delivered < failing.ended
    assert failing.hours == {hour_of(failing.ended): Hour(entries=1, failures=2)}
    make()
    well = stored(make(run=False))
    assert (well.outcome, well.error, well.failures) == ("succeeded", "", 0)


def test_a_run_that_is_stopped_is_neither_good_nor_bad(make):
    make(pages=[RequestFailedException("no answer")])
    connector = make(pages=[entries(1), StoppedError("asked to")])
    history = stored(connector)
    assert (history.outcome, history.error, history.failures, history.counts.entries) == ("stopped", "", 1, 1)


def test_what_is_not_committed_is_not_counted(make):
    def fail(*args, **kwargs):
        raise OSError("the disk is gone")

    def spoil(connector):
        connector._output.stage = fail

    assert stored(make(pages=[entries(1), spoil, entries(2)])).counts == Counts(pages=1, entries=1)


def test_a_run_that_could_not_be_opened_is_kept_too(make, cache):
    connector = make(run=False)
    cache.apply(Batch().set(connector._collection().state.key("pending"), "[]}"))
    cache.apply(Batch().set(connector._collection().state.key("sequence"), "x"))
    connector.run()
    history = stored(connector)
    assert (history.outcome, history.failures) == ("failed", 1)
    assert "sequence" in history.error


def test_a_cache_that_does_not_answer_costs_nothing_more(make):
    class Broken(Scripted):
        def lock(self):
            self._cache = None
            raise RequestFailedException("down")

    connector = make(Broken)
    assert (connector.outcome, connector.history) == ("failed", None)
    assert str(connector.failure) == "down"


def test_errors_are_redacted_short_and_on_one_line(make):
    register_secret("hunter2hunter2")
    try:
        make(pages=[RequestFailedException("key hunter2hunter2\nrefused " + "x" * 1000)])
    finally:
        forget_secrets()
    error = stored(make(run=False)).error
    assert error.startswith("key [redacted] refused xxx")
    assert len(error) == ERROR_LENGTH


def test_an_error_without_words_is_named():
    class Silent(Exception):
        def __str__(self):
            raise ValueError

    assert History.after(None, BEGAN, "failed", Silent()).error == "Silent"
    assert History.after(None, BEGAN, "failed", KeyError()).error == "KeyError"


def test_hours_are_kept_for_a_day(frozen):
    history = None
    for _ in range(40):
        history = History.after(history, BEGAN, "succeeded", counts=Counts(entries=1))
        frozen.advance(3600)
    assert len(history.hours) == 25
    assert history.entries_since(history.ended) == 25
    assert history.entries_since(history.ended + timedelta(hours=24)) == 1
    assert history.entries_since(history.ended + timedelta(hours=25)) == 0


def test_hours_of_a_clock_that_was_ahead_do_not_stay(frozen):
    ahead = History.after(None, BEGAN, "succeeded", counts=Counts(entries=1))
    frozen.advance(-7200)
    assert History.after(ahead, BEGAN, "succeeded", counts=Counts(entries=2)).hours == {
        hour_of(ahead.ended) - 2: Hour(entries=2)
    }


@pytest.mark.parametrize("history", [
    History(BEGAN, BEGAN, "succeeded", BEGAN),
    History(BEGAN, BEGAN + timedelta(milliseconds=1), "failed", BEGAN, "why", Counts(1, 2, 3, 4), 5, BEGAN, BEGAN,
            {480000: Hour(1, 2)}),
])  # fmt: skip
def test_what_is_stored_is_read(history):
    assert History.decode(history.encode()) == history


@pytest.mark.parametrize("change", [
    {"began": "2025-03-04T10:00:00"}, {"began": None}, {"counts": [1]}, {"counts": 5}, {"hours": [1]},
    {"hours": {"x": [1, 2]}}, {"hours": {"1": [1, 2, 3]}}, {"failures": "many"},
])  # fmt: skip
def test_a_record_that_cannot_be_read_counts_as_none(change, make, cache):
    record = json.dumps({**json.loads(History(BEGAN, BEGAN, "succeeded", BEGAN).encode()), **change})
    assert History.decode(record) is None
    connector = make(run=False)
    cache.apply(Batch().set(connector._collection().state.key(HISTORY), record))
    connector.run()
    assert stored(connector) is not None
    assert connector.history.first == connector.history.began


@pytest.mark.parametrize("text", ["", "[]", "7", "{", "null", '"x"'])
def test_a_text_that_is_no_record_counts_as_none(text):
    assert History.decode(text) is None
