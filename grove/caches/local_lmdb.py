"""State in LMDB on this host's disk: the default. Shared by all processes of the host, durable on return."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lmdb
from blake3 import blake3

from grove.caches import BaseCache, Batch, Key, _lmdb_pages
from grove.caches._directory import make_private
from grove.exceptions import (
    AccessException,
    ConfigurationException,
    ConflictError,
    CorruptStateError,
    GroveException,
    NotFoundException,
)
from grove.helpers import files

__all__ = ["Handler"]

ENV_PATH = "GROVE_CACHE_LOCAL_LMDB_PATH"
ENV_FORCE = "GROVE_CACHE_LOCAL_LMDB_FORCE"

MAP_SIZE = 1 << 28
MAP_LIMIT = 1 << 40
RESIZES = 64
MAX_READERS = 1024
LOCK_BYTES = 16384 + 64 * MAX_READERS
ROOM = 1 << 16
KEY_LIMIT = 511
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph", "glusterfs", "afs"})

# A record: version, checksum over all else and the key, the value's bytes. Version 2 carries a key too long for LMDB.
PLAIN = 1
LONG_KEY = 2
CHECKSUM = 8
FORMAT_KEY = b"\0format"
FORMAT = b"1"


# --- records ---


def _store_key(key: Key) -> bytes:
    raw = f"{key.pk}\0{key.sk}".encode("utf-8", "surrogatepass")
    if not key.pk or "\0" in key.pk:
        raise ValueError("a partition key is not empty, and has no NUL in it")
    if len(raw) <= KEY_LIMIT:
        return raw
    return raw[:256] + b"\0\0" + blake3(raw).digest()


def _encode(key: Key, stored: bytes, value: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"a cache holds text, not {type(value).__name__}")
    data = value.encode("utf-8", "surrogatepass")
    raw = f"{key.pk}\0{key.sk}".encode("utf-8", "surrogatepass")
    if raw == stored:
        return _record(PLAIN, stored, data)
    return _record(LONG_KEY, stored, struct.pack("<I", len(raw)) + raw + data)


def _record(version: int, stored: bytes, body: bytes) -> bytes:
    return bytes((version,)) + _checksum(bytes((version,)), stored, body) + body


def _checksum(version: bytes, stored: bytes, body: bytes) -> bytes:
    return blake3(version + stored + b"\0" + body).digest(CHECKSUM)


def _check_record(stored: bytes, record: bytes) -> None:
    if record[1 : 1 + CHECKSUM] != _checksum(record[:1], stored, record[1 + CHECKSUM :]):
        raise CorruptStateError(f"The cache's record for {_shown(stored)} is damaged. {_RESTORE}")


def _decode(stored: bytes, record: bytes) -> tuple[Key, str]:
    """The key and value of a record. CorruptStateError names the key."""
    _check_record(stored, record)
    version, body = record[:1], record[1 + CHECKSUM :]
    raw = stored
    if version == bytes((LONG_KEY,)):
        (size,) = struct.unpack_from("<I", body)
        raw, body = body[4 : 4 + size], body[4 + size :]
    elif version != bytes((PLAIN,)):
        raise CorruptStateError(
            f"The cache's record for {_shown(stored)} was written by a newer Grove (format {version.hex()}). "
            "Use that version."
        )
    pk, _, sk = raw.decode("utf-8", "surrogatepass").partition("\0")
    return Key(pk, sk), body.decode("utf-8", "surrogatepass")


_RESTORE = "Restore the cache from a backup, or move it away to start its streams again."


def _shown(stored: bytes) -> str:
    # After two NULs follows the hash of a long key.
    text, _, _ = stored.partition(b"\0\0")
    return ascii(text.replace(b"\0", b" ").decode("utf-8", "replace"))


# --- one environment per process ---


class _Request:
    """One caller's batch, waiting for the transaction that carries it."""

    __slots__ = ("batch", "done", "error", "lead")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.done: threading.Event | None = None
        self.error: BaseException | None = None
        self.lead = False


class _Closed(Exception):
    """The environment was closed after it was looked up, and nothing was done: open it anew."""


