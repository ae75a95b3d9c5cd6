"""BaseConnector as its users meet it: what save() delivers, what moves, and what may be overridden."""

import datetime
import json
import logging

import pytest

from grove.caches import Key
from grove.connectors import BaseConnector
from grove.constants import CHRONOLOGICAL
from grove.exceptions import (
    AccessException,
    ConcurrencyException,
    ConfigurationException,
    DataFormatException,
    NotFoundException,
    PoisonedRunError,
    StoppedError,
)
from grove.models import ConnectorConfig
from grove.outputs import BaseOutput
from grove.processors import BaseProcessor
from tests.engine.conftest import CONTEXT, Newest, Scripted, multiset, plain


def entries(*pointers, salt=""):
    return [{"at": pointer, "id": f"{salt}{index}-{pointer}"} for index, pointer in enumerate(pointers)]


# --- what arrives ---


def test_a_page_arrives_with_its_metadata(make, delivered):
    connector = make(pages=[entries(1, 2)])
    assert connector.outcome == "succeeded"
    found = delivered()
    assert plain(found) == entries(1, 2)
    metadata = found[0]["_grove"]
    assert metadata["connector"] == Scripted.__module__
    assert (metadata["identity"], metadata["operation"]) == ("corp", "all")
    assert (metadata["pointer"], metadata["previous_pointer"]) == (None, "")
    assert metadata["runtime"] == CONTEXT
    assert metadata["version"]


def test_the_metadata_of_a_page_shows_the_pointer_before_it(make, delivered):
    make(pages=[entries(1), entries(2), entries(3)])
    assert [entry["_grove"]["pointer"] for entry in delivered()] == [None, "1", "2"]
    assert [entry["_grove"]["previous_pointer"] for entry in delivered()] == ["", "", "1"]


def test_the_callers_entries_are_not_changed(make):
    page = entries(1, 2)
    make(pages=[page])
    assert page == entries(1, 2)


def test_an_inclusive_source_repeats_nothing(make, delivered):
    for start in (0, 2, 4):
        make(pages=[[{"at": number} for number in range(start, start + 3)]])
    assert multiset(plain(delivered())) == multiset([{"at": n} for n in range(7)])


def test_new_entries_with_the_pointers_own_value_arrive(make, delivered):
    make(pages=[entries(5, 5)])
    make(pages=[[*entries(5, 5), {"at": 5, "id": "late"}]])
    assert multiset(plain(delivered())) == multiset([*entries(5, 5), {"at": 5, "id": "late"}])


def test_identical_entries_of_one_page_are_kept_and_dropped_when_seen_again(make, delivered):
    twin = {"at": 1, "id": "same"}
    make(pages=[[twin, dict(twin)]])
    make(pages=[[twin, dict(twin)]])
    assert plain(delivered()) == [twin, twin]


def test_a_page_repeated_within_a_run_is_dropped(make, delivered):
    make(pages=[entries(1, 2), entries(1, 2), entries(3)])
    assert len(delivered()) == 3


def test_an_unknown_entry_below_the_pointer_is_delivered(make, delivered):
    make(pages=[entries(10)])
    connector = make(pages=[entries(4)])
    assert len(delivered()) == 2
    assert connector.pointer == "10"


def test_lookback_drops_what_it_knows_and_delivers_what_is_late(make, delivered):
    base = 1741083072
    first = [{"at": base + n} for n in range(10)]
    make(pages=[first], lookback=60)
    make(pages=[[*first[3:], {"at": base + 5, "late": True}]], lookback=60)
    connector = make(pages=[[*first[3:], {"at": base + 5, "late": True}, {"at": base + 20}]], lookback=60)
    assert multiset(plain(delivered())) == multiset([*first, {"at": base + 5, "late": True}, {"at": base + 20}])
    assert connector.since == str(base + 20 - 60)


def test_an_empty_page_changes_nothing(make, delivered, cache):
    make(pages=[entries(3)])
    before = {kind: value for kind, value in cache.scan("") if not kind.pk.startswith(("last_run", "history"))}
    connector = make(pages=[[]])
    after = {kind: value for kind, value in cache.scan("") if not kind.pk.startswith(("last_run", "history"))}
    assert connector.outcome == "succeeded"
    changed = {key.pk.split(".")[0] for key in before | after if before.get(key) != after.get(key)}
    assert changed == {"epoch"}


