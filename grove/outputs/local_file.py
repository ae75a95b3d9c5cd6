"""Gzip files below a directory: each appears whole, once, and never in place of another."""

import contextlib
import errno
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from datetime import date
from typing import Any, ClassVar

from blake3 import blake3
from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from grove.exceptions import AccessException, ConfigurationException
from grove.helpers import files
from grove.outputs import BaseOutput, ObjectName
from grove.outputs._compression import CompressionSettings
from grove.outputs._staged import submit_staged

__all__ = ["Handler"]

logger = logging.getLogger(__name__)

ENV_PREFIX = "GROVE_OUTPUT_LOCAL_FILE_"

# Lies in the output directory and holds random names of it: tells the directory from an empty mount point.
MARKER = ".grove-output"

# What this process knows of directories on disk, whichever handler has seen to them.
_durable: files.Durable = {}

_LONGEST_NAME = 255
_STALE = 3600.0
_MANY_DIRECTORIES = 10_000
_ATTEMPT = re.compile(r"[A-Za-z0-9_-]{1,120}")


class Handler(BaseOutput):
    """Stages an object as a hidden file beside its final name, and renames it when it is published.

    Only `setup()`, `stage()`, `submit()` and `sweep()` look at the settings: an object is published, settled and
    discarded where it was staged, whatever is configured by then.
    """

    SCOPE: ClassVar[str | None] = "host"

    class Configuration(CompressionSettings):
        """GROVE_OUTPUT_LOCAL_FILE_PATH: the directory. GROVE_OUTPUT_LOCAL_FILE_MODE: of its files, in octal.

        GROVE_OUTPUT_LOCAL_FILE_COMPRESSION and GROVE_OUTPUT_LOCAL_FILE_COMPRESSION_LEVEL: how they are packed.
        GROVE_OUTPUT_LOCAL_FILE_MANIFEST: whether what is delivered is recorded in manifests.
        """

        model_config = SettingsConfigDict(env_prefix=ENV_PREFIX)

        path: str = Field(description="The directory of the files.")
        mode: str = Field(default="0600", description="The mode of the files, in octal; directories follow it.")
        manifest: bool = Field(default=False, description="Whether what is delivered is recorded in manifests.")

        @field_validator("mode")
        @classmethod
        def _octal(cls, value: str) -> str:
            if not re.fullmatch("0?[67][0-7]{2}", value):
                raise ValueError("it has to be an octal mode in which the owner may read and write, like 0640")
            return value

    def __init__(self) -> None:
        super().__init__()
        self.codec = self.config.codec()
        self.KIND = f".json{self.codec.suffix}"  # type: ignore[misc]  # as its settings say
        self._root = os.path.realpath(self.config.path)
        self._mode = int(self.config.mode, 8)
        self._folder_mode = _folder_mode(self._mode)
        self._marked: tuple[tuple[int, int], str] | None = None

    def setup(self) -> None:
        """ConfigurationException where the directory is missing, AccessException where it cannot be used."""
        if not self.config.path or not os.path.isdir(self._root):
            raise ConfigurationException(
                f"{ENV_PREFIX}PATH is {self.config.path!r}, which is not a directory. "
                "Create it, or set the variable to the directory in which objects are to be written."
            )
        if os.statvfs(self._root).f_flag & os.ST_RDONLY:
            raise files.disk_error(OSError(errno.EROFS, os.strerror(errno.EROFS)), self._root)
        if not os.access(self._root, os.R_OK | os.W_OK | os.X_OK):
            raise AccessException(
                f"{ENV_PREFIX}PATH is {self._root!r}, where user id {os.geteuid()} may not read and write. "
                "Give it the right to."
            )
        try:
            self._marker()
        except OSError as err:
            raise files.disk_error(err, self._root) from err

    # --- staging ---

    def stage(self, name: ObjectName, data: bytes) -> dict[str, Any]:
        """Write `data` to a hidden file; its content and its name are durable on return.

        AccessException names the path, what is wrong and, on a full disk, how many bytes are free.
        """
        final = os.path.join(self._root, name.path())
        temp = os.path.join(os.path.dirname(final), _temporary(os.path.basename(final), name))
        try:
            marker = self._marker()
            try:
                self._write(temp, data)
            except FileNotFoundError:
                # A reader that tidies up has removed the empty directory under our hands.
                self._write(temp, data)
        except OSError as err:
            raise files.disk_error(err, final) from err
        return {
            "temp": temp,
            "path": final,
            "root": self._root,
            "marker": marker,
            "size": len(data),
            "blake3": blake3(data).hexdigest(),
        }

    def _write(self, temp: str, data: bytes) -> None:
        if len(_durable) > _MANY_DIRECTORIES:
            _durable.clear()
        folder = os.path.dirname(temp)
        directory = files.open_directory(folder, self._root, self._folder_mode, _durable)
        try:
            files.write_new(temp, data, self._mode, directory)
            try:
                files.sync_directory(folder, directory)
            except BaseException:
                with contextlib.suppress(OSError):
                    files.remove(temp, directory)
                raise
        finally:
            os.close(directory)

    def publish(self, staged: dict[str, Any]) -> None:
        """Give the object its final name. A missing hidden file was published before, and perhaps taken away.

        AccessException where another file has that name, or where the output directory is not the one in which
        the object was staged.
        """
        temp, final = staged["temp"], staged["path"]
        try:
            directory = files.open_directory(os.path.dirname(final), staged["root"], durable=_durable)
        except FileNotFoundError:
            _require_marker(staged)
            return
        except OSError as err:
            raise files.disk_error(err, final) from err
        try:
            published = files.publish(temp, final, directory)
        except FileExistsError as err:
            if not _holds(final, staged, directory):
                raise files.disk_error(err, final) from err
            with contextlib.suppress(OSError):
                files.remove(temp, directory)
            return
        except OSError as err:
            raise files.disk_error(err, final) from err
        finally:
            os.close(directory)
        if not published and not os.path.lexists(final):
            _require_marker(staged)

    def settle(self, published: list[dict[str, Any]], staged: list[dict[str, Any]]) -> None:
        """Sync the directories of `published`, except those that staging `staged` has synced since."""
        synced = {os.path.dirname(record["path"]) for record in staged}
        for folder in sorted({os.path.dirname(record["path"]) for record in published} - synced):
            try:
                files.sync_directory(folder)
            except FileNotFoundError:
                # A reader has taken the objects away, and the directory with them.
                continue
            except OSError as err:
                raise files.disk_error(err, folder) from err

    def discard(self, staged: dict[str, Any]) -> None:
        """Remove the hidden file."""
        try:
            files.remove(staged["temp"])
        except NotADirectoryError:
            return
        except OSError as err:
            raise files.disk_error(err, staged["temp"]) from err

    def sweep(self, name: ObjectName, attempts: str, since: date, keep: set[str]) -> bool:
        """Remove hidden files of earlier attempts. False, and a warning, where one cannot be removed."""
        folder = os.path.join(self._root, name.folder())
        try:
            for day in _days(folder, since):
                self._sweep_day(day, attempts, keep)
        except OSError as err:
            logger.warning(
                "Temporary files of an earlier run could not be removed.",
                extra={"path": folder, "error": str(err)},
            )
            return False
        return True

    def _sweep_day(self, folder: str, attempts: str, keep: set[str]) -> None:
        directory = files.open_directory(folder, self._root)
        try:
            for name in os.listdir(directory):
                attempt = name.removesuffix(".tmp").rpartition(".")[2]
                if not (name.startswith(".") and name.endswith(".tmp") and attempt.startswith(attempts)):
                    continue
                path = os.path.join(folder, name)
                if path not in keep:
                    files.remove(path, directory)
        finally:
            os.close(directory)

    # --- the manifest ---

    @property
    def keeps_manifest(self) -> bool:
        """As GROVE_OUTPUT_LOCAL_FILE_MANIFEST says."""
        return bool(self.config.manifest)

    def manifest_home(self) -> str:
        """The name of the output directory. AccessException where that cannot be had."""
        try:
            return self._marker()
        except OSError as err:
            raise files.disk_error(err, self._root) from err

    def manifest_place(self, name: str, home: str) -> dict[str, Any]:
        """A file that grows."""
        return {"home": home, "root": self._root, "path": os.path.join(self._root, name), "mode": self._mode}

    def manifest_size(self, place: dict[str, Any]) -> int | None:
        """The size of the file; None where it is gone."""
        try:
            return os.stat(place["path"], follow_symlinks=False).st_size
        except FileNotFoundError:
            return None
        except OSError as err:
            raise files.disk_error(err, place["path"]) from err

    def write_manifest(self, place: dict[str, Any], offset: int, lines: bytes) -> None:
        """Write to the file. AccessException where that fails, or where its directory is not the one it was."""
        try:
            for mode in (None, place["mode"]):
                try:
                    return files.write_at(_opened(place, mode), offset, lines)
                except FileNotFoundError:
                    # It is the first line; or somebody took the file away, but not with the directory that it was in.
                    _last.manifest = None
                    _require_marker({**place, "marker": place["home"]})
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        except OSError as err:
            raise files.disk_error(err, place["path"]) from err

    def sync_manifest(self, place: dict[str, Any], *, new: bool) -> None:
        """Sync the file and, if it is new, its name."""
        path, _last.manifest = place["path"], None
        try:
            files.sync_file(path)
            if new:
                files.sync_directory(os.path.dirname(path))
        except FileNotFoundError:
            return
        except OSError as err:
            raise files.disk_error(err, path) from err

    # --- for callers that commit nothing ---

    def submit(
        self,
        data: bytes,
        connector: str,
        identity: str,
        operation: str,
        part: int = 0,
        kind: str = ".json.gz",
        descriptor: str = "",
        name: str | None = None,
    ) -> None:
        """Write one object that nobody has committed: visible, whole and durable on return. No name is used twice."""
        submit_staged(
            self,
            data,
            connector=connector,
            identity=identity,
            operation=operation,
            part=part,
            kind=kind,
            descriptor=descriptor,
        )

    # --- which directory this is ---

    def _marker(self) -> str:
        """The name of the output directory, given to it now if it has none. OSError where that fails."""
        status = os.stat(self._root)
        identity = status.st_dev, status.st_ino
        if self._marked is None or self._marked[0] != identity:
            self._marked = identity, self._read_or_make_marker()
        return self._marked[1]

    def _read_or_make_marker(self) -> str:
        path = os.path.join(self._root, MARKER)
        names = _marker_names(path)
        if names:
            _remove_stale(self._root)
            # Whoever made it may have died before its name was durable.
            files.sync_directory(self._root)
            return names[0]
        name = secrets.token_hex(16)
        temp = f"{path}.{name}.tmp"
        files.write_new(temp, f"{name}\n".encode(), self._mode)
        try:
            try:
                files.publish(temp, path)
            except FileExistsError:
                # Another process was faster; or the file is there, but empty.
                names = _marker_names(path)
                if names:
                    files.remove(temp)
                    return names[0]
                files.replace(temp, path)
        except OSError:
            with contextlib.suppress(OSError):
                files.remove(temp)
            raise
        files.sync_directory(self._root)
        return name


