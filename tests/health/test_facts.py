"""What is read of many streams at once."""

from datetime import UTC, datetime, timedelta

import pytest

from grove import lease
from grove.caches import Batch, Key
from grove.caches.local_memory import Handler as MemoryCache
from grove.exceptions import AccessException, CorruptStateError
from grove.health.facts import CHUNK, Facts, keys_at, read
from grove.helpers import clock
from grove.history import History

MOMENT = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)


class Watched(MemoryCache):
    """Counts what is asked of it, and finds some records damaged."""

    def __init__(self):
        self._data = {}
        self.asked = []
        self.damaged = set()

    def read(self, keys):
        self.asked.append(len(keys))
        for key in keys:
            if key.pk in self.damaged:
                raise CorruptStateError(f"{key.pk} is damaged.")
        return super().read(keys)


@pytest.fixture
def cache():
    return Watched()


def put(cache, **facts):
    for name, value in facts.items():
        kind, _, stream = name.rpartition("_")
        cache.apply(Batch().set(Key(f"{kind}.{stream}", "all"), value))


def found(cache, *names):
    return dict(zip(names, read(cache, [keys_at(name, "all") for name in names]), strict=True))


def test_what_is_there(cache):
    history = History(MOMENT, MOMENT, "succeeded", MOMENT)
    put(cache, history_a=history.encode(), pointer_a="7", last_run_a="2026-11-24T13:30:00Z", pointer_b="8")
    assert found(cache, "a", "b", "c") == {"a": Facts(history, "7", MOMENT), "b": Facts(pointer="8"), "c": Facts()}


def test_many_streams_are_read_at_a_time(cache):
    names = [f"s{number}" for number in range(CHUNK + 1)]
    assert len(found(cache, *names)) == CHUNK + 1
    assert cache.asked == [CHUNK * 5, 5]
    assert max(cache.asked) <= 100


def test_a_damaged_record_hides_no_other_stream(cache):
    put(cache, pointer_a="7", pointer_b="8", pointer_c="9")
    cache.damaged.add("history.b")
    assert found(cache, "a", "b", "c") == {
        "a": Facts(pointer="7"),
        "b": Facts(damage="history.b is damaged."),
        "c": Facts(pointer="9"),
    }


def test_a_cache_that_does_not_answer_is_an_error(cache, monkeypatch):
    def fail(keys):
        raise AccessException("no answer")

    monkeypatch.setattr(cache, "read", fail)
    with pytest.raises(AccessException, match="no answer"):
        found(cache, "a")


@pytest.mark.parametrize("text", ["", "soon"])
def test_dates_that_are_none_count_as_none(cache, text):
    put(cache, last_run_a=text, execution_lock_a=text)
    assert found(cache, "a") == {"a": Facts()}


def lock(seconds):
    return (clock.now() + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_who_holds_a_stream(cache):
    record = lease.Record("1-other", "n", "2026-11-24").encode()
    put(cache, execution_lock_a=lock(60), lease_a=record, execution_lock_b=lock(-1), lease_b=record)
    put(cache, execution_lock_c=lock(60))
    streams = found(cache, "a", "b", "c")
    assert (streams["a"].holder, streams["b"].holder, streams["c"].holder) == ("1-other", "", "unknown")
    assert streams["a"].expires > clock.now()
    assert streams["b"].expires is None


def test_a_run_of_this_process_that_has_ended_holds_nothing(cache):
    put(cache, execution_lock_a=lock(60), lease_a=lease.Record(lease.owner().name, "gone", "2026-11-24").encode())
    assert found(cache, "a")["a"].holder == ""