# --- pointers ---


def test_a_stream_without_a_pointer_says_so(make):
    with pytest.raises(NotFoundException):
        make(run=False).pointer  # noqa: B018


def test_setting_the_pointer_is_kept_at_once(make):
    connector = make(run=False)
    connector.pointer = 41
    connector.pointer = "42"
    again = make(run=False)
    assert (again.pointer, again.pointer_previous) == ("42", "41")
    again.pointer = ""
    with pytest.raises(NotFoundException):
        make(run=False).pointer  # noqa: B018


def test_setting_the_pointer_to_none_is_ignored_with_a_warning(make, caplog):
    connector = make(run=False)
    connector.pointer = "42"
    with caplog.at_level(logging.WARNING):
        connector.pointer = None
    assert connector.pointer == "42"
    assert "None" in caplog.text


def test_a_first_run_that_dies_resumes_from_the_pointer_it_set(make):
    def start(connector):
        connector.pointer = "100"

    make(pages=[start, RuntimeError("vendor")])
    assert make(run=False).pointer == "100"


def test_newest_first_moves_the_pointer_only_when_it_has_finished(make, delivered):
    connector = make(Newest, pages=[entries(9, 8), entries(7, 6), RuntimeError("vendor")])
    assert connector.outcome == "failed"
    view = make(Newest, run=False)
    with pytest.raises(NotFoundException):
        view.pointer  # noqa: B018
    assert (view.window_start, view.window_end, view.pointer_next) == ("9", "6", "9")
    connector = make(Newest, pages=[entries(9, 8), entries(7, 6), entries(5)])
    assert connector.pointer == "9"
    assert (connector.window_start, connector.window_end) == ("", "")
    assert multiset(plain(delivered())) == multiset([*entries(9, 8), *entries(7, 6), *entries(5)])


def test_a_newest_first_run_without_a_page_closes_nothing_unless_told_to(make):
    make(Newest, pages=[entries(9, 8), RuntimeError("vendor")])
    make(Newest, pages=[[]])
    assert make(Newest, run=False).window_start == "9"
    make(Newest, pages=[lambda connector: connector.complete()])
    assert make(Newest, run=False).pointer == "9"


def test_a_cursor_goes_with_its_page_and_also_alone(make):
    make(pages=[lambda connector: connector.save(entries(1), cursor="c1")])
    assert make(run=False).cursor == "c1"
    make(pages=[lambda connector: connector.save([], cursor="c2")])
    view = make(run=False)
    assert (view.cursor, view.pointer) == ("c2", "1")


def test_a_cursor_is_not_kept_when_its_page_fails(make, output, monkeypatch):
    monkeypatch.setattr(output, "stage", lambda *a, **k: (_ for _ in ()).throw(OSError("disk")))
    make(pages=[lambda connector: connector.save(entries(1), cursor="c1")])
    assert make(run=False).cursor is None


def test_the_pointer_path_and_the_order_may_be_set_on_the_instance(make):
    connector = make(run=False)
    connector.POINTER_PATH = '"@timestamp"'
    connector.LOG_ORDER = CHRONOLOGICAL
    connector.pages = [[{"@timestamp": 7}]]
    connector.run()
    assert connector.pointer == "7"


def test_an_unknown_order_is_an_error(make):
    connector = make(run=False)
    connector.LOG_ORDER = "SIDEWAYS"
    with pytest.raises(ConfigurationException, match="SIDEWAYS"):
        connector.save(entries(1))


# --- what cannot be used ---


def test_a_wrong_pointer_path_is_an_error_that_names_it_and_writes_nothing(make, delivered):
    connector = make(run=False)
    connector.POINTER_PATH = "published"
    with pytest.raises(DataFormatException, match="published"):
        connector.save(entries(1, 2))
    assert delivered() == []


def test_entries_without_a_pointer_go_to_quarantine_once(make, delivered):
    page = [*entries(1), {"id": "lost"}, "text", None, *entries(2)]
    make(pages=[page])
    make(pages=[page[1:]])
    assert plain(delivered()) == [*entries(1), *entries(2)]
    aside = delivered("quarantine")
    assert plain(aside) == [{"id": "lost"}, {"value": "text"}]
    assert "pointer" in aside[0]["_grove"]["quarantine"]


