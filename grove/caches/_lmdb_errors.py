"""What an error of LMDB means, and what to do about it."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import lmdb

from grove.exceptions import AccessException, CorruptStateError, GroveException
from grove.helpers import files

__all__ = ["RESTORE", "damaged", "trouble"]

RESTORE = "Restore the cache from a backup, or move it away to start its streams again."

_DAMAGES = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO)

# A disk or a file with less room than that, in bytes, may well be what stopped LMDB.
_ROOM = 1 << 16


def damaged(path: Path, what: object) -> CorruptStateError:
    """The cache in the directory `path` cannot be trusted; `what` is half a sentence."""
    return CorruptStateError(f"The cache in {path} is damaged: {what}. {RESTORE}")


def trouble(err: lmdb.Error, path: Path) -> GroveException:
    """What `err` means for the cache in the directory `path`, to be raised `from err`."""
    text = str(err)
    if isinstance(err, _DAMAGES):
        return damaged(path, text)
    for number in _OF_THE_DISK:
        if os.strerror(number) in text:
            number = _why_cut_short(path) if number == errno.EIO else number
            return files.disk_error(OSError(number, os.strerror(number)), path)
    return AccessException(f"The cache in {path} failed: {text}.")


def _why_cut_short(path: Path) -> int:
    """What EIO means: LMDB also says it where only the beginning of what it wrote found room."""
    try:
        size = (path / "data.mdb").stat().st_size
        space = os.statvfs(path)
    except OSError:
        return errno.EIO
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and size > limit - _ROOM:
        return errno.EFBIG
    return errno.ENOSPC if space.f_bavail * space.f_frsize < _ROOM else errno.EIO
