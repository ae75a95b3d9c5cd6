"""One run over its pages: what is warned about, what stays bounded, and what may not go on after a failure."""

import json
import logging

import pytest

from grove import collection, window
from grove.caches import Key
from grove.exceptions import AccessException, PoisonedRunError
from tests.engine.conftest import Newest, Scripted, multiset, plain


def entries(*pointers, salt=""):
    return [{"at": pointer, "id": f"{salt}{index}-{pointer}"} for index, pointer in enumerate(pointers)]


def stored(cache, connector, kind):
    return cache.read([Key(connector.cache_key(kind), "all")])[0]


def warnings(caplog, event):
    return [record for record in caplog.records if getattr(record, "event", "") == event]


# --- entries without a pointer ---


def test_hashes_of_entries_without_a_pointer_are_bounded_and_the_oldest_go_first(make, delivered, monkeypatch):
    monkeypatch.setattr(collection, "LOOSE_LIMIT", 2)
    lost = [{"id": number} for number in range(4)]
    for number in range(3):
        make(pages=[[*entries(number + 1), lost[number]]])
    # The last two are known, the first one is not any more.
    make(pages=[[*entries(4), lost[2]], [*entries(5), lost[1]], [*entries(6), lost[0]]])
    assert plain(delivered("quarantine")) == [lost[0], lost[1], lost[2], lost[0]]


def test_an_overridden_hash_tells_entries_without_a_pointer_apart(make, delivered):
    class ById(Scripted):
        def hash_entry(self, entry):
            return f"{entry['id']:>032}"

    make(ById, pages=[[{"at": 1, "id": "a"}, {"id": "b", "seen": 1}]])
    make(ById, pages=[[{"at": 2, "id": "c"}, {"id": "b", "seen": 2}, {"id": "d"}]])
    assert plain(delivered("quarantine")) == [{"id": "b", "seen": 1}, {"id": "d"}]


def test_one_entry_without_a_pointer_is_set_aside_once_in_a_page_that_repeats_it(make, delivered):
    make(pages=[[*entries(1), {"id": "lost"}, {"id": "lost"}]])
    assert plain(delivered("quarantine")) == [{"id": "lost"}]


# --- order ---


def test_a_broken_order_is_warned_about_once_and_holds_the_pointer_until_the_end(make, cache, caplog, delivered):
    shown, committed = [], []

    def look(connector):
        shown.append(connector.pointer)
        committed.append(stored(cache, connector, "pointer"))

    make(pages=[entries(1)])
    connector = make(pages=[entries(5, 3), look, entries(4), entries(8), look])
    (record,) = warnings(caplog, "order_mismatch")
    assert (record.order, record.operation) == ("CHRONOLOGICAL", "all")
    assert (shown, committed) == (["5", "8"], ["1", "1"])
    assert stored(cache, connector, "pointer") == "8"
    assert stored(cache, connector, "pointer_previous") == "1"
    assert len(delivered()) == 5


def test_a_run_that_breaks_the_order_and_dies_starts_again_from_the_held_pointer(make, cache, delivered):
    make(pages=[entries(1)])
    connector = make(pages=[entries(5, 3), RuntimeError("vendor")])
    assert stored(cache, connector, "pointer") == "1"
    make(pages=[[*entries(1), *entries(2, 3, 4, salt="new")]])
    assert [entry["at"] for entry in plain(delivered())] == [1, 5, 3, 2, 3, 4]


def test_a_pointer_that_is_set_to_what_it_was_ends_what_was_only_shown(make, cache, delivered):
    make(pages=[entries(1)])
    sequences, shown = [], []

    def back(connector):
        sequences.append(stored(cache, connector, "sequence"))
        shown.append(connector.pointer)
        connector.pointer = "1"
        sequences.append(stored(cache, connector, "sequence"))
        shown.append(connector.pointer)

    connector = make(pages=[entries(5, 3), back])
    # Nothing had to be committed for it.
    assert sequences == ["2", "2"]
    assert shown == ["5", "1"]
    assert stored(cache, connector, "pointer") == "1"