class Failing(BaseProcessor):
    def process(self, entry):
        if entry["at"] == 2:
            raise KeyError("missing")
        entry["touched"] = True
        return [entry, {"at": entry["at"], "copy": True}]


class Counting(BaseProcessor):
    finalized = 0

    def finalize(self):
        type(self).finalized += 1

    def process(self, entry):
        return [entry]


def with_processors(make, *processors, pages, **config):
    connector = make(run=False)
    connector._processors = [
        kind(BaseProcessor.Configuration(name=kind.__name__, processor="x")) for kind in processors
    ]
    for processor in connector._processors:
        for name, value in config.items():
            object.__setattr__(processor.configuration, name, value)
    connector.pages = pages
    connector.run()
    return connector


def test_an_entry_that_fails_in_a_processor_is_set_aside_and_blocks_nothing(make, delivered):
    connector = with_processors(make, Failing, pages=[entries(1, 2, 3)])
    assert connector.pointer == "3"
    assert len(delivered("logs")) == 3
    assert [entry["at"] for entry in delivered("processed")] == [1, 1, 3, 3]
    (aside,) = delivered("quarantine")
    assert aside["at"] == 2
    assert "KeyError" in aside["_grove"]["quarantine"]
    assert "touched" not in json.dumps(delivered("logs"))


def test_the_strict_way_fails_the_page(make, delivered):
    connector = with_processors(make, Failing, pages=[entries(1, 2, 3)], on_error="fail")
    assert connector.outcome == "failed"
    assert delivered() == delivered("processed") == []


def test_results_are_not_fed_back_and_finalize_follows_each_page(make, delivered):
    Counting.finalized = 0
    with_processors(make, Failing, Counting, pages=[entries(1), entries(3)])
    assert Counting.finalized == 2
    assert len(delivered("processed")) == 4


# --- the run ---


def test_a_failed_page_poisons_the_run_whatever_collect_catches(make, output, delivered, monkeypatch):
    stage, calls = output.stage, []

    def failing(name, data):
        calls.append(name)
        if len(calls) == 2:
            raise OSError("disk")
        return stage(name, data)

    monkeypatch.setattr(output, "stage", failing)

    def swallow(connector):
        with pytest.raises(OSError, match="disk"):
            connector.save(entries(2))
        with pytest.raises(PoisonedRunError):
            connector.save(entries(3))

    connector = make(pages=[entries(1), swallow])
    assert connector.outcome == "failed"
    assert make(run=False).pointer == "1"
    make(pages=[entries(1), entries(2), entries(3)])
    assert len(delivered()) == 3


def test_an_unexpected_error_is_logged_with_its_traceback_and_ends_the_run(make, caplog):
    with caplog.at_level(logging.ERROR):
        connector = make(pages=[ValueError("surprise")])
    assert connector.outcome == "failed"
    assert any(record.exc_info for record in caplog.records)
    assert make(pages=[entries(1)]).outcome == "succeeded"


def test_one_holder_at_a_time(make):
    first, second = make(run=False), make(run=False)
    first.lock()
    with pytest.raises(ConcurrencyException):
        second.run()
    assert second.outcome == "locked"
    with pytest.raises(ConcurrencyException):
        second.unlock()
    first.unlock()
    second.run()
    assert second.outcome == "succeeded"


def test_a_holder_that_lost_its_stream_cannot_commit(make, delivered, cache):
    slow = make(run=False)
    slow.lock()
    cache.delete(slow.cache_key("execution_lock"), "all")
    make(pages=[entries(1)])
    with pytest.raises(ConcurrencyException):
        slow.save(entries(1))
    assert len(delivered()) == 1


def test_stopping_ends_the_run_without_marking_it_as_done(make):
    connector = make(run=False)
    connector.pages = [entries(1), lambda c: c.stopping.set(), entries(2)]
    connector.run()
    assert connector.outcome == "stopped"
    assert connector.due()
    with pytest.raises(StoppedError):
        connector.wait(60)


def test_due_follows_the_frequency_and_ignores_a_run_in_the_future(make):
    connector = make(run=False, frequency=60)
    assert connector.due()
    now = datetime.datetime.now(datetime.UTC)
    connector.last = now
    assert not connector.due()
    connector.last = now - datetime.timedelta(seconds=61)
    assert connector.due()
    connector.last = now + datetime.timedelta(days=1)
    assert connector.due()