class _Manifest:
    """An open file of lines, closed when nobody refers to it any longer."""

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self.handle = handle

    def __del__(self) -> None:
        os.close(self.handle)


class _Last(threading.local):
    """The manifest that a thread has written to last: the next line is most likely one of the same."""

    manifest: _Manifest | None = None


_last = _Last()


def _opened(place: dict[str, Any], mode: int | None) -> int:
    """A descriptor of the file at `place`, which is made with its folders if a mode is given. FileNotFoundError."""
    path = place["path"]
    held = _last.manifest
    if held is None or held.path != path:
        folders = None if mode is None else _folder_mode(mode)
        directory = files.open_directory(os.path.dirname(path), place["root"], folders, _durable)
        try:
            held = _last.manifest = _Manifest(path, files.open_growing(path, mode, directory))
        finally:
            os.close(directory)
    return held.handle


def _folder_mode(mode: int) -> int:
    """The mode of the folders of files with `mode`: whoever may read them has to get to them."""
    return 0o700 | (mode & 0o040 and 0o050) | (mode & 0o004 and 0o005)


def _remove_stale(root: str) -> None:
    """Remove what processes that died while they named the directory have left there, an hour ago or longer."""
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            mine = entry.name.startswith(f"{MARKER}.") and entry.name.endswith(".tmp")
            if mine and time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE:
                files.remove(entry.path)