class _Store:
    """One open LMDB environment, and the only one this process has for that directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._env = _open(path)
        self._queue: list[_Request] = []
        self._guard = threading.Lock()
        self._leading = False
        # Resizing the map and closing need every transaction of this process to have ended.
        self._readers = threading.Condition()
        self._reading = 0
        self._barred = False
        self._writing = threading.Lock()
        self.closed = False

    def close(self) -> None:
        """Let the environment go once its readers and its writer have."""
        with self._writing, self._alone():
            if not self.closed:
                self.closed = True
                self._env.close()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let the readers end, and no other begin. The caller holds `_writing`."""
        with self._readers:
            self._barred = True
            try:
                self._readers.wait_for(lambda: not self._reading)
                yield
            finally:
                self._barred = False
                self._readers.notify_all()

    # reading

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Any]:
        """A read transaction. _Closed before it begins, AccessException where the environment cannot give one."""
        txn = self._begin()
        try:
            with txn:
                try:
                    yield txn
                except lmdb.Error as err:
                    raise self._failed(err) from err
        finally:
            self._end_reading()

    def _begin(self) -> Any:
        """A read transaction, counted until `_end_reading`."""
        for _ in range(RESIZES):
            with self._readers:
                self._readers.wait_for(lambda: not self._barred)
                if self.closed:
                    raise _Closed
                self._reading += 1
            try:
                return self._env.begin()
            except lmdb.MapResizedError:
                self._end_reading()
            except lmdb.Error as err:
                self._end_reading()
                raise self._failed(err) from err
            # Another process has enlarged the map. Taking that over needs the writer to have ended, too.
            with self._writing:
                self._resize(0)
        raise self._outgrown()

    def _end_reading(self) -> None:
        with self._readers:
            self._reading -= 1
            self._readers.notify_all()

    # writing

    def apply(self, batch: Batch) -> None:
        """Commit `batch`, together with those that other threads bring while a commit is under way."""
        request = _Request(batch)
        with self._guard:
            self._queue.append(request)
            leader = not self._leading
            if leader:
                self._leading = True
            else:
                request.done = threading.Event()
        if request.done is not None:
            request.done.wait()
            leader = request.lead
        if leader:
            self._lead()
        if request.error is not None:
            raise request.error

    def _lead(self) -> None:
        """Commit all that is queued, then hand over to the first of those who came meanwhile."""
        with self._guard:
            requests, self._queue = self._queue, []
        try:
            with self._writing:
                self._commit(requests)
        except BaseException as err:
            for request in requests:
                request.error = err
            raise
        finally:
            with self._guard:
                following = self._queue[0] if self._queue else None
                self._leading = following is not None
            for request in requests:
                if request.done is not None and not request.lead:
                    request.done.set()
            if following is not None and following.done is not None:
                following.lead = True
                following.done.set()

    def _commit(self, requests: list[_Request]) -> None:
        if self.closed:
            raise _Closed
        for _ in range(RESIZES):
            try:
                self._transact(requests)
                return
            except lmdb.MapFullError as err:
                size = self._env.info()["map_size"] * 2
                if size > MAP_LIMIT:
                    raise self._failed(err) from err
                self._resize(size)
            except lmdb.MapResizedError:
                self._resize(0)
            except lmdb.Error as err:
                raise self._failed(err) from err

        raise self._outgrown()

    def _outgrown(self) -> CorruptStateError:
        return CorruptStateError(f"The cache in {self.path} says that it is larger than it can be. {_RESTORE}")

    def _transact(self, requests: list[_Request]) -> None:
        with self._env.begin(write=True) as txn:
            for request in requests:
                request.error = None
                try:
                    _apply(txn, request.batch)
                except (ConflictError, CorruptStateError, TypeError, ValueError) as err:
                    request.error = err

    def _resize(self, size: int) -> None:
        with self._alone():
            if not self.closed:
                try:
                    self._env.set_mapsize(size)
                except lmdb.Error as err:
                    raise self._failed(err) from err

    def _failed(self, err: lmdb.Error) -> GroveException:
        return _trouble(err, self.path)


def _apply(txn: Any, batch: Batch) -> None:
    """Check the conditions, then change: nothing is written where a condition or a value is wrong."""
    for key, value in batch.requires.items():
        stored = _store_key(key)
        record = txn.get(stored)
        found = _decode(stored, record)[1] if record is not None else None
        if found != value:
            raise ConflictError(f"{key.pk} ({key.sk}) is not what it was; nothing was changed.")
    puts = []
    for key, value in batch.changes.items():
        stored = _store_key(key)
        puts.append((stored, None if value is None else _encode(key, stored, value)))
    for stored, data in puts:
        if data is None:
            txn.delete(stored)
        else:
            txn.put(stored, data)


def _trouble(err: lmdb.Error, path: Path) -> GroveException:
    text = str(err)
    if isinstance(err, _DAMAGES):
        return CorruptStateError(f"The cache in {path} is damaged or no LMDB ({text}). {_RESTORE}")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO):
        if os.strerror(number) in text:
            number = _why_cut_short(path) if number == errno.EIO else number
            return files.disk_error(OSError(number, os.strerror(number)), path)
    return AccessException(f"The cache in {path} failed: {text}.")