# --- overriding ---


def test_both_spellings_of_the_name():
    class Old(BaseConnector):
        NAME = "old_name"

        def collect(self):
            """Nothing."""

    class New(BaseConnector):
        CONNECTOR = "new_name"

        def collect(self):
            """Nothing."""

    assert (Old.CONNECTOR, Old.NAME) == ("old_name", "old_name")
    assert (New.CONNECTOR, New.NAME) == ("new_name", "new_name")


def test_an_overridden_hash_decides(make, delivered):
    class ById(Scripted):
        def hash_entry(self, entry):
            return f"{entry['id']:032d}"

    make(ById, pages=[[{"at": 1, "id": 1, "seen": 0}], [{"at": 1, "id": 1, "seen": 1}]])
    make(ById, pages=[[{"at": 1, "id": 1, "seen": 2}, {"at": 1, "id": 2, "seen": 2}]])
    assert [entry["id"] for entry in delivered()] == [1, 2]


def test_an_overridden_deduplication_decides(make, delivered):
    class Everything(Scripted):
        def deduplicate_by_hash(self, candidates):
            return candidates

    make(Everything, pages=[entries(1), entries(1)])
    assert len(delivered()) == 2


def test_overridden_metadata_and_cache_key_are_used(make, delivered, cache):
    class Own(Scripted):
        def metadata(self):
            return {**super().metadata(), "team": "blue"}

        def cache_key(self, prefix="pointer"):
            return f"{prefix}.own"

    make(Own, pages=[entries(1)])
    assert delivered()[0]["_grove"]["team"] == "blue"
    assert cache.get("pointer.own", "all") == "1"


def test_an_overridden_process_feeds_the_processed_stream(make, delivered):
    class Shout(Scripted):
        def process(self, entries):
            return [{"loud": entry["id"].upper()} for entry in entries]

    make(Shout, pages=[entries(1)])
    assert plain(delivered("processed")) == [{"loud": "0-1"}]


def test_process_and_write_can_be_called_by_itself(make, delivered):
    connector = make(pages=[lambda c: c.process_and_write(entries(1))])
    assert connector.outcome == "succeeded"
    assert connector._saved == {"logs": 1}
    assert len(delivered()) == 1


def test_hashes_can_be_read_set_and_saved(make, delivered):
    connector = make(pages=[entries(1)])
    assert connector.hash_entries(entries(1)) == {"1": {connector.hash_entry(entries(1)[0])}}
    assert connector.hashes == connector.hash_entries(entries(1))

    def known(connector):
        connector.hashes = {"1": {connector.hash_entry({"at": 1, "id": "known"})}}
        connector.save_hashes()

    make(pages=[known])
    make(pages=[[{"at": 1, "id": "known"}, {"at": 1, "id": "new"}]])
    assert sorted(entry["id"] for entry in delivered()) == ["0-1", "new"]


def test_deduplication_by_pointer_in_both_orders(make):
    oldest, newest = make(run=False), make(Newest, run=False, operation="other")
    oldest.pointer = newest.pointer = "2"
    assert oldest.deduplicate_by_pointer(entries(1, 2, 3)) == entries(1, 2, 3)[2:]
    assert newest.deduplicate_by_pointer(entries(3, 2, 1)) == entries(3, 2, 1)[:1]
    assert oldest.deduplicate_by_pointer(entries(7, 8)) == entries(7, 8)


# --- other outputs ---


class Submitting(BaseOutput):
    def __init__(self):
        self.calls = []

    def setup(self):
        """Nothing."""

    def submit(self, *args, **kwargs):
        self.calls.append(kwargs)


def test_an_output_that_can_only_submit_gets_every_descriptor(cache):
    output = Submitting()
    config = ConnectorConfig(
        name="n", identity="i", connector="c", key="k", outputs={"a": "raw", "b": "raw", "p": "processed"}
    )
    connector = Scripted(config, CONTEXT, cache=cache, output=output)
    connector.pages = [entries(1), entries(2)]
    connector.run()
    assert [(call["descriptor"], call["part"]) for call in output.calls] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
        ("b", 1),
    ]
    assert output.calls[0]["name"] == "n"


# --- moving in ---


