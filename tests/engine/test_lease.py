"""The execution lock: who may take a stream from whom, what keeps it, and what becomes of it in the end."""

import errno
import fcntl
import logging
import os
import queue
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from grove import lease as module
from grove.caches import Key
from grove.caches.local_memory import Handler as MemoryCache
from grove.constants import LOCK_DATE_FORMAT
from grove.exceptions import AccessException, ConcurrencyException
from grove.lease import CLOCK_MARGIN, Owner, Record, Watch, owner
from tests.engine.processes import CACHES, lease_on, open_cache

LOCK = Key("execution_lock.scripted.corp", "all")
LEASE = Key("lease.scripted.corp", "all")
EPOCH = Key("epoch.scripted.corp", "all")


@contextmanager
def process(what, kind, directory):
    """Another process that does `what`; killed in the end, whatever it is at."""
    command = [sys.executable, "-m", "tests.engine.processes", what, kind, str(directory)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def step(running):
    return running.stdout.readline().split()


@pytest.fixture
def elsewhere(monkeypatch):
    """What is done in this context is done by another process, as far as the lease can tell."""

    @contextmanager
    def other():
        with monkeypatch.context() as patch:
            patch.setattr(module, "_owner", Owner())
            yield

    return other


@pytest.fixture
def store(cache):
    """Write facts of the stream as somebody else left them."""

    def write(lock, record=None):
        text = lock if isinstance(lock, str) else lock.strftime(LOCK_DATE_FORMAT)
        cache.set(*LOCK, text)
        if record is not None:
            cache.set(*LEASE, record.encode() if isinstance(record, Record) else record)

    return write


def facts(cache):
    return cache.read([LOCK, LEASE, EPOCH])


# --- real processes ---


@pytest.mark.parametrize("kind", sorted(CACHES))
def test_a_stream_is_left_to_a_living_process_and_taken_from_a_killed_one_at_once(tmp_path, kind):
    with process("hold", kind, tmp_path / "cache") as holder:
        held, name = step(holder)
        cache = open_cache(kind, tmp_path / "cache")
        mine = lease_on(cache)
        with pytest.raises(ConcurrencyException, match=r"stream\.scripted\.corp/all is being collected elsewhere"):
            mine.take()
        holder.kill()
        holder.wait()
        mine.take()
    assert held == "held"
    assert mine.unclean.owner == name
    assert mine.state.epoch == 2
    mine.give_back({}, clean=True)
    assert facts(cache) == [None, None, "2"]


def test_a_forked_child_is_another_process_and_its_end_frees_nothing(tmp_path):
    with process("fork", "file", tmp_path / "cache") as parent:
        held, name = step(parent)
        refused, child = step(parent)
        assert (held, refused) == ("held", "refused")
        assert child != name
        assert step(parent) == ["ended"]
        with pytest.raises(ConcurrencyException):
            lease_on(open_cache("file", tmp_path / "cache")).take()


# --- the proof that a process lives ---


def test_the_lock_file_of_a_process_is_its_own(tmp_path):
    mine = Owner()
    mine.prove(tmp_path)
    (path,) = (tmp_path / "owners").iterdir()
    assert path.name == f"{mine.name}.lock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    mine.prove(tmp_path)
    assert list(path.parent.iterdir()) == [path]


def test_where_no_lock_file_can_be_made_the_error_names_the_place(tmp_path):
    (tmp_path / "owners").write_text("in the way")
    with pytest.raises(AccessException, match=str(tmp_path / "owners")):
        Owner().prove(tmp_path)


def test_a_file_system_without_locks_is_an_error_and_leaves_nothing_open(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    before = os.listdir("/dev/fd")
    with pytest.raises(AccessException, match="No locks available"):
        Owner().prove(tmp_path)
    assert os.listdir("/dev/fd") == before


def test_what_cannot_be_proved_is_not_taken_for_dead(tmp_path):
    mine = Owner()
    mine.prove(tmp_path)
    assert not mine.is_dead("1-unknown", tmp_path)
    assert not mine.is_dead("1-unknown", None)
    (tmp_path / "owners" / "2-link.lock").symlink_to(tmp_path / "owners" / f"{mine.name}.lock")
    assert not mine.is_dead("2-link", tmp_path)


def aged(path):
    """As if it were from more than a week ago."""
    path.touch()
    moment = path.stat().st_mtime - 8 * 86400
    os.utime(path, (moment, moment), follow_symlinks=False)


def test_lock_files_of_processes_that_ended_a_week_ago_are_removed(tmp_path):
    with process("hold", "file", tmp_path) as living:
        _, name = step(living)
        folder = tmp_path / "owners"
        aged(folder / f"{name}.lock")
        aged(folder / "1-dead.lock")
        aged(folder / "something else")
        (folder / "2-young.lock").touch()
        mine = Owner()
        mine.prove(tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.lock",
        f"{mine.name}.lock",
        "2-young.lock",
        "something else",
    }


def test_a_file_that_another_process_removes_first_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "owners").mkdir()
    aged(tmp_path / "owners" / "1-dead.lock")
    aged(tmp_path / "owners" / "2-dead.lock")
    real, removed = os.unlink, []

    def lost(path, **kwargs):
        real(path, **kwargs)
        removed.append(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "unlink", lost)
    Owner().prove(tmp_path)
    assert len(removed) == 2


def test_a_second_name_of_its_directory_does_not_cost_a_process_its_lock(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    cache = open_cache("file", tmp_path / "cache")
    mine = Owner()
    mine.prove(cache.directory)
    aged(cache.directory / "owners" / f"{mine.name}.lock")
    mine.prove(tmp_path / "link")
    with process("judge", "file", cache.directory) as other:
        print(mine.name, file=other.stdin, flush=True)
        assert step(other) == ["False"]


# --- may it be taken? ---


def in_(seconds):
    """A moment so many seconds from the frozen now."""
    return datetime(2025, 3, 4, 10, 11, 12, tzinfo=UTC) + timedelta(seconds=seconds)


OTHERS = Record("1-other", "n", "2025-03-01")


@pytest.mark.parametrize(
    ("scope", "record", "expiry", "free"),
    [
        ("host", OTHERS, 1, False),
        ("host", OTHERS, 0, True),
        ("host", None, 1, False),
        ("host", None, 0, True),
        ("shared", OTHERS, 1 - CLOCK_MARGIN, False),
        ("shared", OTHERS, -CLOCK_MARGIN, True),
        ("shared", None, 1 - CLOCK_MARGIN, False),
        ("shared", None, -CLOCK_MARGIN, True),
        ("shared", "broken", 1 - CLOCK_MARGIN, False),
    ],
)
def test_a_lock_is_taken_once_it_has_expired_whichever_clock_wrote_it(
    cache, store, frozen, monkeypatch, scope, record, expiry, free
):
    monkeypatch.setattr(cache, "SCOPE", scope)
    store(in_(expiry), record)
    mine = lease_on(cache)
    if free:
        mine.take()
        assert facts(cache)[0] == in_(300).strftime(LOCK_DATE_FORMAT)
    else:
        with pytest.raises(ConcurrencyException, match=in_(expiry).strftime("%H:%M:%S")):
            mine.take()


def test_a_lock_of_this_process_needs_no_margin(cache, frozen, monkeypatch):
    monkeypatch.setattr(cache, "SCOPE", "shared")
    lease_on(cache, duration=10).take()
    frozen.advance(9)
    with pytest.raises(ConcurrencyException):
        lease_on(cache).take()
    frozen.advance(1)
    lease_on(cache).take()


def test_a_lock_which_this_process_has_given_up_is_free_at_once(cache, store, frozen):
    store(in_(300), Record(owner().name, "forgotten", "2025-03-01"))
    lease_on(cache).take()


def test_a_lock_that_is_no_date_is_free(cache, store, frozen):
    store("whenever")
    lease_on(cache).take()


def refused(cache, duration=100.0):
    try:
        lease_on(cache, duration=duration).take()
    except ConcurrencyException:
        return True
    return False


@pytest.mark.parametrize(("scope", "margin"), [("host", 0.0), ("shared", CLOCK_MARGIN)])
def test_a_lock_that_has_not_changed_for_its_duration_is_free_whatever_it_says(
    cache, store, frozen, monkeypatch, scope, margin
):
    monkeypatch.setattr(cache, "SCOPE", scope)
    store(in_(10**9), OTHERS)
    assert refused(cache)
    frozen.advance(100 + margin)
    assert refused(cache)
    frozen.advance(0.1)
    assert not refused(cache)


def test_a_lock_that_is_renewed_stays_held(cache, store, frozen):
    for number in range(5):
        store(in_(10**9 + number), OTHERS)
        assert refused(cache)
        frozen.advance(90)
    # Another run of that process counts as a change too.
    store(in_(10**9 + 4), Record("1-other", "another", "2025-03-01"))
    assert refused(cache)
    frozen.advance(90)
    assert refused(cache)


def test_a_wrong_wall_clock_does_not_free_a_lock_early(cache, store, frozen):
    store(in_(10**9), OTHERS)
    assert refused(cache)
    frozen.jump(10**6)
    assert refused(cache)


def test_streams_and_stores_are_watched_apart(cache, store, frozen):
    assert Watch.unchanged_for(cache, "one", "mark") == 0
    frozen.advance(50)
    assert Watch.unchanged_for(cache, "one", "mark") == 50
    assert Watch.unchanged_for(cache, "two", "mark") == 0
    assert Watch.unchanged_for(MemoryCache(), "one", "mark") == 0
    Watch.forget(cache, "one")
    assert Watch.unchanged_for(cache, "one", "mark") == 0


def test_a_stream_that_was_taken_is_no_longer_watched(cache, store, frozen, monkeypatch):
    monkeypatch.setattr(Watch, "_seen", {})
    store(in_(100), OTHERS)
    assert refused(cache)
    frozen.advance(100)
    assert not refused(cache)
    assert not Watch._seen


# --- taking it ---


def test_of_two_that_take_a_stream_at_once_one_is_refused(cache, elsewhere, monkeypatch):
    mine, rival = lease_on(cache), lease_on(cache)
    real, known = cache.read, set(owner().nonces)

    def read(keys):
        monkeypatch.setattr(cache, "read", real)
        found = real(keys)
        with elsewhere():
            rival.take()
        return found

    monkeypatch.setattr(cache, "read", read)
    with pytest.raises(ConcurrencyException):
        mine.take()
    assert owner().nonces == known
    assert Record.decode(cache.get(*LEASE)).nonce == rival.nonce


def test_a_stream_that_changed_hands_twice_since_it_was_read_is_refused_too(cache, frozen, elsewhere, monkeypatch):
    mine = lease_on(cache)
    real = cache.read

    def read(keys):
        monkeypatch.setattr(cache, "read", real)
        found = real(keys)
        with elsewhere():
            rival = lease_on(cache)
            rival.take()
            rival.give_back({}, clean=True)
        return found

    monkeypatch.setattr(cache, "read", read)
    with pytest.raises(ConcurrencyException):
        mine.take()


def test_what_a_run_left_behind_is_looked_for_from_the_day_on_which_it_began(cache, store, frozen):
    store(in_(0), Record("1-other", "n", "2025-02-27"))
    first = lease_on(cache)
    first.take()
    assert first.unclean == Record("1-other", "n", "2025-02-27")
    first.give_back({}, clean=False)
    # Nobody has swept it yet: the day stays.
    second = lease_on(cache)
    second.take()
    assert second.unclean.began() == date(2025, 2, 27)
    second.give_back({}, clean=True)
    third = lease_on(cache)
    third.take()
    assert third.unclean is None
    assert Record.decode(cache.get(*LEASE)).since == "2025-03-04"


@pytest.mark.parametrize("since", ["some day", "2999-01-01"])
def test_a_run_that_began_on_no_day_or_in_the_future_counts_as_todays(cache, store, frozen, since):
    store(in_(0), Record("1-other", "n", since))
    lease_on(cache).take()
    assert Record.decode(cache.get(*LEASE)).since == "2025-03-04"


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"owner": "o", "nonce": "n"}', None])
def test_a_record_that_cannot_be_read_proves_nothing(text):
    assert Record.decode(text) is None


# --- keeping it, and giving it back ---


def test_a_renewal_moves_the_expiry_on(cache, frozen):
    mine = lease_on(cache)
    mine.take()
    frozen.advance(200)
    mine.renew()
    assert facts(cache)[0] == in_(500).strftime(LOCK_DATE_FORMAT)
    frozen.advance(299)
    assert refused(cache)


def test_a_lease_that_was_given_back_is_not_renewed_any_more(cache, frozen):
    mine = lease_on(cache)
    mine.take()
    mine.give_back({}, clean=True)
    mine.renew()
    assert facts(cache) == [None, None, "1"]


def test_what_is_given_back_with_it_is_stored(cache, frozen):
    mine = lease_on(cache)
    mine.take()
    mine.give_back({"last_run": "2025-03-04T10:11:12Z"}, clean=False)
    assert cache.get("last_run.scripted.corp", "all") == "2025-03-04T10:11:12Z"
    lock, record, _ = facts(cache)
    assert lock is None
    assert Record.decode(record).nonce == mine.nonce
    assert mine.nonce not in owner().nonces


@pytest.mark.parametrize("noticed", [True, False])
def test_a_lease_that_was_taken_over_is_the_others(cache, frozen, elsewhere, noticed):
    mine, rival = lease_on(cache), lease_on(cache)
    mine.take()
    frozen.advance(300)
    with elsewhere():
        rival.take()
    held = facts(cache)
    if noticed:
        with pytest.raises(ConcurrencyException, match="taken over"):
            mine.renew()
    with pytest.raises(ConcurrencyException):
        mine.give_back({"last_run": "2025-03-04T10:11:12Z"}, clean=True)
    assert facts(cache) == held
    assert cache.read([Key("last_run.scripted.corp", "all")]) == [None]
    assert mine.nonce not in owner().nonces


def test_a_run_that_has_ended_is_not_revoked(cache, frozen):
    mine, following = lease_on(cache), lease_on(cache)
    mine.take()
    mine.give_back({}, clean=True)
    following.take()
    held = facts(cache)
    mine.revoke()
    assert facts(cache) == held


# --- the thread that renews ---


class Ear(logging.Handler):
    """Hears what is logged, and waits for it."""

    def __init__(self):
        super().__init__()
        self.heard = queue.Queue()

    def emit(self, record):
        self.heard.put(record)

    def next(self):
        return self.heard.get(timeout=60)


@pytest.fixture
def ear():
    handler = Ear()
    module.logger.addHandler(handler)
    yield handler
    module.logger.removeHandler(handler)


@pytest.fixture
def renewals(cache, monkeypatch):
    """Every write of an expiry, by a renewer of this test's own, as it happens."""
    monkeypatch.setattr(module, "_renewer", module.Renewer())
    real, written = cache.apply, queue.Queue()

    def apply(batch):
        real(batch)
        if LOCK in batch.changes:
            written.put((threading.current_thread().name, batch.changes[LOCK]))

    monkeypatch.setattr(cache, "apply", apply)
    return written


def test_a_run_that_takes_longer_than_its_lease_keeps_it(cache, renewals):
    mine = lease_on(cache, duration=0.3)
    mine.take()
    written = [renewals.get(timeout=60) for _ in range(4)]
    assert [name for name, _ in written[1:]] == ["grove-leases"] * 3
    assert sorted({expiry for _, expiry in written}) == [expiry for _, expiry in written]
    mine.give_back({}, clean=True)


def test_a_short_lease_does_not_wait_for_a_long_one(cache, renewals):
    other = MemoryCache()
    other._data = {}
    long = lease_on(other, duration=3000)
    long.take()
    short = lease_on(cache, duration=0.3)
    short.take()
    assert [renewals.get(timeout=60)[0] for _ in range(2)] == ["MainThread", "grove-leases"]
    later = lease_on(other, duration=3000)
    later.state.operation = "other"
    later.take()
    assert renewals.get(timeout=60)[0] == "grove-leases"
    for held in (long, short, later):
        held.give_back({}, clean=True)


def test_a_run_without_progress_is_left_to_run_out(cache, renewals, ear):
    mine = lease_on(cache, duration=0.3, run_timeout=0.01)
    mine.take()
    record = ear.next()
    assert "no progress" in record.getMessage()
    assert record.stream == mine.state.stream
    assert renewals.qsize() == 1


def test_progress_keeps_a_run_alive_for_longer_than_its_timeout(cache, renewals, frozen):
    keeper = module.Renewer()
    mine = lease_on(cache, run_timeout=100)
    mine.take()
    for _ in range(3):
        frozen.advance(100)
        keeper._renew(mine)
        mine.touch()
    assert renewals.qsize() == 4
    frozen.advance(100.5)
    keeper._renew(mine)
    assert renewals.qsize() == 4


def test_a_run_whose_stream_was_taken_over_is_told_and_let_be(cache, renewals, ear):
    mine = lease_on(cache, duration=0.3)
    mine.take()
    cache.set(*EPOCH, "7")
    assert "taken over" in ear.next().getMessage()
    assert mine.lost
    assert facts(cache)[2] == "7"


def test_a_cache_that_fails_for_a_moment_costs_no_lease(cache, renewals, ear, monkeypatch):
    mine = lease_on(cache, duration=0.3)
    mine.take()
    real, failed = cache.apply, []

    def apply(batch):
        if not failed:
            failed.append(batch)
            raise AccessException("made up")
        real(batch)

    monkeypatch.setattr(cache, "apply", apply)
    record = ear.next()
    assert "trying again" in record.getMessage()
    assert "made up" in record.error
    assert [renewals.get(timeout=60)[0] for _ in range(2)] == ["MainThread", "grove-leases"]
    mine.give_back({}, clean=True)
