"""Values as text files, `{pk}/{sk}.cache`: readable with `cat`, and by older deployments.

Beside its text a file carries the BLAKE3 hash of it, as 32 hex digits in the extended attribute `user.grove.blake3`.
Files without one (made by hand, by an older deployment, or on a file system that has no such attributes) are believed.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

from blake3 import blake3

from grove.caches import Key
from grove.constants import CACHE_KEY_LAST, CACHE_KEY_LOCK
from grove.exceptions import CorruptStateError
from grove.helpers import files

__all__ = ["Values", "hash_of", "replace"]

ATTRIBUTE = "user.grove.blake3"
SUFFIX = ".cache"
TEMP = ".new"

_RESTORE = "Restore it from a backup, or delete it to start its stream again."

# What `safe_component` makes, how that ends where it had to cut, and the longest name that a file can have.
_OURS = re.compile(r"(?:[A-Za-z0-9._-]|%[0-9A-F]{2})*(?:~[0-9a-f]{32})?|%")
_CUT = re.compile(r"~[0-9a-f]{32}\Z")
_NAME_LIMIT = 255

# What an older deployment may have left empty without losing anything: it writes these all the time, in place.
_EXPENDABLE = (f"{CACHE_KEY_LOCK}.", f"{CACHE_KEY_LAST}.")


class Values:
    """The values below a directory. Whoever reads or writes holds the lock on it.

    AccessException and CorruptStateError name the file, and with it the key.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, key: Key) -> str | None:
        """The value; None where there is none."""
        for path in (self._path(key), self._older_path(key)):
            if path is not None:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    return _load(path, key)
        return None

    def write(self, key: Key, value: str | None) -> None:
        """Make a value durable; None removes it. What an older deployment had under this key goes."""
        path, older = self._path(key), self._older_path(key)
        if value is not None:
            replace(path, value.encode("utf-8", "surrogatepass"), self._directory)
        else:
            _remove(path)
        if older is not None:
            _remove(older)

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value. Keys too long for a file name are left out."""
        for path, key in self._files(prefix):
            value = None if key is None else _load(path, key)
            if key is not None and value is not None:
                yield key, value

    def unlisted(self) -> Iterator[Path]:
        """The files that `scan` leaves out."""
        return (path for path, key in self._files("") if key is None)

    def _files(self, prefix: str) -> Iterator[tuple[Path, Key | None]]:
        """Every file with a value whose pk starts with `prefix`, and its key; None where its name does not tell."""
        for folder in sorted(self._directory.iterdir()):
            pk = _original(folder.name)
            if folder.name.startswith(".") or not folder.is_dir() or (pk is not None and not pk.startswith(prefix)):
                continue
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                sk = _original(path.name.removesuffix(SUFFIX))
                if not path.name.startswith("."):
                    yield path, None if pk is None or sk is None else Key(pk, sk)

    def _path(self, key: Key) -> Path:
        return self._directory / files.safe_component(key.pk) / f"{files.safe_component(key.sk)}{SUFFIX}"

    def _older_path(self, key: Key) -> Path | None:
        """Where an older deployment, which used the operation as it was, has put this value."""
        name = f"{key.sk}{SUFFIX}"
        if "/" in name or "\0" in name or name.startswith("."):
            return None
        # A name that is ours belongs to the key it was made of, and to no other.
        if _OURS.fullmatch(key.sk) or len(name.encode("utf-8", "surrogatepass")) > _NAME_LIMIT:
            return None
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            return None
        return self._directory / files.safe_component(key.pk) / name


def hash_of(data: bytes) -> str:
    """32 hex digits that change where any bit of `data` does."""
    return blake3(data).hexdigest(16)


def replace(path: Path, data: bytes, root: Path) -> None:
    """Make `data` the content of `path`, durably: the new content or the old one, never a part of either."""
    temp = path.with_name(f".{path.name}{TEMP}"[-_NAME_LIMIT:])
    try:
        files.make_directories(path.parent, root)
        files.remove(temp)
        files.write_new(temp, data)
        _sign(temp, data)
        files.replace(temp, path)
        files.sync_directory(path.parent)
    except OSError as err:
        raise files.disk_error(err, path) from err


def _remove(path: Path) -> None:
    try:
        if path.exists():
            files.remove(path)
            files.sync_directory(path.parent)
    except OSError as err:
        raise files.disk_error(err, path) from err


def _load(path: Path, key: Key) -> str | None:
    """The value of `key` in the file `path`; None where an older deployment has died over one that nobody needs."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as err:
        raise files.disk_error(err, path) from err
    if not data:
        if key.pk.startswith(_EXPENDABLE):
            return None
        raise CorruptStateError(f"The cache file {path} is empty. {_RESTORE}")
    if _signature(path) not in (None, hash_of(data)):
        raise CorruptStateError(
            f"The cache file {path} is not as Grove wrote it. {_RESTORE} If it was changed on purpose, "
            "put a copy of it in its place."
        )
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as err:
        raise CorruptStateError(f"The cache file {path} is not UTF-8. {_RESTORE}") from err


def _sign(path: Path, data: bytes) -> None:
    """Attach the hash to a file that has no name to be found by yet. Losing it costs the check, not the value."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setxattr(path, ATTRIBUTE, hash_of(data).encode("ascii"))


def _signature(path: Path) -> str | None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.getxattr(path, ATTRIBUTE).decode("ascii", "replace")
    return None


def _original(name: str) -> str | None:
    """The text of which `safe_component` made `name`; None where it had to cut it."""
    if _CUT.search(name):
        return None
    if name == "%":
        return ""
    return unquote_to_bytes(name).decode("utf-8", "surrogatepass")