def test_state_of_an_older_deployment_is_picked_up(make, delivered, cache):
    import hashlib

    old = [{"at": 5, "id": "a"}, {"at": 5, "id": "b"}]
    digests = [
        hashlib.md5(json.dumps(entry, separators=(",", ":")).encode(), usedforsecurity=False).hexdigest()
        for entry in old
    ]
    connector = make(run=False)
    cache.set(connector.cache_key("pointer"), "all", "5")
    cache.set(connector.cache_key("deduplication"), "all", json.dumps(digests))
    make(pages=[[*old, {"at": 5, "id": "c"}, {"at": 6, "id": "d"}]])
    assert [entry["id"] for entry in delivered()] == ["c", "d"]
    with pytest.raises(NotFoundException):
        cache.get(connector.cache_key("deduplication"), "all")


def test_a_window_of_an_older_deployment_becomes_an_interval(make, delivered, cache):
    connector = make(Newest, run=False)
    for kind, value in {"pointer": "1", "window_start": "9", "window_end": "6", "pointer_next": "9"}.items():
        cache.set(connector.cache_key(kind), "all", value)
    make(Newest, pages=[entries(11, 10), entries(8, 7), entries(5, 2)])
    assert [entry["at"] for entry in delivered()] == [11, 10, 5, 2]
    assert make(Newest, run=False).pointer == "11"
    assert not [key for key, _ in cache.scan("window_")]


def test_an_expired_lock_of_an_older_deployment_is_taken_over(make, cache):
    connector = make(run=False)
    cache.set(connector.cache_key("execution_lock"), "all", "2020-01-01T00:00:00.000000Z")
    assert make(pages=[entries(1)]).outcome == "succeeded"


def test_a_key_that_holds_no_usable_state_names_the_stream(make, cache):
    make(pages=[entries(1)])
    connector = make(run=False)
    cache.set(connector.cache_key("boundary"), "all", "{broken")
    connector.pages = [entries(2)]
    connector.run()
    assert connector.outcome == "failed"
    assert cache.read([Key(connector.cache_key("pointer"), "all")]) == ["1"]


# --- how a run opens and ends ---


def test_a_cache_of_somebody_else_that_breaks_ends_the_run_with_its_traceback(make, cache, monkeypatch, caplog):
    connector = make(run=False, pages=[entries(1)])
    with monkeypatch.context() as patch:
        patch.setattr(cache, "read", lambda keys: {}["surprise"])
        connector.run()
    assert (connector.outcome, type(connector.failure)) == ("failed", KeyError)
    assert any(record.exc_info for record in caplog.records)
    connector.run()
    assert connector.outcome == "succeeded"


@pytest.mark.parametrize("error", [AccessException("made up"), KeyError("surprise")])
def test_a_lease_that_cannot_be_given_back_is_said_and_the_next_run_goes_on(make, cache, monkeypatch, caplog, error):
    real = cache.apply

    def apply(batch):
        if any(key.pk.startswith("last_run.") for key in batch.changes):
            raise error
        real(batch)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "apply", apply)
        connector = make(pages=[entries(1)])
    assert connector.outcome == "succeeded"
    (record,) = caplog.records
    assert bool(record.exc_info) == isinstance(error, KeyError)
    assert record.identity == "corp"
    # This process knows that it has let go of it.
    assert make(pages=[entries(1, 2)]).outcome == "succeeded"


def test_a_connector_may_lock_and_unlock_by_itself(make, cache, delivered, frozen):
    def by_hand(connector):
        key = (connector.cache_key("execution_lock"), "all")
        before = cache.get(*key)
        frozen.advance(60)
        connector.lock()
        assert cache.get(*key) > before
        connector.save(entries(1))
        connector.unlock()
        assert cache.read([Key(*key)]) == [None]

    assert make(pages=[by_hand]).outcome == "succeeded"
    assert make(pages=[lambda connector: connector.unlock(), entries(1, 2)]).outcome == "succeeded"
    assert plain(delivered()) == [*entries(1), *entries(1, 2)[1:]]


def test_a_run_that_fails_without_its_lease_has_nothing_to_give_back(make, caplog):
    connector = make(pages=[lambda connector: connector.unlock(), AccessException("made up")])
    assert connector.failure.args == ("made up",)
    assert [record.message for record in caplog.records] == ["Collection did not complete."]


