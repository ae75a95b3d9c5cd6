"""Gzip files below a directory of this host, whole or not there at all."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from blake3 import blake3
from pydantic import field_validator
from pydantic_settings import SettingsConfigDict

from grove.exceptions import AccessException, ConfigurationException
from grove.helpers import clock, files
from grove.outputs import BaseOutput, ObjectName

__all__ = ["Handler"]

SWEEP_DAYS = 400


class Handler(BaseOutput):
    """Stages each object as a dot-file beside its place, and renames it there once it is committed."""

    SCOPE: ClassVar[str | None] = "host"

    class Configuration(BaseOutput.Configuration):
        """`path`: the directory, which has to exist. `mode`: of the files, as octal digits (default 0600)."""

        model_config = SettingsConfigDict(
            BaseOutput.Configuration.model_config, env_prefix="GROVE_OUTPUT_LOCAL_FILE_"
        )

        path: str
        mode: str = "0600"

        @field_validator("mode")
        @classmethod
        def _octal(cls, value: str) -> str:
            try:
                number = int(value, 8)
            except ValueError:
                number = -1
            if not 0 <= number <= 0o777 or number & 0o600 != 0o600:
                raise ValueError("it has to be octal digits that let the owner read and write, such as 0640")
            return value

    def setup(self) -> None:
        """ConfigurationException unless the directory is there and writable."""
        root = Path(self.config.path)
        if not root.is_dir():
            raise ConfigurationException(
                f"GROVE_OUTPUT_LOCAL_FILE_PATH is {self.config.path!r}, which is not a directory. Make it first."
            )
        if not os.access(root, os.W_OK | os.X_OK):
            raise ConfigurationException(
                f"GROVE_OUTPUT_LOCAL_FILE_PATH is {self.config.path!r}, where this user may not write."
            )
        self._root = root.resolve()
        self._mode = int(self.config.mode, 8)
        # Whoever may read the files may list the directories.
        self._folder_mode = 0o700 | (0o050 if self._mode & 0o040 else 0) | (0o005 if self._mode & 0o004 else 0)

    # --- staging ---

    def stage(self, name: ObjectName, data: bytes) -> dict[str, Any]:
        """Write and fsync a temporary file, and its directory. AccessException names the path."""
        final = self._root.joinpath(name.path())
        temp = final.with_name(f".{final.name.removesuffix(name.kind)}.{name.attempt}.tmp")
        folder = final.parent
        try:
            self._make(folder)
            try:
                files.write_new(temp, data, self._mode)
            except FileNotFoundError:
                # Somebody has tidied the empty directory away in between.
                self._make(folder)
                files.write_new(temp, data, self._mode)
            files.sync_directory(folder)
        except OSError as err:
            raise files.disk_error(err, final) from err
        return {
            "temp": str(temp),
            "path": str(final),
            "size": len(data),
            "blake3": blake3(data).hexdigest(),
        }

    def publish(self, staged: dict[str, Any]) -> None:
        """Rename to the final name, never over another file. A missing temporary file was published before."""
        try:
            files.publish(Path(staged["temp"]), Path(staged["path"]))
        except OSError as err:
            raise files.disk_error(err, staged["path"]) from err

    def settle(self, published: list[dict[str, Any]], staged: list[dict[str, Any]]) -> None:
        """fsync the directories of `published`, but for those that `staged` has synced since."""
        synced = {os.path.dirname(item["temp"]) for item in staged}
        for folder in sorted({os.path.dirname(item["path"]) for item in published} - synced):
            try:
                files.sync_directory(Path(folder))
            except FileNotFoundError:
                # The reader has taken the files away, and the directory with them.
                continue
            except OSError as err:
                raise files.disk_error(err, folder) from err

    def discard(self, staged: dict[str, Any]) -> None:
        """Remove the temporary file."""
        try:
            files.remove(Path(staged["temp"]))
        except OSError as err:
            raise files.disk_error(err, staged["temp"]) from err

    def sweep(self, name: ObjectName, attempts: str, since: date, keep: set[str]) -> None:
        """Remove temporary files of this stream's attempts in the day folders since `since`."""
        mark = f".{attempts}"
        folder = self._root.joinpath(name.folder())
        day = max(since - timedelta(days=1), clock.now().date() - timedelta(days=SWEEP_DAYS))
        while day <= clock.now().date() + timedelta(days=1):
            self._sweep_day(folder / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}", mark, keep)
            day += timedelta(days=1)

    def _sweep_day(self, folder: Path, mark: str, keep: set[str]) -> None:
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in names:
            if entry.startswith(".") and entry.endswith(".tmp") and mark in entry:
                path = folder / entry
                if str(path) not in keep:
                    with suppress(OSError):
                        files.remove(path)

    # --- for callers without a commit ---

    def submit(
        self,
        data: bytes,
        connector: str,
        identity: str,
        operation: str,
        part: int = 0,
        kind: str | None = ".json.gz",
        descriptor: str | None = None,
        name: str | None = None,
    ) -> None:
        """Write one object at once: durable and whole when this returns. AccessException where it cannot be."""
        tag = os.urandom(8).hex()
        made = ObjectName(
            descriptor=(descriptor or "").strip("/"),
            connector=connector,
            identity=identity,
            operation=operation,
            part=part,
            moment=datetime.now(UTC),
            tag=tag,
            kind=kind or self.KIND,
            attempt=f"submit-{tag}",
        )
        staged = self.stage(made, data)
        try:
            self.publish(staged)
            self.settle([staged], [])
        except AccessException:
            with suppress(AccessException):
                self.discard(staged)
            raise

    def _make(self, folder: Path) -> None:
        files.make_directories(folder, self._root, self._folder_mode)
        # A link in the way would lead the file out of the directory.
        real = Path(os.path.realpath(folder))
        if real != folder:
            raise AccessException(
                f"{folder} leads to {real} through a symbolic link; Grove writes only below {self._root}."
            )
