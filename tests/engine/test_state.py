"""Committed state: what cannot be read is an error, and a commit whose outcome is not known is looked at again."""

import json

import pytest

from grove.caches import BaseCache, Key
from grove.caches.local_memory import Handler as MemoryCache
from grove.exceptions import (
    AccessException,
    ConcurrencyException,
    CorruptStateError,
    GroveException,
    NotFoundException,
)
from grove.lease import Lease, Record
from grove.state import KINDS, StreamState, store_id
from grove.window import Boundary
from tests.engine.conftest import Newest, plain


def stored(cache, connector, kind):
    return cache.read([Key(connector.cache_key(kind), "all")])[0]


# --- what is stored and cannot be used ---


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("pointer", ""),
        ("epoch", "one"),
        ("sequence", "1.5"),
        ("boundary", "{broken"),
        ("boundary", '{"pointer": "1"}'),
        ("boundary", "7"),
        ("intervals", '[{"high": "2"}]'),
        ("intervals", "7"),
        ("loose", "7"),
        ("pending", "[7]"),
        ("pending", "broken"),
    ],
)
def test_a_record_that_cannot_be_used_stops_its_stream_and_says_which(make, cache, delivered, kind, text):
    make(Newest, pages=[[{"at": 1}]])
    connector = make(Newest, run=False, pages=[[{"at": 2}]])
    cache.set(connector.cache_key(kind), "all", text)
    connector.run()
    assert isinstance(connector.failure, CorruptStateError)
    assert f"The cached {kind} of stream {connector.cache_key('stream')}/all" in str(connector.failure)
    assert "backup" in str(connector.failure)
    assert plain(delivered()) == [{"at": 1}]
    # The lease is not in the way of whoever repairs the record.
    assert stored(cache, connector, "execution_lock") is None


@pytest.mark.parametrize("text", ["broken", "{}", "[]", '{"kind": 1, "width": 9, "buckets": []}'])
def test_an_index_of_the_lookback_that_cannot_be_used_is_an_error(make, cache, delivered, text):
    connector = make(run=False, pages=[[{"at": 1}]], lookback=60)
    cache.set(connector.cache_key("lookback"), "all", text)
    connector.run()
    assert isinstance(connector.failure, CorruptStateError)
    assert "cached lookback" in str(connector.failure)
    assert delivered() == []


def test_hashes_of_an_older_deployment_that_cannot_be_read_are_an_error(make, cache, delivered):
    connector = make(run=False, pages=[[{"at": 2}]])
    cache.set(connector.cache_key("pointer"), "all", "1")
    cache.set(connector.cache_key("deduplication"), "all", "7")
    connector.run()
    assert "cached deduplication" in str(connector.failure)
    assert delivered() == []


def test_a_boundary_that_was_kept_for_another_pointer_drops_nothing(make, cache, delivered):
    make(pages=[[{"at": 1}]])
    connector = make(run=False, pages=[[{"at": 1}, {"at": 2}]])
    # An older version of Grove, which knows no boundary, has set it back and forth.
    boundary = json.loads(stored(cache, connector, "boundary"))
    cache.set(connector.cache_key("boundary"), "all", json.dumps({**boundary, "pointer": "0"}))
    connector.run()
    assert plain(delivered()) == [{"at": 1}, {"at": 1}, {"at": 2}]


# --- commits that fail ---


class Failing:
    """Lets one change of a cache fail: before it had its effect, after it, or so that nobody can tell."""

    def __init__(self, monkeypatch, cache):
        self._patch, self._cache = monkeypatch, cache

    def next(self, *, applied, blind=False, error=None, kind=None):
        """Let the next change fail that touches a fact of that kind (any, where none is named)."""
        real = self._cache.apply

        def apply(batch):
            if kind is not None and not any(key.pk.startswith(f"{kind}.") for key in batch.changes):
                real(batch)
                return
            self._patch.setattr(self._cache, "apply", real)
            if applied:
                real(batch)
            if blind:
                self._blind()
            raise error or AccessException("made up")

        self._patch.setattr(self._cache, "apply", apply)

    def _blind(self):
        def refuse():
            raise AccessException("made up: cannot be reached")

        self._patch.setattr(self._cache, "reopen", refuse)

    def heal(self):
        self._patch.undo()


@pytest.fixture
def failing(cache):
    with pytest.MonkeyPatch.context() as patch:
        yield Failing(patch, cache)