def test_a_pointer_that_could_not_be_set_holds_up_the_run(make, cache, monkeypatch):
    real = cache.apply

    def refuse(batch):
        if any(key.pk.startswith("pointer.") for key in batch.changes):
            raise AccessException("made up")
        real(batch)

    def swallow(connector):
        with monkeypatch.context() as patch:
            patch.setattr(cache, "apply", refuse)
            with pytest.raises(AccessException):
                connector.pointer = "7"
        with pytest.raises(PoisonedRunError):
            connector.save(entries(9))

    connector = make(pages=[swallow])
    assert isinstance(connector.failure, PoisonedRunError)
    with pytest.raises(NotFoundException):
        make(run=False).pointer  # noqa: B018


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_lock_duration_that_is_none_is_refused_at_once(make, monkeypatch, text):
    monkeypatch.setenv("GROVE_LOCK_DURATION", text)
    with pytest.raises(ConfigurationException, match="GROVE_LOCK_DURATION"):
        make(run=False)


def test_the_lock_duration_can_be_set(make, cache, frozen, monkeypatch):
    monkeypatch.setenv("GROVE_LOCK_DURATION", "7.5")
    connector = make(run=False)
    connector.lock()
    assert cache.get(connector.cache_key("execution_lock"), "all") == "2025-03-04T10:11:19.500000Z"


def test_a_last_run_that_is_no_date_is_none(make, cache):
    connector = make(run=False)
    cache.set(connector.cache_key("last_run"), "all", "yesterday")
    assert connector.due()
    with pytest.raises(NotFoundException, match="yesterday"):
        connector.last  # noqa: B018


def test_a_connector_that_does_not_ask_for_its_lookback_is_told(make, caplog):
    caplog.set_level(logging.DEBUG)
    make(pages=[entries(1)], lookback=60)
    assert "did not ask" in caplog.text
    caplog.clear()
    make(pages=[lambda connector: connector.since, entries(1)], lookback=60)
    assert "did not ask" not in caplog.text


# --- what a subclass may do ---


def test_a_class_without_a_name_has_that_of_its_parent():
    class Child(Scripted):
        NAME = None

    class Grandchild(Child):
        pass

    class Both(Scripted):
        CONNECTOR = "one"
        NAME = "two"

    assert (Child.CONNECTOR, Grandchild.CONNECTOR) == ("scripted", "scripted")
    assert (Both.CONNECTOR, Both.NAME) == ("one", "two")


def test_an_overridden_deduplication_may_begin_with_ours(make, delivered):
    class Even(Scripted):
        def deduplicate_by_hash(self, candidates):
            return [entry for entry in super().deduplicate_by_hash(candidates) if entry["at"] % 2 == 0]

    make(Even, pages=[entries(1, 2), entries(1, 2, 4)])
    make(Even, pages=[entries(4, 6)])
    assert [entry["at"] for entry in delivered()] == [2, 4, 4, 6]


def test_an_overridden_process_may_begin_with_the_processors(make, delivered):
    class Counted(Scripted):
        def process(self, entries):
            return [{**entry, "of": len(entries)} for entry in super().process(entries)]

    connector = make(Counted, run=False, pages=[entries(1, 2)])
    connector._processors = [Counting(BaseProcessor.Configuration(name="counting", processor="x"))]
    connector.run()
    assert [entry["of"] for entry in delivered("processed")] == [2, 2]


def test_overridden_saving_of_hashes_and_windows_is_called(make, cache):
    calls = []

    class Old(Newest):
        def save_hashes(self):
            calls.append("hashes")

        def save_window_start(self):
            calls.append("start")
            super().save_window_start()

        def save_window_end(self):
            calls.append("end")

    make(Old, pages=[entries(9), entries(8)])
    assert calls == ["start", "end", "start", "end", "hashes"]


def test_windows_can_be_set_and_saved_by_hand(make, cache):
    connector = make(Newest, run=False)
    assert (connector.window_start, connector.window_end) == ("", "")
    connector.window_start, connector.window_end = "9", "5"
    assert (connector.window_start, connector.window_end) == ("9", "5")
    view = make(Newest, run=False)
    assert view.window_start == ""
    connector.save_window_start()
    connector.save_window_end()
    connector.unlock()
    assert (view.window_start, view.window_end) == ("9", "5")
    connector.window_end = ""
    connector.save_window_end()
    connector.unlock()
    assert view.window_start == ""
    assert make(run=False).window_start == ""


