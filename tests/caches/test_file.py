"""Text files as the place of state: R10 for values and the journal, and what older deployments have left."""

import errno
import os
import random
import re
import shutil
from pathlib import Path

import pytest

from grove.caches import Batch, Key, local_file
from grove.exceptions import AccessException, ConfigurationException, CorruptStateError
from tests.caches.programs import A, B, C, run, seeded, start

ATTRIBUTE = "user.grove.blake3"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(path: Path) -> local_file.Handler:
    cache = local_file.Handler(path)
    cache.setup()
    return cache


@pytest.fixture
def signs(tmp_path: Path) -> None:
    try:
        os.setxattr(tmp_path, ATTRIBUTE, b"")
    except OSError as err:
        pytest.skip(f"NOT TESTED: damage to a text can be seen only where there are extended attributes ({err})")


def file_of(cache: local_file.Handler, key: Key) -> Path:
    return cache.directory / key.pk / f"{key.sk}.cache"


def overwrite(file: Path, data: bytes) -> None:
    """Change what is in a file behind everybody's back: the same file, and the same time."""
    status = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_it_needs_a_place() -> None:
    with pytest.raises(ConfigurationException, match="GROVE_CACHE_LOCAL_FILE_PATH"):
        local_file.Handler()


def test_what_is_stored_can_be_read_by_people(cache: local_file.Handler) -> None:
    cache.apply(Batch().set(A, "2024-02-29T23:59:59Z").set(B._replace(sk="événements/x"), "ü"))
    assert file_of(cache, A).read_text() == "2024-02-29T23:59:59Z"
    assert (cache.directory / B.pk / "%C3%A9v%C3%A9nements%2Fx.cache").read_bytes() == "ü".encode()


# --- damage ---


@pytest.mark.usefixtures("signs")
@pytest.mark.parametrize("count", [200, pytest.param(5_000, marks=pytest.mark.long)])
def test_a_damaged_value_is_named(cache: local_file.Handler, count: int) -> None:
    choose = seeded()
    value = "2024-02-29T23:59:59.123456Z, " * 200
    cache.apply(Batch().set(A, value).set(B, "other"))
    file = file_of(cache, A)
    whole = file.read_bytes()
    named = re.escape(str(file))
    for number in range(count):
        data = bytearray(whole)
        if number % 2:
            del data[choose.randrange(len(data)) :]
        else:
            for _ in range(choose.choice((1, 1, 20))):
                data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        if data == whole:
            continue
        overwrite(file, data)
        for work in (
            lambda: cache.get(*A),
            lambda: cache.read([B, A]),
            lambda: cache.scan(""),
            lambda: cache.set(*A, "new", constraint=value),
            lambda: cache.apply(Batch().require(A, None).set(A, "new")),
        ):
            with pytest.raises(CorruptStateError, match=named):
                work()
        assert cache.get(*B) == "other"
    overwrite(file, whole)
    cache.set(*A, "new", constraint=value)
    assert cache.get(*A) == "new"


def test_an_empty_file_is_not_nothing(cache: local_file.Handler) -> None:
    cache.set(*A, "1")
    # As an older deployment leaves it after a crash: a file of its own, without a signature.
    file_of(cache, A).unlink()
    file_of(cache, A).touch()
    with pytest.raises(CorruptStateError, match=re.escape(str(file_of(cache, A)))):
        cache.get(*A)
    with pytest.raises(CorruptStateError):
        cache.set(*A, "2", not_set=True)


def test_a_value_that_is_no_text_is_named(cache: local_file.Handler) -> None:
    file_of(cache, A).parent.mkdir()
    file_of(cache, A).write_bytes(b"\xff\xfe1")
    with pytest.raises(CorruptStateError, match=re.escape(str(file_of(cache, A)))):
        cache.get(*A)


def test_a_value_that_cannot_be_read_is_named(cache: local_file.Handler) -> None:
    file_of(cache, A).mkdir(parents=True)
    with pytest.raises(AccessException, match=re.escape(str(file_of(cache, A)))):
        cache.get(*A)


@pytest.mark.usefixtures("signs")
def test_who_changes_a_file_has_to_mean_it(cache: local_file.Handler) -> None:
    cache.set(*A, "1")
    file = file_of(cache, A)
    with file.open("w") as writing:
        writing.write("2")
    with pytest.raises(CorruptStateError, match="put a copy of it in its place"):
        cache.get(*A)
    shutil.copyfile(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)
    assert cache.get(*A) == "2"
    cache.set(*A, "3", constraint="2")
    assert cache.get(*A) == "3"