def test_setting_the_pointer_to_its_own_value_keeps_the_boundary(make, cache, delivered):
    make(pages=[entries(7)])
    connector = make(pages=[lambda connector: setattr(connector, "pointer", "7"), entries(7)])
    assert stored(cache, connector, "sequence") == "1"
    assert len(delivered()) == 1


# --- boundaries ---


def test_too_many_ties_are_warned_about_and_repeated_rather_than_lost(make, delivered, monkeypatch, caplog):
    monkeypatch.setattr(window, "BOUNDARY_LIMIT", 3)
    monkeypatch.setattr(collection, "BOUNDARY_LIMIT", 3)
    ties = entries(7, 7, 7, 7, 7)
    make(pages=[ties[:2]])
    assert not warnings(caplog, "boundary_overflow")
    make(pages=[ties])
    (record,) = warnings(caplog, "boundary_overflow")
    assert (record.limit, record.identity) == (3, "corp")
    make(pages=[ties])
    found = multiset(plain(delivered()))
    assert found.keys() == multiset(ties).keys()
    assert sum(found.values()) == 7


# --- lookback ---


def test_known_entries_that_come_in_disorder_hold_the_pointer_too(make, cache, caplog, delivered):
    base = 1741083000
    unordered = [[{"at": base + n} for n in numbers] for numbers in ((10, 900, 200), (100, 950), (20, 960))]
    make(pages=[[{"at": base}]], lookback=60)
    # Each run dies after one page more; what the last one brings lies far behind the newest entry of the first.
    for number in (1, 2):
        caplog.clear()
        connector = make(pages=[*unordered[:number], RuntimeError("killed")], lookback=60)
        assert stored(cache, connector, "pointer") == str(base)
        assert len(warnings(caplog, "order_mismatch")) == 1
    connector = make(pages=unordered, lookback=60)
    assert stored(cache, connector, "pointer") == str(base + 960)
    assert sorted(entry["at"] - base for entry in delivered()) == [0, 10, 20, 100, 200, 900, 950, 960]


def test_known_entries_that_ascend_or_come_twice_in_a_run_hold_nothing(make, cache, caplog):
    base = 1741083000
    page = [{"at": base + n} for n in (0, 5, 9)]
    make(pages=[page], lookback=60)
    connector = make(pages=[page, [{"at": base + 20}], page, RuntimeError("killed")], lookback=60)
    assert stored(cache, connector, "pointer") == str(base + 20)
    assert not warnings(caplog, "order_mismatch")


def test_known_entries_in_disorder_withdraw_an_interval(make, cache, caplog):
    base = 1741083000
    first, late = [{"at": base + n} for n in (90, 80)], {"at": base + 85}
    make(Newest, pages=[[*first, late], RuntimeError("killed")], lookback=60)
    connector = make(Newest, pages=[first, [late], RuntimeError("killed")], lookback=60)
    assert stored(cache, connector, "intervals") is None
    assert len(warnings(caplog, "order_mismatch")) == 2


def test_lookback_tells_what_is_late_from_what_is_known_by_an_overridden_hash(make, delivered):
    class ById(Scripted):
        def hash_entry(self, entry):
            return f"{entry['id']:>032}"

    base = 1741083072
    make(ById, pages=[[{"at": base, "id": 1}, {"at": base + 9, "id": 2}]], lookback=60)
    late = {"at": base + 5, "id": 3}
    make(ById, pages=[[{"at": base, "id": 1, "seen": 2}, late, {"at": base + 9, "id": 2, "seen": 2}]], lookback=60)
    assert [entry["id"] for entry in delivered()] == [1, 2, 3]