def temporary(folder):
    return [path.name for path in folder.rglob(".*.tmp") if not path.name.startswith(".grove-output")]


def test_a_commit_that_was_refused_leaves_nothing_and_the_page_comes_again(make, cache, failing, delivered, tmp_path):
    make(pages=[[{"at": 1}]])
    failing.next(applied=False, kind="sequence")
    connector = make(pages=[[{"at": 2}]])
    assert connector.failure.args == ("made up",)
    assert temporary(tmp_path) == []
    assert stored(cache, connector, "pointer") == "1"
    make(pages=[[{"at": 2}]])
    assert plain(delivered()) == [{"at": 1}, {"at": 2}]


def test_a_commit_whose_reply_was_lost_counts(make, cache, failing, delivered):
    make(pages=[[{"at": 1}]])
    failing.next(applied=True, kind="sequence")
    connector = make(pages=[[{"at": 2}], [{"at": 3}]])
    assert connector.outcome == "succeeded"
    assert stored(cache, connector, "pointer") == "3"
    assert plain(delivered()) == [{"at": 1}, {"at": 2}, {"at": 3}]


@pytest.mark.parametrize("applied", [True, False])
def test_a_commit_that_nobody_can_look_up_is_decided_by_the_next_run(
    make, cache, failing, delivered, tmp_path, applied
):
    make(pages=[[{"at": 1}]])
    failing.next(applied=applied, blind=True, kind="sequence")
    connector = make(pages=[[{"at": 2}]])
    assert connector.outcome == "failed"
    assert plain(delivered()) == [{"at": 1}]
    # It may be the only copy.
    assert len(temporary(tmp_path)) == 1
    failing.heal()
    make(pages=[[{"at": 2}]])
    assert plain(delivered()) == [{"at": 1}, {"at": 2}]
    assert temporary(tmp_path) == []


def test_what_a_cache_of_somebody_else_raises_names_the_stream(make, failing):
    failing.next(applied=False, error=KeyError("surprise"), kind="sequence")
    connector = make(pages=[[{"at": 1}]])
    assert isinstance(connector.failure, GroveException)
    assert connector.cache_key("stream") in str(connector.failure)
    assert "surprise" in str(connector.failure)


def test_another_holders_commit_of_the_same_number_is_not_taken_for_ones_own(make, cache, delivered, monkeypatch):
    real = cache.apply

    def apply(batch):
        if not any(key.pk.startswith("sequence.") for key in batch.changes):
            real(batch)
            return
        monkeypatch.setattr(cache, "apply", real)
        # The reply is lost, the change too, and another process has taken over and committed its own.
        cache.set(connector.cache_key("epoch"), "all", "2")
        cache.set(connector.cache_key("sequence"), "all", "1")
        raise AccessException("made up")

    monkeypatch.setattr(cache, "apply", apply)
    connector = make(run=False, pages=[[{"at": 1}]])
    connector.run()
    assert connector.failure.args == ("made up",)
    assert delivered() == []


# --- taking a stream ---


def state(cache):
    return StreamState(cache, lambda kind: f"{kind}.scripted.corp", "all")


def lease(cache):
    return Lease(state(cache), 300.0, 3600.0)


def test_a_lease_whose_reply_was_lost_is_held(cache, failing):
    mine = lease(cache)
    failing.next(applied=True)
    mine.take()
    assert mine.state.epoch == 1
    mine.state.commit({"pointer": "1"})
    mine.give_back({}, clean=True)


def test_a_lease_that_was_refused_is_not_held(cache, failing):
    mine = lease(cache)
    failing.next(applied=False)
    with pytest.raises(AccessException):
        mine.take()
    lease(cache).take()


def test_two_that_take_the_same_epoch_are_told_apart(cache, monkeypatch):
    mine, rival = lease(cache), lease(cache)
    real = cache.apply

    def apply(batch):
        monkeypatch.setattr(cache, "apply", real)
        rival.take()
        raise AccessException("made up")

    monkeypatch.setattr(cache, "apply", apply)
    with pytest.raises(AccessException):
        mine.take()
    assert rival.state.epoch == 1
    assert Record.decode(cache.get("lease.scripted.corp", "all")).nonce == rival.nonce


# --- state under earlier keys ---


def moving_in(cache):
    found = StreamState(cache, lambda kind: f"{kind}.scripted.corp", "all", lambda kind: f"{kind}.before")
    return Lease(found, 300.0, 3600.0)