def test_a_file_system_without_attributes_will_do(cache: local_file.Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", refuse)
    monkeypatch.setattr(os, "getxattr", refuse)
    cache.apply(Batch().set(A, "1").set(B, "2"))
    assert cache.read([A, B]) == ["1", "2"]


# --- the journal ---

# A text that kills the process where the batch is being carried out, after the journal was written.
KILL = """
    import os, signal

    class Text(str):
        def encode(self, *arguments):
            os.kill(os.getpid(), signal.SIGKILL)

    batch = Batch().delete(C)
    for number, key in enumerate((A, B)):
        batch.set(key, (Text if str(number) == arguments[0] else str)(f"new {number}"))
    cache.apply(batch)
"""


def leave_journal(cache: local_file.Handler, killed_at: int) -> None:
    cache.apply(Batch().set(A, "old 0").set(B, "old 1").set(C, "old 2"))
    with start(KILL, "local_file", cache.directory, killed_at) as process:
        assert process.wait() == -9


@pytest.mark.parametrize("killed_at", [0, 1])
@pytest.mark.parametrize("then", ["read", "scan", "apply"])
def test_whoever_comes_next_finishes_a_batch(cache: local_file.Handler, killed_at: int, then: str) -> None:
    leave_journal(cache, killed_at)
    assert (cache.directory / ".journal").exists()
    new = {A: "new 0", B: "new 1"}
    if then == "read":
        assert cache.read([A, B, C]) == ["new 0", "new 1", None]
    elif then == "scan":
        assert dict(cache.scan("")) == new
    else:
        cache.apply(Batch().require(B, "new 1").require(C, None).set(A, "newer"))
        assert cache.read([A, B, C]) == ["newer", "new 1", None]
    assert not (cache.directory / ".journal").exists()


def test_a_damaged_journal_is_named(cache: local_file.Handler) -> None:
    leave_journal(cache, 0)
    journal = cache.directory / ".journal"
    whole = journal.read_bytes()
    choose = random.Random(3)
    damages = [whole[:length] for length in range(len(whole))]
    damages += [
        whole[:at] + bytes((whole[at] ^ 1 << choose.randrange(8),)) + whole[at + 1 :] for at in range(len(whole))
    ]
    damages += [whole + b" ", b"[]"]
    for data in damages:
        journal.write_bytes(data)
        with pytest.raises(CorruptStateError, match=re.escape(str(journal))):
            cache.read([A])
    assert file_of(cache, A).read_text() == "old 0"
    journal.write_bytes(whole)
    assert cache.read([A, B, C]) == ["new 0", "new 1", None]


def test_a_journal_of_a_newer_version_is_left_to_it(cache: local_file.Handler) -> None:
    leave_journal(cache, 0)
    journal = cache.directory / ".journal"
    newer = journal.read_bytes().replace(b"grove-journal-1", b"grove-journal-2")
    journal.write_bytes(newer)
    with pytest.raises(CorruptStateError, match=f"newer Grove.*{re.escape(str(journal))}"):
        cache.get(*A)
    assert journal.read_bytes() == newer


# --- what is in the way ---


@pytest.mark.parametrize("name", [".lock", f"{A.pk}"])
def test_links_are_not_followed(cache: local_file.Handler, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "file" if name == ".lock" else tmp_path / "elsewhere"
    (cache.directory / name).unlink(missing_ok=True)
    (cache.directory / name).symlink_to(target)
    with pytest.raises(AccessException, match=re.escape(str(cache.directory))):
        cache.set(*A, "1")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_directory_that_went_away_is_named(cache: local_file.Handler) -> None:
    cache.set(*A, "1")
    shutil.rmtree(cache.directory)
    with pytest.raises(AccessException, match=re.escape(str(cache.directory))):
        cache.get(*A)


# --- older deployments ---


def test_the_files_of_an_older_deployment_are_taken_over(cache: local_file.Handler) -> None:
    """It has put the operation into the name as it was."""
    key = A._replace(sk="my operation, ü")
    folder = cache.directory / A.pk
    folder.mkdir()
    older = folder / "my operation, ü.cache"
    older.write_text("1")
    assert cache.get(*key) == "1"
    cache.set(*key, "2", constraint="1")
    assert (cache.get(*key), older.exists()) == ("2", False)
    cache.delete(*key)
    assert cache.read([key]) == [None]
    older.write_text("3")
    cache.delete(*key, constraint="3")
    assert cache.read([key]) == [None]


def test_a_name_of_ours_is_no_older_one(cache: local_file.Handler) -> None:
    """The key `a b` lies in the file that an older deployment would use for the key `a%20b`."""
    cache.set(A.pk, "a b", "1")
    assert cache.read([A._replace(sk="a%20b")]) == [None]
    cache.set(A.pk, "a%20b", "2")
    assert cache.read([A._replace(sk="a b"), A._replace(sk="a%20b")]) == ["1", "2"]


def test_nothing_is_left_behind(cache: local_file.Handler) -> None:
    cache.apply(Batch().set(A, "1").set(B, "2"))
    cache.apply(Batch().delete(A).set(B, "3"))
    run("cache.apply(Batch().set(A, '4').set(C, '5'))", "local_file", cache.directory)
    files = sorted(str(file.relative_to(cache.directory)) for file in cache.directory.rglob("*") if file.is_file())
    assert files == [".lock", *(f"{key.pk}/all.cache" for key in (A, B, C))]
    assert cache.read([A, B, C]) == ["4", "3", "5"]