def _marker_names(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def _require_marker(staged: dict[str, Any]) -> None:
    """A missing object was published and taken away, but only where its directory is there at all."""
    path = os.path.join(staged["root"], MARKER)
    marker = staged["marker"]
    try:
        names = _marker_names(path)
    except OSError as err:
        raise files.disk_error(err, path) from err
    if marker not in names:
        raise AccessException(
            f"{staged['path']} is committed, but {staged['root']} is not the directory in which it was staged. "
            "If that lies on a volume of its own, mount it. If what it held is gone for good, go on without this "
            f"object by adding the line {marker} to {path}."
        )


def _holds(path: str, staged: dict[str, Any], directory: int) -> bool:
    """Whether the file `path` has the very content that was staged."""
    try:
        fd = os.open(os.path.basename(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        with open(fd, "rb") as file:
            data = file.read(staged["size"] + 1)
    except OSError:
        return False
    return bool(blake3(data).hexdigest() == staged["blake3"])


def _temporary(final: str, name: ObjectName) -> str:
    """The name of the hidden file of `final`: it does not end as objects do, and ends in the attempt."""
    if not _ATTEMPT.fullmatch(name.attempt):
        raise ValueError(f"The attempt {name.attempt!r} has to be letters, digits, '-' and '_', at most 120.")
    ending = f".{name.attempt}.tmp"
    stem = final.removesuffix(name.kind)
    room = _LONGEST_NAME - len(ending) - 1
    if len(stem) > room:
        digest = blake3(stem.encode()).hexdigest(16)
        stem = f"{stem[: room - len(digest) - 1]}~{digest}"
    return f".{stem}{ending}"


def _days(folder: str, since: date) -> Iterator[str]:
    """The day folders in `folder` that are not older than `since`."""
    wanted = since.strftime("%Y/%m/%d")
    paths = [""]
    for _ in range(3):
        below = [f"{path}/{name}" if path else name for path in paths for name in _folders(os.path.join(folder, path))]
        paths = [path for path in below if path >= wanted[: len(path)]]
    for path in sorted(paths):
        yield os.path.join(folder, path)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.name.isdigit() and entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