def test_within_the_lookback_an_interval_hides_no_late_entry(make, delivered):
    base = 1741083000
    make(Newest, pages=[[{"at": base + n} for n in (90, 80, 20, 10)], RuntimeError("vendor")], lookback=30)
    late = [{"at": base + n, "late": True} for n in (85, 60, 30)]
    page = [{"at": base + 90}, late[0], {"at": base + 80}, late[1], late[2], {"at": base + 20}]
    make(Newest, pages=[page], lookback=30)
    found = plain(delivered())
    assert late[0] in found
    assert late[1] in found
    # Further back nothing is expected to be late, and what lies inside the interval was delivered.
    assert late[2] not in found
    assert len(found) == 6


def test_hashes_of_the_lookback_do_not_expire_with_a_pointer_that_was_set(make, cache, delivered):
    base = 1741083072
    first = [{"at": base}, {"at": base + 10}]
    make(pages=[first], lookback=60)
    make(pages=[lambda connector: setattr(connector, "pointer", str(base + 10**6))], lookback=60)
    make(pages=[lambda connector: setattr(connector, "pointer", str(base)), first], lookback=60)
    assert plain(delivered()) == first


# --- after a failure ---


def test_what_process_and_write_could_not_deliver_holds_up_the_run(make, output, delivered, tmp_path, monkeypatch):
    stage = output.stage

    def fail_second(name, data):
        if name.descriptor == "b":
            raise AccessException("made up: no space")
        return stage(name, data)

    def swallow(connector):
        with pytest.raises(AccessException):
            connector.process_and_write(entries(1))
        with pytest.raises(PoisonedRunError, match="AccessException"):
            connector.save(entries(2))

    with monkeypatch.context() as patch:
        patch.setattr(output, "stage", fail_second)
        connector = make(pages=[swallow], outputs={"a": "raw", "b": "raw"})
    assert isinstance(connector.failure, PoisonedRunError)
    make(pages=[entries(1), entries(2)], outputs={"a": "raw", "b": "raw"})
    assert plain(delivered("a")) == plain(delivered("b")) == [*entries(1), *entries(2)]


def test_a_collection_that_could_not_be_closed_is_closed_by_the_next_run(make, cache, delivered, monkeypatch):
    real = cache.apply

    def refuse(batch):
        if any(key.pk.startswith("pointer.") for key in batch.changes):
            raise AccessException("made up")
        real(batch)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "apply", refuse)
        connector = make(Newest, pages=[entries(9, 8)])
    assert connector.failure.args == ("made up",)
    assert stored(cache, connector, "pointer") is None
    assert json.loads(stored(cache, connector, "intervals"))[0]["high"] == "9"
    connector = make(Newest, pages=[entries(9, 8)])
    assert stored(cache, connector, "pointer") == "9"
    assert stored(cache, connector, "intervals") is None
    assert len(delivered()) == 2


def test_giving_up_a_run_that_is_about_to_end_does_no_harm(make, cache, delivered, monkeypatch):
    real = cache.apply

    def apply(batch):
        if batch.changes.get(Key(connector.cache_key("execution_lock"), "all"), "") is None:
            monkeypatch.setattr(cache, "apply", real)
            connector.abandon()
        real(batch)

    connector = make(run=False, pages=[entries(1)])
    monkeypatch.setattr(cache, "apply", apply)
    connector.run()
    assert stored(cache, connector, "execution_lock") is None
    assert stored(cache, connector, "pointer") == "1"
    make(pages=[entries(1)])
    assert len(delivered()) == 1


def test_what_is_said_of_a_poisoned_run_names_its_stream(make, output, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)

    def swallow(connector):
        with pytest.raises(OSError, match="disk"):
            connector.save(entries(1))

    with monkeypatch.context() as patch:
        patch.setattr(output, "stage", lambda name, data: (_ for _ in ()).throw(OSError("disk")))
        connector = make(pages=[swallow])
    assert connector.cache_key("stream") in str(connector.failure)
    assert "OSError" in str(connector.failure)
    assert connector.failure.__cause__.args == ("disk",)