def test_a_window_that_nobody_set_is_not_saved(make, cache):
    connector = make(Newest, pages=[lambda connector: connector.save_window_start(), entries(9)])
    assert connector.outcome == "succeeded"
    assert cache.get(connector.cache_key("sequence"), "all") == "2"


def test_the_next_pointer_can_be_set_and_is_that_of_an_older_deployment(make, cache):
    connector = make(Newest, run=False)
    with pytest.raises(NotFoundException):
        connector.pointer_next  # noqa: B018
    cache.set(connector.cache_key("pointer_next"), "all", "7")
    assert connector.pointer_next == "7"

    def ahead(connector):
        connector.pointer_next = "11"
        assert connector.pointer_next == "11"

    assert make(Newest, pages=[ahead, entries(9, 8)]).pointer == "11"


def test_a_stream_without_a_pointer_has_neither_hashes_nor_anything_to_drop(make):
    connector = make(run=False)
    assert connector.hashes == {}
    assert connector.deduplicate_by_pointer(entries(1, 2)) == entries(1, 2)
    connector.save_hashes()
    assert make(run=False).hashes == {}
    connector.pointer = "1"
    assert connector.hashes == {}


def test_streams_that_differ_in_a_field_of_their_own_are_kept_apart(make, delivered):
    class Scoped(Scripted):
        STREAM_FIELDS = ("scope",)

    make(Scoped, pages=[entries(1)], scope="a")
    make(Scoped, pages=[entries(1)], scope="b")
    make(Scoped, pages=[entries(1)], scope="a")
    assert len(delivered()) == 2
    assert make(Scoped, run=False, scope="a").cache_key() != make(Scoped, run=False, scope="b").cache_key()


@pytest.mark.parametrize("expression", ["a[", 7])
def test_a_pointer_path_that_is_no_expression_is_an_error_that_shows_it(make, delivered, expression):
    connector = make(run=False)
    connector.POINTER_PATH = expression
    with pytest.raises(ConfigurationException, match="POINTER_PATH"):
        connector.save(entries(1))
    assert delivered() == []


# --- handlers ---


class Csv(Submitting):
    """An output with a format of its own."""

    def serialize(self, data, metadata={}):  # noqa: B006
        return ",".join([*(entry.get("id", "") for entry in data), metadata.get("quarantine", "")]).encode()


def test_an_output_with_a_format_of_its_own_makes_all_of_its_objects(cache):
    output = Csv()
    config = ConnectorConfig(name="n", identity="i", connector="c", key="k", outputs={"logs": "raw"})
    connector = Scripted(config, CONTEXT, cache=cache, output=output)
    connector.pages = [[*entries(1, 2), {"id": "lost"}]]
    connector.run()
    assert [(call["descriptor"], call["data"]) for call in output.calls] == [
        ("logs", b"0-1,1-2,"),
        ("quarantine", b"lost,no value at the pointer path"),
    ]


def test_an_output_with_a_packing_of_its_own_packs_what_was_encoded(cache):
    class Plain(Submitting):
        def pack(self, ndjson):
            return b"plain:" + ndjson

    output = Plain()
    config = ConnectorConfig(name="n", identity="i", connector="c", key="k", outputs={"logs": "raw"})
    connector = Scripted(config, CONTEXT, cache=cache, output=output)
    connector.pages = [entries(1)]
    connector.run()
    (call,) = output.calls
    assert call["data"].startswith(b'plain:{"at":1,"id":"0-1","_grove":{')


def test_handlers_are_those_of_the_environment(tmp_path, monkeypatch):
    from grove.caches.local_file import Handler as FileCache

    monkeypatch.setenv("GROVE_CACHE_HANDLER", "local_file")
    monkeypatch.setenv("GROVE_CACHE_LOCAL_FILE_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("GROVE_OUTPUT_HANDLER", "local_stdout")
    connector = Scripted(ConnectorConfig(name="n", identity="i", connector="c", key="k"), CONTEXT)
    connector.pages = [entries(1)]
    connector.run()
    assert isinstance(connector._cache, FileCache)
    assert connector.pointer == "1"
