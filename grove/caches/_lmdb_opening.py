"""Opening a cache in LMDB, after looking at everything that would otherwise end the process with a signal.

LMDB maps its files into memory and trusts them: what is cut short, damaged or lies on a full disk kills whoever
touches it. So the disk's room, the file's pages and every record are looked at first.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import Any

import lmdb
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.caches import _lmdb_pages
from grove.caches._directory import make_private
from grove.caches._lmdb_errors import damaged, trouble
from grove.caches._lmdb_records import FORMAT, FORMAT_KEY, check
from grove.exceptions import AccessException, ConfigurationException, CorruptStateError
from grove.helpers import files, settings

__all__ = ["DATA", "ENV_PATH", "LOCK", "NETWORK", "RESIZES", "Configuration", "file_system", "open_environment"]

logger = logging.getLogger(__name__)

ENV_PREFIX = "GROVE_CACHE_LOCAL_LMDB_"
ENV_PATH = f"{ENV_PREFIX}PATH"

DATA = "data.mdb"
LOCK = "lock.mdb"
FIRST_SIZE = 1 << 20
MAP_SIZE = 1 << 28
MAX_READERS = 1024
LOCK_BYTES = 16384 + 64 * MAX_READERS
MOUNTS = "/proc/self/mountinfo"
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph", "glusterfs", "afs"})

# How often another process may enlarge the map while we look.
RESIZES = 64


class Configuration(BaseSettings):
    """GROVE_CACHE_LOCAL_LMDB_PATH: the directory. GROVE_CACHE_LOCAL_LMDB_FORCE: whether any file system will do."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="ignore")

    path: str = Field(
        default="",
        description="The directory; without it $STATE_DIRECTORY, $XDG_STATE_HOME/grove or ~/.local/state/grove.",
    )
    force: bool = Field(default=False, description="Whether to use a network file system all the same.")


def open_environment(path: Path) -> Any:
    """The environment in the directory `path`, which is made if need be; not open in this process yet.

    AccessException or ConfigurationException where it cannot be used, CorruptStateError where it cannot be trusted.
    """
    try:
        make_private(path)
        _refuse_foreign(path)
        _reserve_lock(path)
        _create(path)
        _check_start(path)
        env = lmdb.open(
            os.fspath(path),
            map_size=max(MAP_SIZE, (path / DATA).stat().st_size),
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
        raise trouble(err, path) from err
    except OSError as err:
        raise files.disk_error(err, path) from err
    try:
        _check(env, path)
    except BaseException:
        env.close()
        raise
    return env


# --- where it lies ---


def _refuse_foreign(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise AccessException(f"The cache directory {path} belongs to another user. Use one of your own.")
    if found.st_mode & 0o022:
        raise AccessException(f"The cache directory {path} can be written by other users. Run: chmod 700 {path}")
    kind = file_system(path)
    if kind in NETWORK and not settings.read(Configuration).force:
        raise ConfigurationException(
            f"The cache directory {path} lies on {kind}, which LMDB cannot use safely. Set {ENV_PATH} to a "
            f"local directory (or {ENV_PREFIX}FORCE=1, if you know better)."
        )


def file_system(path: Path) -> str:
    """The type of the file system that `path` lies on; empty where that cannot be found out.

    The format is that of proc_pid_mountinfo(5): the fifth field is the mount point, the type follows a lone dash.
    """
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                fields = line.split()
                where = fields[4].replace("\\040", " ")
                inside = real == where or real.startswith(where.rstrip("/") + "/")
                if inside and len(where) >= len(best):
                    best, kind = where, fields[fields.index("-") + 1]
    except (OSError, ValueError, IndexError):
        return ""
    return kind


# --- its files ---


def _reserve_lock(path: Path) -> None:
    """Give the lock file its blocks: on a full disk LMDB would end the process with SIGBUS instead."""
    name = path / LOCK
    try:
        if os.stat(name).st_blocks * 512 >= LOCK_BYTES:
            return
    except FileNotFoundError:
        pass
    handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(handle, 0o600)
        os.posix_fallocate(handle, 0, LOCK_BYTES)
    finally:
        os.close(handle)


def _create(path: Path) -> None:
    """Make the data file, which is there as a whole or not at all: LMDB could not go on with the beginning of one."""
    data, folder = path / DATA, path / ".new"
    if data.exists():
        return
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if data.exists():
            return
        files.make_directories(folder, path)
        files.remove(folder / DATA)
        with (
            lmdb.open(os.fspath(folder), lock=False, map_size=FIRST_SIZE, mode=0o600) as env,
            env.begin(write=True) as txn,
        ):
            txn.put(FORMAT_KEY, FORMAT)
        files.publish(folder / DATA, data)
        folder.rmdir()
        files.sync_directory(path)
    finally:
        os.close(directory)


# --- what it holds ---


def _check_start(path: Path) -> None:
    fd = os.open(path / DATA, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lmdb_pages.check_start(fd)
    except _lmdb_pages.Damaged as err:
        raise damaged(path, err) from err
    finally:
        os.close(fd)


def _check(env: Any, path: Path) -> None:
    """Look at the format, and at every page and record, while nobody can write."""
    try:
        env.reader_check()
        for _ in range(RESIZES):
            try:
                with env.begin(write=True):
                    _check_content(path, env.stat()["psize"])
                return
            except lmdb.MapResizedError:
                env.set_mapsize(0)
    except _lmdb_pages.Damaged as err:
        raise damaged(path, err) from err
    except lmdb.Error as err:
        raise trouble(err, path) from err
    except OSError as err:
        raise files.disk_error(err, path) from err
    raise damaged(path, "it says that it is larger than it can be")


def _check_content(path: Path, page_size: int) -> None:
    known = False
    fd = os.open(path / DATA, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for stored, record in _lmdb_pages.records(fd, page_size):
            if stored != FORMAT_KEY:
                check(stored, record, path)
            elif record != FORMAT:
                # The first of all keys: what follows may look like damage to us.
                raise CorruptStateError(
                    f"The cache in {path} has format {record!r}, which a newer Grove wrote. Use that version."
                )
            else:
                known = True
        if _lmdb_pages.is_cut_short(fd, page_size):
            logger.warning(
                "The last change to the cache could not be completed; its state is the one before.",
                extra={"cache": str(path)},
            )
    finally:
        os.close(fd)
    if not known:
        raise damaged(path, "it does not say which format it has")
