"""What every cache has to do, as tests that the author of a handler inherits.

    class TestMyCache(CacheContract):
        def make_cache(self, tmp_path):
            return my_package.Handler(...)

Two handlers made for one `tmp_path` reach the same store; another `tmp_path` begins with an empty one. What a store
cannot do is overridden with a `pytest.skip` that says why. Some tests make the cache in processes of their own: they
load the test class from its file and copy what is on `self`, which has to be JSON.
"""

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import ClassVar, Protocol

import pytest
from blake3 import blake3

from grove.caches import BaseCache, Batch, Key
from grove.exceptions import (
    AccessException,
    ConflictError,
    DataFormatException,
    NotFoundException,
    NotImplementedException,
)
from grove.state import StreamState
from grove.testing import _cache_worker

__all__ = ["CacheContract", "Link"]

STREAM = "contract.d41d8cd98f00b204e9800998ecf8427e"
POINTER = Key(f"pointer.{STREAM}", "all")
WINDOW = Key(f"window.{STREAM}", "all")
LEASE = Key(f"lease.{STREAM}", "all")

VALUES = {
    "ascii": "2024-02-29T23:59:59Z",
    "unicode": "Zürich, 東京, \U0001f333",
    "newline": "one\ntwo\n",
    "crlf": "one\r\ntwo\rthree",
    "line-separators": "a\u2028b\u2029c\x85d",
    "nul": "before\0after",
    "blank": " ",
    "edges": "\t padded \n",
    "json": '{"pointer": "1", "hashes": ["\\u0000", null]}',
    "byte-order-mark": "\ufefftext",
    "long": "0123456789abcdef" * 4096,
}

SORT_KEYS = {
    "empty": "",
    "dots": "..",
    "parent": "../x",
    "absolute": "/etc/passwd",
    "slashes": "a/b//c/",
    "nul": "a\0b",
    "percent": "a%2Fb",
    "space": "a b",
    "hidden": ".lock",
    "unicode": "événements",
    "upper": "ALL",
    "long": "o" * 300,
}

ROUNDS = 40
HASHES = 1_000_000


class Link(Protocol):
    """What lies between a cache and its store, and can be told to lose a reply."""

    lost: bool
    """Whether it has done so since it was told."""

    def lose(self, exchange: int) -> None:
        """Let so many exchanges pass from now on, and lose the reply of the next one: the store has acted on it."""


