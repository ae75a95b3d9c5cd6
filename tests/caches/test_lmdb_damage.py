"""R10: whatever is wrong with a cache's file, its values are right, or an error says so; and LMDB kills nobody."""

import json
import logging
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import lmdb
import pytest

from grove.caches import Batch, Key, _lmdb_environment, _lmdb_pages, local_lmdb
from grove.exceptions import CorruptStateError
from tests.caches.programs import A, B, run, seeded

PAGE = 4096
# The descriptions of the two states: a page's header and LMDB's MDB_meta.
STATE = 152
NUMBER = 16 + 128

# Reads every line as [name, changes], the changes as [length], [offset, byte] or [offset, byte, how often], and prints
# what a cache makes of it.
JUDGE = """
    import json, logging
    from pathlib import Path

    said = []

    class Listener(logging.Handler):
        def emit(self, record):
            said.append(record.cache)

    logging.getLogger("grove").addHandler(Listener())
    root = Path(path)
    whole = (root / "whole" / "data.mdb").read_bytes()
    newest, older = [
        {Key(*key): value for key, value in items} for items in json.loads((root / "expected").read_text())
    ]

    def judge(path):
        said.clear()
        cache = make(kind, path)
        found = dict(zip(newest, cache.read(list(newest)), strict=True))
        if found == older and said == [str(path)]:
            found, before = newest, older
        else:
            before = newest
        changed = {key: "changed" for key in list(newest)[::2]}
        batch = Batch()
        for key in changed:
            batch.require(key, before[key]).set(key, "changed")
        cache.apply(batch)
        after = dict(cache.scan(""))
        if found != newest or after != {**before, **changed}:
            return "WRONG"
        return "right" if before is newest else "older"

    for line in sys.stdin:
        name, changes = json.loads(line)
        data = bytearray(whole)
        for change in changes:
            if len(change) == 1:
                del data[change[0]:]
            else:
                offset, byte, times = (*change, 1)[:3]
                data[offset : offset + times] = bytes((byte,)) * times
        print(name, end=" ", flush=True)
        at = root / name
        at.mkdir(mode=0o700)
        (at / "data.mdb").write_bytes(data)
        try:
            print(judge(at), flush=True)
        except CorruptStateError as err:
            print("refused" if str(at) in str(err) else f"NAMELESS {err}", flush=True)
        (at / "data.mdb").unlink()
        (at / "lock.mdb").unlink()
"""