def test_state_under_earlier_keys_moves_with_the_first_lease_and_not_before(cache):
    cache.set("pointer.before", "all", "5")
    cache.set("window_start.before", "all", "9")
    cache.set("boundary.before", "all", "never stored there")
    mine = moving_in(cache)
    mine.state.load()
    assert (mine.state.get("pointer"), mine.state.get("window_start")) == ("5", "9")
    assert cache.get("pointer.before", "all") == "5"
    mine.take()
    assert cache.read([Key("pointer.before", "all"), Key("window_start.before", "all")]) == [None, None]
    assert cache.get("pointer.scripted.corp", "all") == "5"
    # From then on it is found where it is kept now.
    mine.state.commit({"pointer": "6"})
    mine.give_back({}, clean=True)
    cache.set("pointer.before", "all", "7")
    again = moving_in(cache)
    again.take()
    assert again.state.get("pointer") == "6"
    assert cache.get("pointer.before", "all") == "7"


def test_of_two_streams_that_find_the_same_earlier_state_one_gets_it(cache, monkeypatch):
    cache.set("pointer.before", "all", "5")
    mine = moving_in(cache)
    real = cache.apply

    def apply(batch):
        monkeypatch.setattr(cache, "apply", real)
        cache.delete("pointer.before", "all")
        real(batch)

    monkeypatch.setattr(cache, "apply", apply)
    with pytest.raises(ConcurrencyException):
        mine.take()
    assert cache.read([Key("pointer.scripted.corp", "all")]) == [None]


# --- what a commit writes ---


def test_a_commit_writes_what_has_changed_and_nothing_else(cache, monkeypatch):
    mine = lease(cache)
    mine.take()
    mine.state.commit({"pointer": "1", "cursor": "c", "boundary": None})
    real, batches = cache.apply, []
    monkeypatch.setattr(cache, "apply", lambda batch: (batches.append(batch), real(batch)))
    other = Key("lookback-7-0.scripted.corp", "all")
    mine.state.commit({"pointer": "2", "cursor": "c", "boundary": None, "pointer_previous": "1"}, {other: "x"})
    (batch,) = batches
    written = {key.pk.partition(".")[0]: value for key, value in batch.changes.items()}
    assert written == {"sequence": "2", "pointer": "2", "pointer_previous": "1", "lookback-7-0": "x"}
    mine.state.commit({"cursor": None}, {other: None})
    assert cache.read([Key("cursor.scripted.corp", "all"), other]) == [None, None]
    assert (mine.state.get("pointer"), mine.state.get("cursor"), mine.state.sequence) == ("2", None, 3)


def test_a_holder_that_was_overtaken_can_change_nothing(cache):
    mine = lease(cache)
    mine.take()
    cache.set("epoch.scripted.corp", "all", "9")
    before = {key: value for key, value in cache.scan("")}
    with pytest.raises(ConcurrencyException, match=r"stream\.scripted\.corp/all is held by another"):
        mine.state.commit({"pointer": "1"})
    with pytest.raises(ConcurrencyException):
        mine.state.refresh({"last_run": "x"})
    assert {key: value for key, value in cache.scan("")} == before
    assert mine.state.get("pointer") is None


def test_a_commit_that_somebody_has_made_in_between_is_refused_in_the_same_epoch(cache):
    mine = lease(cache)
    mine.take()
    twin = state(cache)
    twin.load()
    mine.state.commit({"pointer": "1"})
    with pytest.raises(ConcurrencyException):
        twin.commit({"pointer": "0"})
    assert cache.get("pointer.scripted.corp", "all") == "1"


def test_every_fact_is_read_in_one_snapshot(cache, monkeypatch):
    real, reads = cache.read, []
    monkeypatch.setattr(cache, "read", lambda keys: (reads.append(keys), real(keys))[1])
    state(cache).load()
    assert [[key.pk.partition(".")[0] for key in keys] for keys in reads] == [list(KINDS)]


# --- a stream whose records cannot be read ---