class CacheContract:
    """For every cache: give `make_cache`, and the fixture `distant` where a network lies in between."""

    FIGHTS: ClassVar[int] = 100
    """How often each of two processes takes the lock from the other."""

    def make_cache(self, tmp_path: Path) -> BaseCache:
        """A handler, not set up yet, for the store that belongs to `tmp_path`."""
        raise NotImplementedError("Override `make_cache` to return the handler that is to be tested.")

    @pytest.fixture
    def distant(self, tmp_path: Path) -> tuple[BaseCache, Link]:
        """A handler, not set up yet, for the store that belongs to `tmp_path`, and the link by which it gets there."""
        pytest.skip("nothing between this cache and its store can lose a reply")

    @pytest.fixture
    def cache(self, tmp_path: Path) -> BaseCache:
        """The handler, set up, over an empty store."""
        cache = self.make_cache(tmp_path)
        cache.setup()
        return cache

    # --- one value ---

    def test_it_says_from_where_it_can_be_reached(self, cache: BaseCache) -> None:
        assert cache.SCOPE in ("process", "host", "shared")

    def test_setup_can_be_repeated(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "1")
        cache.setup()
        assert cache.get(*POINTER) == "1"

    def test_nothing_is_found_in_an_empty_cache(self, cache: BaseCache) -> None:
        with pytest.raises(NotFoundException):
            cache.get(*POINTER)

    def test_a_value_is_found_again(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "1")
        assert cache.get(*POINTER) == "1"

    def test_a_value_is_replaced(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "a long value that is replaced")
        cache.set(*POINTER, "2")
        assert cache.get(*POINTER) == "2"

    def test_setting_the_same_value_again_is_harmless(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "1")
        cache.set(*POINTER, "1")
        assert cache.get(*POINTER) == "1"

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    def test_a_value_comes_back_unchanged(self, cache: BaseCache, value: str) -> None:
        cache.set(*POINTER, value)
        assert cache.get(*POINTER) == value

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    def test_a_value_in_a_batch_comes_back_unchanged(self, cache: BaseCache, value: str) -> None:
        cache.apply(Batch().set(POINTER, value).set(WINDOW, "w"))
        assert cache.read([POINTER, WINDOW]) == [value, "w"]

    def test_an_empty_value_is_kept_or_refused(self, cache: BaseCache) -> None:
        try:
            cache.set(*POINTER, "")
        except ValueError:
            assert cache.read([POINTER]) == [None]
        else:
            assert cache.get(*POINTER) == ""

    # --- keys ---

    def test_sort_keys_are_told_apart(self, cache: BaseCache) -> None:
        cache.set("pointer.a.b", "all", "1")
        cache.set("pointer.a.b", "other", "2")
        assert (cache.get("pointer.a.b", "all"), cache.get("pointer.a.b", "other")) == ("1", "2")

    def test_partitions_are_told_apart(self, cache: BaseCache) -> None:
        cache.set("pointer.a.b", "all", "1")
        cache.set("pointer.a.c", "all", "2")
        assert (cache.get("pointer.a.b", "all"), cache.get("pointer.a.c", "all")) == ("1", "2")

    def test_a_longer_partition_key_is_another(self, cache: BaseCache) -> None:
        cache.set("pointer.a.bc", "all", "1")
        with pytest.raises(NotFoundException):
            cache.get("pointer.a.b", "all")

    @pytest.mark.parametrize("sk", SORT_KEYS.values(), ids=SORT_KEYS)
    def test_any_sort_key_can_be_used(self, cache: BaseCache, sk: str) -> None:
        key = Key(POINTER.pk, sk)
        assert cache.read([key]) == [None]
        cache.set(*key, "1", not_set=True)
        cache.set(*key, "2", constraint="1")
        assert cache.get(*key) == "2"
        cache.delete(*key, constraint="2")
        assert cache.read([key]) == [None]

    def test_no_two_sort_keys_share_a_value(self, cache: BaseCache) -> None:
        # Each spelling below might be mistaken for another one by a store that makes names of them.
        keys = [Key(POINTER.pk, sk) for sk in (*SORT_KEYS.values(), "a/b", "a%20b", "a%00b", "all", "%", "a", "b")]
        for number, key in enumerate(keys):
            assert cache.read([key]) == [None], key
            cache.set(*key, str(number + 1))
        assert cache.read(keys) == [str(number + 1) for number in range(len(keys))]

    def test_a_sort_key_leaves_the_store_alone(self, cache: BaseCache, tmp_path: Path) -> None:
        around = sorted(tmp_path.parent.iterdir())
        for sk in SORT_KEYS.values():
            cache.set(POINTER.pk, sk, "1")
        assert sorted(tmp_path.parent.iterdir()) == around

    def test_long_keys_are_told_apart(self, cache: BaseCache) -> None:
        one, other = (Key(f"pointer.{'p' * 2000}", "s" * 2000 + end) for end in "ab")
        cache.set(*one, "1")
        assert cache.read([other]) == [None]
        cache.set(*other, "2")
        assert cache.read([one, other]) == ["1", "2"]

    def test_long_keys_are_told_apart_at_every_length(self, cache: BaseCache) -> None:
        keys = [Key(POINTER.pk, "s" * length) for length in (*range(120, 280, 13), 460, 511, 512, 2000)]
        for key in keys:
            cache.set(*key, str(len(key.sk)))
        assert cache.read(keys) == [str(len(key.sk)) for key in keys]

    # --- conditions ---

    def test_not_set_stores_where_there_is_nothing(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1", not_set=True)
        assert cache.get(*LEASE) == "1"

    def test_not_set_refuses_where_there_is_something(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1")
        with pytest.raises(DataFormatException):
            cache.set(*LEASE, "2", not_set=True)
        assert cache.get(*LEASE) == "1"

    def test_not_set_refuses_the_same_value(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1")
        with pytest.raises(DataFormatException):
            cache.set(*LEASE, "1", not_set=True)

    def test_not_set_stores_again_after_a_delete(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1", not_set=True)
        cache.delete(*LEASE)
        cache.set(*LEASE, "2", not_set=True)
        assert cache.get(*LEASE) == "2"

    def test_not_set_may_be_none(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1")
        cache.set(*LEASE, "2", not_set=None)
        assert cache.get(*LEASE) == "2"

    def test_a_constraint_that_is_met_stores(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1")
        cache.set(*LEASE, "2", constraint="1")
        assert cache.get(*LEASE) == "2"

    @pytest.mark.parametrize("constraint", ["2", "", "1 ", "11"])
    def test_a_constraint_that_is_not_met_refuses(self, cache: BaseCache, constraint: str) -> None:
        cache.set(*LEASE, "1")
        with pytest.raises(DataFormatException):
            cache.set(*LEASE, "3", constraint=constraint)
        assert cache.get(*LEASE) == "1"

    @pytest.mark.parametrize("constraint", ["1", ""])
    def test_a_constraint_on_nothing_refuses(self, cache: BaseCache, constraint: str) -> None:
        with pytest.raises(DataFormatException):
            cache.set(*LEASE, "2", constraint=constraint)
        assert cache.read([LEASE]) == [None]

    @pytest.mark.parametrize("constraint", ["1", ""])
    def test_both_conditions_at_once_are_a_mistake(self, cache: BaseCache, constraint: str) -> None:
        cache.set(*LEASE, "1")
        with pytest.raises(ValueError):
            cache.set(*LEASE, "2", not_set=True, constraint=constraint)
        assert cache.get(*LEASE) == "1"

    # --- deleting ---

    def test_what_is_deleted_is_gone(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "1")
        cache.delete(*POINTER)
        with pytest.raises(NotFoundException):
            cache.get(*POINTER)

    def test_deleting_leaves_the_others(self, cache: BaseCache) -> None:
        cache.set(POINTER.pk, "one", "1")
        cache.set(POINTER.pk, "two", "2")
        cache.delete(POINTER.pk, "one")
        assert cache.get(POINTER.pk, "two") == "2"

    def test_deleting_nothing_changes_nothing(self, cache: BaseCache) -> None:
        cache.set(*WINDOW, "1")
        with contextlib.suppress(NotFoundException):
            cache.delete(*POINTER)
        assert cache.read([POINTER, WINDOW]) == [None, "1"]

    def test_deleting_under_a_constraint_that_is_met(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1")
        cache.delete(*LEASE, constraint="1")
        assert cache.read([LEASE]) == [None]

    def test_deleting_under_a_constraint_that_is_not_met(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1")
        with pytest.raises(DataFormatException):
            cache.delete(*LEASE, constraint="2")
        assert cache.get(*LEASE) == "1"

    def test_deleting_nothing_under_a_constraint(self, cache: BaseCache) -> None:
        with pytest.raises((DataFormatException, NotFoundException)):
            cache.delete(*LEASE, constraint="1")

    # --- several values ---

    def test_read_answers_in_the_order_of_the_question(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "p")
        cache.set(*WINDOW, "w")
        assert cache.read([WINDOW, LEASE, POINTER]) == ["w", None, "p"]

    def test_read_answers_every_repetition(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "p")
        assert cache.read([POINTER, LEASE, POINTER, POINTER, LEASE]) == ["p", None, "p", "p", None]

    def test_reading_nothing(self, cache: BaseCache) -> None:
        assert cache.read([]) == []

    def test_a_batch_changes_everything(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "l")
        cache.apply(Batch().set(POINTER, "p").set(WINDOW, "w").delete(LEASE))
        assert cache.read([POINTER, WINDOW, LEASE]) == ["p", "w", None]

    def test_a_batch_replaces(self, cache: BaseCache) -> None:
        cache.apply(Batch().set(POINTER, "1").set(WINDOW, "1"))
        cache.apply(Batch().set(POINTER, "2").set(WINDOW, "1"))
        assert cache.read([POINTER, WINDOW]) == ["2", "1"]

    def test_a_batch_of_nothing(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "1")
        cache.apply(Batch())
        assert cache.get(*POINTER) == "1"

    def test_a_batch_deletes_what_is_not_there(self, cache: BaseCache) -> None:
        cache.apply(Batch().delete(LEASE).set(POINTER, "1"))
        assert cache.read([LEASE, POINTER]) == [None, "1"]

    def test_the_last_word_on_a_key_counts(self, cache: BaseCache) -> None:
        cache.apply(Batch().set(POINTER, "1").delete(POINTER).set(WINDOW, "1").set(WINDOW, "2"))
        assert cache.read([POINTER, WINDOW]) == [None, "2"]

    def test_a_batch_after_another_and_single_writes_between(self, cache: BaseCache) -> None:
        for number in range(10):
            cache.apply(Batch().set(POINTER, f"batch {number}").set(WINDOW, str(number)))
            cache.set(*POINTER, f"single {number}")
        assert cache.read([POINTER, WINDOW]) == ["single 9", "9"]

    def test_a_large_batch(self, cache: BaseCache) -> None:
        keys = [Key(POINTER.pk, f"operation {number}") for number in range(60)]
        batch = Batch()
        for number, key in enumerate(keys):
            batch.set(key, f"{number} " * 100)
        cache.apply(batch)
        assert cache.read(keys) == [f"{number} " * 100 for number in range(60)]

    # --- conditions of a batch ---

    def test_a_batch_whose_conditions_are_met(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "mine")
        cache.apply(Batch().require(LEASE, "mine").require(WINDOW, None).set(POINTER, "1").set(WINDOW, "w"))
        assert cache.read([POINTER, WINDOW, LEASE]) == ["1", "w", "mine"]

    def test_a_batch_whose_required_value_is_another(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "theirs")
        cache.set(*POINTER, "0")
        with pytest.raises(ConflictError):
            cache.apply(Batch().require(LEASE, "mine").set(POINTER, "1").set(WINDOW, "w"))
        assert cache.read([POINTER, WINDOW, LEASE]) == ["0", None, "theirs"]

    def test_a_batch_whose_required_value_is_missing(self, cache: BaseCache) -> None:
        with pytest.raises(ConflictError):
            cache.apply(Batch().require(LEASE, "mine").set(POINTER, "1"))
        assert cache.read([POINTER]) == [None]

    def test_a_batch_that_requires_absence_of_what_is_there(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "theirs")
        with pytest.raises(ConflictError):
            cache.apply(Batch().require(LEASE, None).set(LEASE, "mine").set(POINTER, "1"))
        assert cache.read([LEASE, POINTER]) == ["theirs", None]

    def test_a_batch_of_which_the_last_condition_is_unmet(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "mine")
        cache.set(*WINDOW, "w")
        batch = Batch().require(LEASE, "mine").require(POINTER, None).require(WINDOW, "other")
        with pytest.raises(ConflictError):
            cache.apply(batch.set(POINTER, "1").delete(LEASE))
        assert cache.read([LEASE, POINTER, WINDOW]) == ["mine", None, "w"]

    def test_a_condition_sees_what_was_there_before_the_batch(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1")
        cache.apply(Batch().set(LEASE, "2").require(LEASE, "1"))
        with pytest.raises(ConflictError):
            cache.apply(Batch().set(LEASE, "3").require(LEASE, "3"))
        assert cache.get(*LEASE) == "2"

    def test_conditions_alone(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "mine")
        cache.apply(Batch().require(LEASE, "mine").require(POINTER, None))
        with pytest.raises(ConflictError):
            cache.apply(Batch().require(LEASE, "theirs"))

    def test_a_refused_batch_can_be_applied_later(self, cache: BaseCache) -> None:
        batch = Batch().require(LEASE, "mine").set(POINTER, "1").delete(WINDOW)
        with pytest.raises(ConflictError):
            cache.apply(batch)
        cache.set(*LEASE, "mine")
        cache.apply(batch)
        assert cache.read([POINTER, LEASE]) == ["1", "mine"]

    def test_a_batch_deletes_on_condition(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "mine")
        cache.apply(Batch().require(LEASE, "mine").delete(LEASE))
        assert cache.read([LEASE]) == [None]

    # --- listing ---

    def test_scan_gives_what_begins_alike(self, cache: BaseCache) -> None:
        for pk in ("pointer.a", "pointer.b", "pointers", "window.a", "pointe"):
            cache.set(pk, "all", pk)
        cache.set("pointer.a", "a b", "other")
        found = self._scan(cache, "pointer.")
        assert found == {
            Key("pointer.a", "all"): "pointer.a",
            Key("pointer.a", "a b"): "other",
            Key("pointer.b", "all"): "pointer.b",
        }

    def test_scan_of_everything(self, cache: BaseCache) -> None:
        cache.apply(Batch().set(POINTER, "p").set(WINDOW, "w"))
        found = self._scan(cache, "")
        assert (found[POINTER], found[WINDOW]) == ("p", "w")

    def test_scan_of_nothing(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "p")
        assert self._scan(cache, "no such") == {}

    def test_scan_leaves_out_what_is_deleted(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "p")
        cache.delete(*POINTER)
        assert self._scan(cache, "pointer.") == {}

    def test_what_scan_gives_may_be_changed_meanwhile(self, cache: BaseCache) -> None:
        for number in range(20):
            cache.set(POINTER.pk, str(number), "1")
        self._scan(cache, "")
        for key, _ in cache.scan("pointer."):
            cache.delete(*key)
        assert self._scan(cache, "pointer.") == {}

    # --- several at once ---

    def test_one_of_two_threads_stores_what_is_not_there(self, cache: BaseCache) -> None:
        def attempt(number: int, who: str) -> None:
            cache.set(LEASE.pk, str(number), who, not_set=True)

        wins = _race(attempt)
        assert [len(winners) for winners in wins] == [1] * ROUNDS
        assert cache.read([Key(LEASE.pk, str(number)) for number in range(ROUNDS)]) == [won[0] for won in wins]

    def test_one_of_two_threads_replaces_a_value(self, cache: BaseCache) -> None:
        for number in range(ROUNDS):
            cache.set(LEASE.pk, str(number), "nobody")

        def attempt(number: int, who: str) -> None:
            cache.set(LEASE.pk, str(number), who, constraint="nobody")

        wins = _race(attempt)
        assert [len(winners) for winners in wins] == [1] * ROUNDS
        assert cache.read([Key(LEASE.pk, str(number)) for number in range(ROUNDS)]) == [won[0] for won in wins]

    def test_one_of_two_threads_applies_its_batch(self, cache: BaseCache) -> None:
        def attempt(number: int, who: str) -> None:
            lease, pointer = Key(LEASE.pk, str(number)), Key(POINTER.pk, str(number))
            cache.apply(Batch().require(lease, None).set(lease, who).set(pointer, who))

        wins = _race(attempt)
        assert [len(winners) for winners in wins] == [1] * ROUNDS
        pairs = [cache.read([Key(LEASE.pk, str(number)), Key(POINTER.pk, str(number))]) for number in range(ROUNDS)]
        assert pairs == [[won[0], won[0]] for won in wins]

    def test_counting_by_many_threads_loses_nothing(self, cache: BaseCache) -> None:
        cache.set(*POINTER, "0")

        def count() -> None:
            done = 0
            while done < 10:
                now = cache.get(*POINTER)
                with contextlib.suppress(DataFormatException):
                    cache.set(*POINTER, str(int(now) + 1), constraint=now)
                    done += 1

        _together([count] * 4)
        assert cache.get(*POINTER) == "40"

    # --- staying ---

    def test_reopen_keeps_everything(self, cache: BaseCache) -> None:
        cache.apply(Batch().set(POINTER, "p").set(WINDOW, "w"))
        cache.set(*LEASE, "l")
        cache.delete(*WINDOW)
        cache.reopen()
        assert cache.read([POINTER, WINDOW, LEASE]) == ["p", None, "l"]

    def test_it_works_after_reopen(self, cache: BaseCache) -> None:
        cache.set(*LEASE, "1")
        cache.reopen()
        cache.set(*LEASE, "2", constraint="1")
        cache.reopen()
        cache.reopen()
        assert cache.get(*LEASE) == "2"

    def test_another_handler_sees_the_same(self, cache: BaseCache, tmp_path: Path) -> None:
        other = self.make_cache(tmp_path)
        other.setup()
        cache.apply(Batch().set(POINTER, "1").set(WINDOW, "w"))
        assert other.read([POINTER, WINDOW]) == ["1", "w"]
        other.set(*POINTER, "2", constraint="1")
        other.delete(*WINDOW)
        assert cache.read([POINTER, WINDOW]) == ["2", None]

    # --- much ---

    def test_a_million_hashes_in_one_batch(self, cache: BaseCache) -> None:
        draw = blake3(b"hashes").digest(HASHES * 16).hex()
        tenth = len(draw) // 10
        hashes = {Key(f"lookback-{number}-0.{STREAM}", "all"): draw[number * tenth :][:tenth] for number in range(10)}
        batch = Batch().require(WINDOW, None).set(POINTER, "1").set(WINDOW, "w")
        batch.changes.update(hashes)
        cache.apply(batch)
        assert cache.read([POINTER, *hashes]) == ["1", *hashes.values()]
        with pytest.raises(ConflictError):
            cache.apply(batch)
        first, *rest = hashes
        cache.apply(Batch().require(first, hashes[first]).set(first, hashes[first][:64]).delete(rest[0]))
        assert cache.read(list(hashes)) == [hashes[first][:64], None, *[hashes[key] for key in rest[1:]]]

    def test_more_keys_than_a_store_may_take_at_once(self, cache: BaseCache) -> None:
        keys = [Key(f"lookback-{number}-0.{STREAM}", "all") for number in range(110)]
        batch = Batch().require(LEASE, None).require(keys[0], None).set(POINTER, "1")
        for key in keys:
            batch.set(key, key.pk)
        cache.apply(batch)
        assert cache.read([POINTER, *keys]) == ["1", *(key.pk for key in keys)]
        # Of this one the last condition is not met.
        batch = Batch().set(POINTER, "2").delete(WINDOW)
        for key in keys:
            batch.require(key, key.pk).delete(key)
        with pytest.raises(ConflictError):
            cache.apply(batch.require(Key(f"zone.{STREAM}", "all"), "not there"))
        assert cache.read([POINTER, *keys]) == ["1", *(key.pk for key in keys)]
        del batch.requires[Key(f"zone.{STREAM}", "all")]
        cache.apply(batch)
        assert cache.read([POINTER, *keys]) == ["2"] + [None] * len(keys)

    # --- several processes ---

    def test_one_of_two_processes_holds_the_lock(self, cache: BaseCache, tmp_path: Path) -> None:
        with self._worker(cache, tmp_path, "fight") as one, self._worker(cache, tmp_path, "fight") as other:
            both = (one, other)
            for worker in both:
                _go_on(worker)
            assert [_said(worker) for worker in both] == [f"taken {self.FIGHTS}"] * 2
        assert cache.read([_cache_worker.LOCK]) == [None]

    def test_a_holder_that_was_paused_is_refused(self, cache: BaseCache, tmp_path: Path) -> None:
        cache.apply(Batch().set(_cache_worker.EPOCH, "1").set(POINTER, "1").set(WINDOW, "w"))
        with self._worker(cache, tmp_path, "hold") as holder:
            _go_on(holder)
            assert _said(holder) == "holds 1"
            holder.send_signal(signal.SIGSTOP)
            taken = Batch().require(_cache_worker.EPOCH, "1").set(_cache_worker.EPOCH, "2").set(POINTER, "2")
            cache.apply(taken)
            _go_on(holder)
            holder.send_signal(signal.SIGCONT)
            assert _said(holder) == "refused"
        assert cache.read([_cache_worker.EPOCH, POINTER, WINDOW]) == ["2", "2", "w"]

    def test_a_holder_that_was_killed_leaves_whole_batches(self, cache: BaseCache, tmp_path: Path) -> None:
        committed = 0
        for commits in (1, 3, 5):
            with self._worker(cache, tmp_path, "commit") as holder:
                _go_on(holder)
                for _ in range(commits):
                    committed = int(_said(holder))
                # It is in the middle of some later one.
                holder.kill()
                holder.wait()
            cache.reopen()
            sequence, pointer, window = cache.read([_cache_worker.SEQUENCE, POINTER, WINDOW])
            assert window == f"{sequence} {_cache_worker.PADDING}"
            assert pointer == sequence
            assert sequence is not None
            assert int(sequence) >= committed

    def test_a_forked_child_and_its_parent_both_go_on(self, cache: BaseCache, tmp_path: Path) -> None:
        with self._worker(cache, tmp_path, "fork") as parent:
            _go_on(parent)
            assert _said(parent) == "child 0"
        assert cache.read([POINTER, WINDOW]) == ["still of the parent", "of the child, after of the parent"]

    @contextlib.contextmanager
    def _worker(self, cache: BaseCache, tmp_path: Path, task: str) -> Iterator["subprocess.Popen[str]"]:
        """A process that has made the cache, and waits to be told to begin `task`."""
        if cache.SCOPE == "process":
            pytest.skip("another process does not see this store")
        kind = type(self)
        arguments = [
            inspect.getfile(kind),
            kind.__name__,
            json.dumps(vars(self)),
            str(tmp_path),
            task,
            str(self.FIGHTS),
        ]
        with subprocess.Popen(
            [sys.executable, "-m", _cache_worker.__name__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        ) as process:
            try:
                assert _said(process) == "ready"
                yield process
            finally:
                process.kill()

    # --- lost replies ---

    def test_reading_goes_on_after_a_lost_reply(self, cache: BaseCache, distant: tuple[BaseCache, Link]) -> None:
        far, link = distant
        far.setup()
        cache.apply(Batch().set(POINTER, "p").set(WINDOW, "w"))
        for exchange in _until_none_is_lost(link):
            link.lose(exchange)
            assert far.read([POINTER, LEASE, WINDOW]) == ["p", None, "w"]

    @pytest.mark.parametrize("size", [1, 100_000], ids=["small", "big"])
    def test_a_batch_whose_reply_is_lost_is_no_conflict(
        self, cache: BaseCache, distant: tuple[BaseCache, Link], size: int
    ) -> None:
        far, link = distant
        far.setup()
        for exchange in _until_none_is_lost(link):
            lease, pointer = Key(LEASE.pk, str(exchange)), Key(POINTER.pk, str(exchange))
            value = "p" * size
            link.lose(exchange)
            try:
                far.apply(Batch().require(lease, None).set(lease, "mine").set(pointer, value))
            except AccessException:
                # The outcome is unknown, and has to be looked for.
                far.reopen()
                assert far.read([lease, pointer]) in ([None, None], ["mine", value])
            else:
                assert far.read([lease, pointer]) == ["mine", value]
            assert cache.read([lease, pointer]) == far.read([lease, pointer])

    def test_a_lock_whose_reply_is_lost_is_not_taken_for_another_s(
        self, cache: BaseCache, distant: tuple[BaseCache, Link]
    ) -> None:
        far, link = distant
        far.setup()
        for exchange in _until_none_is_lost(link):
            link.lose(exchange)
            with contextlib.suppress(AccessException):
                far.set(LEASE.pk, str(exchange), "mine", not_set=True)
            link.lose(exchange)
            with contextlib.suppress(AccessException):
                far.set(LEASE.pk, str(exchange), "still mine", constraint="mine")
            link.lose(exchange)
            with contextlib.suppress(AccessException):
                far.delete(LEASE.pk, str(exchange), constraint="still mine")

    def test_a_stream_goes_on_whatever_reply_is_lost(self, cache: BaseCache, distant: tuple[BaseCache, Link]) -> None:
        far, link = distant
        far.setup()
        state = StreamState(far, lambda kind: f"{kind}.{STREAM}", "all")
        state.load()
        state.take({"lease": "mine"}, expected_lock=None)
        for exchange in _until_none_is_lost(link):
            link.lose(exchange)
            state.commit({"pointer": str(exchange), "boundary": str(exchange) * 40_000})
            found = cache.read([state.key("sequence"), state.key("pointer"), state.key("boundary")])
            assert found == [str(exchange + 1), str(exchange), str(exchange) * 40_000]

    def _scan(self, cache: BaseCache, prefix: str) -> dict[Key, str]:
        try:
            found = list(cache.scan(prefix))
        except NotImplementedException as err:
            pytest.skip(str(err))
        assert len(dict(found)) == len(found)
        return dict(found)


def _said(process: "subprocess.Popen[str]") -> str:
    """The next line of a worker; empty once it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def _go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def _until_none_is_lost(link: Link) -> Iterator[int]:
    """0, 1, 2, ... until what is done with the number no longer takes that many exchanges."""
    for exchange in count():
        yield exchange
        if not link.lost:
            assert exchange > 0
            return


def _race(attempt: Callable[[int, str], None]) -> list[list[str]]:
    """Who has won each round of two threads that begin it together."""
    wins: list[list[str]] = [[] for _ in range(ROUNDS)]
    start = threading.Barrier(2)

    def run(who: str) -> None:
        for number in range(ROUNDS):
            start.wait(timeout=60)
            with contextlib.suppress(DataFormatException):
                attempt(number, who)
                wins[number].append(who)

    _together([lambda: run("one"), lambda: run("other")])
    return wins


def _together(tasks: list[Callable[[], None]]) -> None:
    failures: list[Exception] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as err:
            failures.append(err)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