@pytest.fixture
def whole(shm: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with a cache that has all that LMDB knows: branches, large values, free pages; and what it holds."""
    older = {
        Key(f"pointer.test.{number:032x}", "all" if number % 3 else "o" * 600): f"older {number}"
        for number in range(120)
    }
    newest = {key: f"{number} " * (number**2 % 2_000 + 1) for number, key in enumerate(older)}
    cache = local_lmdb.Handler(shm / "whole")
    for values in [older] * (getattr(request, "param", 2) - 1) + [newest]:
        batch = Batch()
        for key, value in values.items():
            batch.set(key, value)
        cache.apply(batch)
    (shm / "expected").write_text(json.dumps([list(values.items()) for values in (newest, older)]))
    return shm


def judge(whole: Path, damages: list[list[list[int]]]) -> list[str]:
    """What becomes of the cache after each of the damages: "right", "older" (and it says so) or "refused"."""
    lines = [json.dumps([str(number), changes]) for number, changes in enumerate(damages)]
    out = run(JUDGE, "local_lmdb", whole, said="\n".join(lines))
    found = [line.split(maxsplit=1) for line in out.splitlines()]
    assert [name for name, _ in found] == [str(number) for number in range(len(damages))]
    outcomes = [outcome for _, outcome in found]
    for outcome, changes in zip(outcomes, damages, strict=True):
        assert outcome in ("right", "older", "refused"), changes
    return outcomes


def write(path: Path, *batches: Batch) -> None:
    """Make or change a cache, and leave its file to the test."""
    cache = local_lmdb.Handler(path)
    for batch in batches:
        cache.apply(batch)
    _lmdb_environment.close(cache._environment())


def _data(whole: Path) -> bytes:
    return (whole / "whole" / "data.mdb").read_bytes()


@pytest.mark.parametrize("count", [200, pytest.param(5_000, marks=pytest.mark.long)])
def test_flipped_bits_and_random_bytes(whole: Path, count: int) -> None:
    choose = seeded()
    data = _data(whole)
    pages = range(0, len(data), PAGE)

    def flip(offset: int) -> list[int]:
        return [offset, data[offset] ^ 1 << choose.randrange(8)]

    damages = []
    for number in range(count):
        if number % 4 == 0:
            damages.append([flip(choose.randrange(len(data)))])
        elif number % 4 == 1:  # where a page describes itself
            damages.append([flip(choose.choice(pages) + choose.randrange(64))])
        elif number % 4 == 2:
            damages.append([[choose.randrange(len(data)), choose.randrange(256)] for _ in range(20)])
        else:  # a sector that is lost
            first = choose.randrange(len(data) // 512) * 512
            damages.append([[first, 0, 512]])
    outcomes = Counter(judge(whole, damages))
    assert outcomes["right"] and outcomes["refused"] and outcomes["older"] <= count // 100, outcomes


@pytest.mark.parametrize("whole", [2, 4], indirect=True)
@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.long)])
def test_the_bits_that_describe_a_state(whole: Path, every: int) -> None:
    data = _data(whole)
    newest = _newest(data)
    bits = [(page + offset, bit) for page in (0, PAGE) for offset in range(STATE) for bit in range(8)]
    # Always those of the numbers, which say which state is the newest.
    numbers = [(offset, bit) for offset, bit in bits if offset % PAGE >= NUMBER - 8]
    chosen = sorted({*bits[seeded().randrange(every) :: every], *numbers})
    outcomes = judge(whole, [[[offset, data[offset] ^ 1 << bit]] for offset, bit in chosen])
    # One bit makes of the third state what LMDB leaves of one that it could not write: nobody can tell them apart. Of
    # the fifth none does, but one makes the fourth a sixth, and that is seen.
    older = [place for place, outcome in zip(chosen, outcomes, strict=True) if outcome == "older"]
    assert older == ([(newest + NUMBER, 1)] if data[newest + NUMBER] == 3 else [])
    assert outcomes.count("refused") > len(chosen) // 4


def test_a_file_that_was_cut_short(whole: Path) -> None:
    size = len(_data(whole))
    lengths = sorted({0, 1, 100, size - 1} | {end + more for end in range(0, size, PAGE) for more in (-1, 0, 1)} - {-1})
    assert set(judge(whole, [[[length]] for length in lengths])) == {"refused"}


def test_zeros_in_the_place_of_any_page(whole: Path) -> None:
    data = _data(whole)
    outcomes = judge(whole, [[[page, 0, PAGE]] for page in range(0, len(data), PAGE)])
    # Free pages may hold anything.
    assert outcomes[:2] == ["refused", "refused"] and outcomes.count("refused") > len(outcomes) // 2


# --- a state that could not be written ---


def _newest(data: bytes) -> int:
    """Where the newest state is described."""
    numbers = [int.from_bytes(data[page + NUMBER : page + NUMBER + 8], "little") for page in (0, PAGE)]
    return PAGE if numbers[1] > numbers[0] else 0


def _fail_to_write(path: Path, before: bytes) -> None:
    """Leave of the newest state what LMDB does where its description cannot be written: all but its number and size.

    mdb_env_write_meta() of LMDB 0.9 then writes "some old data back, to prevent it from being used".
    """
    data = bytearray((path / "data.mdb").read_bytes())
    last = _newest(data) + NUMBER - 8
    data[last : last + 16] = before[last : last + 16]
    (path / "data.mdb").write_bytes(data)


@pytest.mark.parametrize("size", [10, 100_000], ids=["in free pages", "in new pages"])
@pytest.mark.parametrize("commits", [0, 1, 2, 5, 6])
def test_a_change_that_could_not_be_completed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int, commits: int
) -> None:
    path = tmp_path / "cache"
    write(path, *(Batch().set(A, str(number)) for number in range(commits)))
    before = (path / "data.mdb").read_bytes()
    write(path, Batch().set(A, "new").set(B, "n" * size))
    _fail_to_write(path, before)
    cache = local_lmdb.Handler(path)
    latest = str(commits - 1) if commits else None
    assert cache.read([A, B]) == [latest, None]
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING and warning.__dict__["cache"] == str(path)
    caplog.clear()
    cache.apply(Batch().require(A, latest).set(A, "again"))
    cache.reopen()
    assert cache.read([A, B]) == ["again", None]
    assert caplog.records == []


@pytest.mark.parametrize("steps", [150, pytest.param(5_000, marks=pytest.mark.long)])
def test_whatever_is_committed_is_sound(shm: Path, caplog: pytest.LogCaptureFixture, steps: int) -> None:
    """The check refuses nothing that LMDB writes, with readers that keep old pages from being used again or without."""
    choose = seeded()
    cache = local_lmdb.Handler(shm / "cache")
    cache.setup()
    expected: dict[Key, str] = {}
    reading = None
    for _ in range(steps):
        batch = Batch()
        for _ in range(choose.choice((1, 1, 3, 40))):
            key = Key(f"pointer.{choose.randrange(60)}", "o" * choose.choice((0, 3, 600)))
            value = "v" * choose.choice((0, 10, 1_000, 5_000, 30_000))
            if choose.random() < 0.4:
                batch.delete(key)
                expected.pop(key, None)
            else:
                batch.set(key, value)
                expected[key] = value
        cache.apply(batch)
        if reading is not None:
            reading.__exit__(None, None, None)
            reading = None
        fd = os.open(shm / "cache" / "data.mdb", os.O_RDONLY)
        try:
            assert len(list(_lmdb_pages.records(fd, PAGE))) == len(expected) + 1
            assert not _lmdb_pages.is_cut_short(fd, PAGE)
        finally:
            os.close(fd)
        if choose.random() < 0.3:
            reading = cache._environment().snapshot()
            reading.__enter__()
    if reading is not None:
        reading.__exit__(None, None, None)
    cache.reopen()
    assert dict(cache.scan("")) == expected
    assert caplog.records == []


@pytest.mark.parametrize("compact", [False, True])
def test_a_copy_by_lmdb_is_a_cache(tmp_path: Path, compact: bool) -> None:
    write(tmp_path / "cache", Batch().set(A, "1").set(B, "2"))
    (tmp_path / "copy").mkdir(mode=0o700)
    with lmdb.open(os.fspath(tmp_path / "cache")) as env:
        env.copy(os.fspath(tmp_path / "copy"), compact=compact)
    copy = local_lmdb.Handler(tmp_path / "copy")
    copy.set(*A, "3", constraint="1")
    copy.reopen()
    assert copy.read([A, B]) == ["3", "2"]


# --- records ---


def _change_record(path: Path, key: Key, change) -> None:
    """Give LMDB another record, as if it had been there from the beginning; no handler has the cache open."""
    stored = f"{key.pk}\0{key.sk}".encode()
    with lmdb.open(os.fspath(path), map_size=1 << 28) as env, env.begin(write=True) as txn:
        txn.put(stored, change(txn.get(stored)))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: b"",
        lambda record: b"\1",
        lambda record: b"\1" * 9,
        lambda record: b"\1" * 40,
        lambda record: record[:-1],
        lambda record: record + b"x",
        lambda record: b"\2" + record[1:],
        lambda record: record[:-1] + bytes((record[-1] ^ 1,)),
    ],
    ids=["empty", "kind only", "no value", "repeated", "shorter", "longer", "another kind", "one bit"],
)
def test_a_record_that_is_damaged_is_named(tmp_path: Path, change) -> None:
    path = tmp_path / "cache"
    write(path, Batch().set(A, "1").set(B, "2"))
    _change_record(path, A, change)
    with pytest.raises(CorruptStateError, match=f"{re.escape(A.pk)} all.*{re.escape(str(path))}"):
        local_lmdb.Handler(path).get(*B)


def test_a_record_in_the_place_of_another_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    write(path, Batch().set(A, "1").set(B, "2"))
    records = []
    _change_record(path, B, lambda record: records.append(record) or record)
    _change_record(path, A, lambda record: records[0])
    with pytest.raises(CorruptStateError, match=re.escape(A.pk)):
        local_lmdb.Handler(path).get(*A)


def test_a_record_that_is_damaged_meanwhile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    cache = local_lmdb.Handler(path)
    cache.apply(Batch().set(A, "1").set(B, "2"))
    with cache._environment()._env.begin(write=True) as txn:
        stored = f"{A.pk}\0{A.sk}".encode()
        txn.put(stored, txn.get(stored)[:-1] + b"2")
    named = pytest.raises(CorruptStateError, match=f"{re.escape(A.pk)} all.*{re.escape(str(path))}")
    with named:
        cache.get(*A)
    with named:
        cache.set(*A, "2", constraint="1")
    with named:
        cache.scan("")
    assert cache.get(*B) == "2"


def test_a_cache_without_its_format_is_none(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.mkdir(mode=0o700)
    with lmdb.open(os.fspath(path), map_size=1 << 20) as env, env.begin(write=True) as txn:
        txn.put(b"else", b"where")
    with pytest.raises(CorruptStateError, match=re.escape(str(path))):
        local_lmdb.Handler(path).setup()


def test_a_file_of_another_kind_is_none(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.mkdir(mode=0o700)
    shutil.copy(__file__, path / "data.mdb")
    with pytest.raises(CorruptStateError, match=re.escape(str(path))):
        local_lmdb.Handler(path).setup()