def test_what_no_run_can_go_on_from_is_named(cache):
    found = state(cache)
    assert found.unreadable() == []
    boundary = Boundary("5", {"a"}).encode()
    usable = {"epoch": "3", "sequence": "4", "pointer": "5", "boundary": boundary, "deduplication": '["a"]'}
    usable |= {"intervals": "[]", "loose": '["a"]', "pending": "[{}]", "manifest": "{}", "cursor": "{"}
    damaged = {"epoch": "", "sequence": "4.5", "pointer": "", "boundary": "7", "deduplication": "7"}
    damaged |= {"intervals": "7", "loose": "7", "pending": "[7]", "manifest": "7", "lookback": "broken"}
    for kind, text in usable.items():
        cache.set(f"{kind}.scripted.corp", "all", text)
    assert found.unreadable() == []
    for kind, text in damaged.items():
        cache.set(f"{kind}.scripted.corp", "all", text)
    assert set(found.unreadable()) == set(damaged)


def test_a_stream_that_starts_over_keeps_what_says_who_may_change_it(cache):
    mine = lease(cache)
    mine.take()
    mine.state.commit({"pointer": "1", "boundary": "7", "pending": "broken"}, {Key("lookback-7-0", "all"): "x"})
    found = state(cache)
    assert found.unreadable() == ["boundary", "pending"]
    found.start_over(["boundary", "pending"], [Key("lookback-7-0", "all")])
    left = {key.pk.partition(".")[0]: value for key, value in cache.scan("") if key.pk.endswith(".scripted.corp")}
    assert (left["epoch"], left["sequence"]) == ("2", "2")
    assert left.keys() == {"epoch", "sequence", "execution_lock", "lease"}
    assert cache.read([Key("lookback-7-0", "all")]) == [None]
    with pytest.raises(ConcurrencyException):
        mine.state.commit({"pointer": "2"})


@pytest.mark.parametrize("kind", ["epoch", "sequence"])
def test_a_number_that_cannot_be_read_becomes_one_that_none_has_reached(cache, kind):
    mine = lease(cache)
    mine.take()
    mine.state.commit({"pointer": "1"})
    cache.set(f"{kind}.scripted.corp", "all", "broken")
    found = state(cache)
    assert found.unreadable() == [kind]
    found.start_over([kind], [])
    again = state(cache)
    again.load()
    other = {"epoch": again.sequence, "sequence": again.epoch}[kind]
    assert (getattr(again, kind) > 10**9, other) == (True, 2)


def test_a_stream_that_moves_meanwhile_does_not_start_over(cache):
    mine = lease(cache)
    mine.take()
    found = state(cache)
    assert found.unreadable() == []
    mine.state.commit({"pointer": "1"})
    with pytest.raises(ConcurrencyException):
        found.start_over([], [])
    assert cache.get("pointer.scripted.corp", "all") == "1"


def test_what_was_kept_under_earlier_keys_is_forgotten_with_the_rest(cache):
    cache.set("pointer.before", "all", "5")
    cache.set("deduplication.before", "all", "7")
    found = moving_in(cache).state
    assert found.unreadable() == ["deduplication"]
    found.start_over(["deduplication"], [])
    assert {key.pk for key, _ in cache.scan("")} == {"epoch.scripted.corp", "sequence.scripted.corp"}


# --- the store's own name ---


def test_a_store_is_named_once_and_for_all_its_handlers(cache, monkeypatch):
    first = store_id(cache)
    assert len(first) == 16
    assert int(first, 16) >= 0
    other = MemoryCache()
    assert store_id(other) == first
    # It is looked up once, since it is a part of every object's name.
    monkeypatch.setattr(cache, "get", lambda *key: pytest.fail("asked again"))
    assert store_id(cache) == first
    cache.reset()
    assert store_id(MemoryCache()) != first


@pytest.mark.parametrize("lost", [True, False])
def test_of_two_that_name_a_store_at_once_both_use_one_name(cache, monkeypatch, lost):
    real = cache.set

    def set_(pk, sk, value, **condition):
        monkeypatch.setattr(cache, "set", real)
        real(pk, sk, value if lost else "0" * 16)
        if lost:
            raise AccessException("made up: the reply was lost")
        real(pk, sk, value, **condition)

    monkeypatch.setattr(cache, "set", set_)
    found = store_id(cache)
    assert found == store_id(MemoryCache())
    assert (found == "0" * 16) is not lost


def test_a_store_that_cannot_be_named_is_an_error(monkeypatch):
    class Deaf(BaseCache):
        def get(self, pk, sk):
            raise NotFoundException(pk)

        def set(self, pk, sk, value, not_set=False, constraint=None):
            raise AccessException("made up")

    with pytest.raises(NotFoundException):
        store_id(Deaf())