def _why_cut_short(path: Path) -> int:
    """What EIO means: LMDB also says it where only the beginning of what it wrote found room."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and _size(path / "data.mdb") > limit - ROOM:
        return errno.EFBIG
    space = os.statvfs(path)
    return errno.ENOSPC if space.f_bavail * space.f_frsize < ROOM else errno.EIO


_DAMAGES = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)


# --- opening ---


def _open(path: Path) -> Any:
    """Open the environment, after looking at everything that would otherwise end the process with a signal."""
    try:
        make_private(path)
        _refuse_foreign(path)
        _reserve_lock(path)
        _check_start(path)
        env = lmdb.open(
            os.fspath(path),
            map_size=max(MAP_SIZE, _size(path / "data.mdb")),
            max_readers=MAX_READERS,
            mode=0o600,
            sync=True,
            metasync=True,
            writemap=False,
            readahead=False,
        )
    except lmdb.LockError as err:
        raise AccessException(
            f"The cache in {path} is in use by a process that shares no process ids with this one, such as "
            "another container. Give each container a cache of its own, or use one made for several hosts."
        ) from err
    except lmdb.Error as err:
        raise _trouble(err, path) from err
    except OSError as err:
        raise files.disk_error(err, path) from err
    try:
        _check(env, path)
    except BaseException:
        env.close()
        raise
    return env


def _check_start(path: Path) -> None:
    try:
        fd = os.open(path / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _lmdb_pages.check_page_size(fd)
    except _lmdb_pages.Damaged as err:
        raise _damaged(err, path) from err
    finally:
        os.close(fd)


def _check(env: Any, path: Path) -> None:
    """Look at every page and record while nobody can write, then at the format, which a new cache gets here."""
    env.reader_check()
    try:
        for _ in range(RESIZES):
            try:
                with env.begin(write=True) as txn:
                    _check_content(txn, env.stat()["psize"], path)
                return
            except lmdb.MapResizedError:
                env.set_mapsize(0)
    except _lmdb_pages.Damaged as err:
        raise _damaged(err, path) from err
    except lmdb.Error as err:
        raise _trouble(err, path) from err
    except OSError as err:
        raise files.disk_error(err, path) from err
    raise CorruptStateError(f"The cache in {path} says that it is larger than it can be. {_RESTORE}")


def _check_content(txn: Any, page_size: int, path: Path) -> None:
    found = None
    fd = os.open(path / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for stored, record in _lmdb_pages.records(fd, page_size):
            if stored == FORMAT_KEY:
                found = record
            else:
                _check_record(stored, record)
    finally:
        os.close(fd)
    if found is None:
        txn.put(FORMAT_KEY, FORMAT, overwrite=False)
    elif found != FORMAT:
        raise CorruptStateError(
            f"The cache in {path} has format {found!r}, which a newer Grove wrote. Use that version."
        )


def _damaged(err: Exception, path: Path) -> CorruptStateError:
    return CorruptStateError(f"The cache in {path} is damaged: {err}. {_RESTORE}")


def _refuse_foreign(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise AccessException(f"The cache directory {path} belongs to another user. Use one of your own.")
    if found.st_mode & 0o022:
        raise AccessException(f"The cache directory {path} can be written by other users. Run: chmod 700 {path}")
    kind = _file_system(path)
    if kind in NETWORK and not os.environ.get(ENV_FORCE):
        raise ConfigurationException(
            f"The cache directory {path} lies on {kind}, which LMDB cannot use safely. Set {ENV_PATH} to a "
            f"local directory (or {ENV_FORCE}=1, if you know better)."
        )


def _file_system(path: Path, mountinfo: str = "/proc/self/mountinfo") -> str:
    """The type of the file system that `path` lies on; empty where that cannot be found out."""
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open(mountinfo, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                fields = line.split()
                where = fields[4].replace("\\040", " ")
                inside = real == where or real.startswith(where.rstrip("/") + "/")
                if inside and len(where) >= len(best):
                    best, kind = where, fields[fields.index("-") + 1]
    except (OSError, ValueError, IndexError):
        return ""
    return kind


def _reserve_lock(path: Path) -> None:
    """Give the lock file its blocks: on a full disk LMDB would end the process with SIGBUS instead."""
    name = path / "lock.mdb"
    try:
        if os.stat(name).st_blocks * 512 >= LOCK_BYTES:
            return
    except FileNotFoundError:
        pass
    if _in_use(path):
        # Closing another handle of the file would drop this process's locks on it.
        return
    handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(handle, stat.S_IRUSR | stat.S_IWUSR)
        os.posix_fallocate(handle, 0, LOCK_BYTES)
    finally:
        os.close(handle)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


_stores: dict[tuple[int, int], _Store] = {}
# Reentrant, because only such a lock refuses to be released by a thread that has not got it: an interrupted fork.
_stores_guard = threading.RLock()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _in_use(path: Path) -> bool:
    return _identity(path) in _stores


def _store(path: Path) -> _Store:
    """This process's environment for a directory, opened once."""
    with _stores_guard:
        identity = _identity(path)
        found = _stores.get(identity) if identity is not None else None
        if found is None:
            found = _Store(path)
            identity = _identity(path)
            assert identity is not None
            _stores[identity] = found
        return found


def _before_fork() -> None:
    """Close everything: a child can neither use what its parent has open nor close it without harm to the parent."""
    _stores_guard.acquire()
    for identity, store in list(_stores.items()):
        store.close()
        del _stores[identity]


def _after_fork_in_parent() -> None:
    _stores_guard.release()


def _after_fork_in_child() -> None:
    global _stores, _stores_guard
    # Left only where closing was interrupted: never used here, and never closed, which could harm the parent.
    for store in _stores.values():
        store.closed = True
        _abandoned.append(store)
    _stores = {}
    _stores_guard = threading.RLock()


_abandoned: list[_Store] = []

# The guard is held from before to after, so that nobody opens anything meanwhile. Both sides open anew on next use.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


# --- the handler ---


def _default_path() -> Path:
    for variable, below in ((ENV_PATH, ""), ("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "grove")):
        # systemd may list several state directories; the first is ours.
        value = os.environ.get(variable, "").split(":")[0] if below == "" else os.environ.get(variable, "")
        if value:
            return Path(value) / below
    try:
        return Path.home() / ".local" / "state" / "grove"
    except RuntimeError as err:
        raise ConfigurationException(
            f"There is no home directory to keep the cache in. Set {ENV_PATH} to a local directory."
        ) from err


class Handler(BaseCache):
    """The cache in one directory: GROVE_CACHE_LOCAL_LMDB_PATH, else $STATE_DIRECTORY, else below the home directory.

    AccessException and CorruptStateError name that directory. Any number of handlers, threads and processes may use
    it at once.
    """

    SCOPE: ClassVar[str] = "host"

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.directory: Path = Path(path).absolute() if path is not None else _default_path().absolute()
        self._opened: _Store | None = None

    def setup(self) -> None:
        """Open the environment; errors are the class's."""
        self._open()

    def _open(self) -> _Store:
        opened = self._opened
        if opened is None or opened.closed:
            self._opened = opened = _store(self.directory)
        return opened

    def reopen(self) -> None:
        """Close the environment and open it anew, for every handler of this process."""
        with _stores_guard:
            opened = self._opened
            for identity, store in list(_stores.items()):
                if store is opened:
                    del _stores[identity]
            # Closed before anybody can open it again: LMDB allows one environment per process.
            if opened is not None and not opened.closed:
                opened.close()
        self._opened = None
        self._open()

    def get(self, pk: str, sk: str) -> str:
        """The value. NotFoundException where there is none."""
        (found,) = self.read([Key(pk, sk)])
        if found is None:
            raise NotFoundException(f"Nothing is stored for {pk} ({sk}).")
        return found

    def set(self, pk: str, sk: str, value: str, not_set: bool | None = False, constraint: str | None = None) -> None:
        """Store a value, under a condition. ConflictError where it is not met."""
        if not_set and constraint is not None:
            raise ValueError("not_set and constraint exclude each other")
        batch = Batch().set(Key(pk, sk), value)
        if not_set:
            batch.require(Key(pk, sk), None)
        elif constraint is not None:
            batch.require(Key(pk, sk), constraint)
        self.apply(batch)

    def delete(self, pk: str, sk: str, constraint: str | None = None) -> None:
        """Remove a value, under a condition. ConflictError where it is not met."""
        batch = Batch().delete(Key(pk, sk))
        if constraint is not None:
            batch.require(Key(pk, sk), constraint)
        self.apply(batch)

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`, in one snapshot."""
        while True:
            try:
                with self._open().snapshot() as txn:
                    return [self._value(txn, key) for key in keys]
            except _Closed:
                continue

    def _value(self, txn: Any, key: Key) -> str | None:
        stored = _store_key(key)
        record = txn.get(stored)
        return None if record is None else _decode(stored, record)[1]

    def apply(self, batch: Batch) -> None:
        """All of `batch`, durable on return, or nothing."""
        while True:
            try:
                self._open().apply(batch)
                return
            except _Closed:
                continue

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value, as they were at one moment."""
        while True:
            try:
                with self._open().snapshot() as txn:
                    return iter(self._found(txn, prefix))
            except _Closed:
                continue

    def _found(self, txn: Any, prefix: str) -> list[tuple[Key, str]]:
        start = prefix.encode("utf-8", "surrogatepass")[:256]
        found = []
        with txn.cursor() as cursor:
            if cursor.set_range(start):
                for stored, record in cursor:
                    if not stored.startswith(start):
                        break
                    if stored == FORMAT_KEY:
                        continue
                    key, value = _decode(stored, record)
                    if key.pk.startswith(prefix):
                        found.append((key, value))
        return found
