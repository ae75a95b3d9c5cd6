"""Configuration documents in a directory: every `*.json`, `*.yaml` and `*.yml` below it."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.configs import BaseConfig, Problem
from grove.exceptions import ConfigurationException
from grove.models import ConnectorConfig

ENV_PREFIX = "GROVE_CONFIG_LOCAL_FILE_"
EXTENSIONS = (".json", ".yaml", ".yml")


class Configuration(BaseSettings):
    """GROVE_CONFIG_LOCAL_FILE_PATH: the directory."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore")

    path: Path = Field(description="The directory of documents, searched recursively.")


class Handler(BaseConfig):
    """Reads documents from the directory GROVE_CONFIG_LOCAL_FILE_PATH, or from `paths`: files, or directories."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        super().__init__()
        self._open_to_others: set[str] = set()
        self._paths = list(paths) or [_configured()]
        self._may_be_files = bool(paths)

    def get(self, id: str | None = None) -> list[ConnectorConfig]:
        """The documents by path; ConfigurationException where the directory is missing."""
        for path in self._paths:
            if not path.is_dir() and not (self._may_be_files and path.exists()):
                raise ConfigurationException(
                    f"{ENV_PREFIX}PATH is {str(path)!r}, which is not a directory. "
                    "Create it, or set the variable to the directory that holds your configuration documents."
                )
        self.begin()
        unreadable: list[str] = []
        found: list[ConnectorConfig] = []
        for path in self._paths:
            files = sorted(self._documents(path, unreadable)) if path.is_dir() else [path]
            found += [config for file in files for config in self._load(file)]
        if unreadable:
            found += self.kept(lambda source: any(Path(source).is_relative_to(folder) for folder in unreadable))
        return [config for config in found if id in (None, config.name)]

    def _load(self, path: Path) -> list[ConnectorConfig]:
        source = str(path)
        try:
            if path.is_dir():
                return self.report(_unreadable(source, "This is a directory, not a document."), source)
            data = path.read_bytes()
            mode = path.stat().st_mode
        except OSError as err:
            return self.report(_unreadable(source, f"The document cannot be read: {err.strerror}."), source)
        if not mode & 0o022:
            self._open_to_others.discard(source)
        elif source not in self._open_to_others:
            self._open_to_others.add(source)
            self.logger.warning(
                "Others may change this configuration document; take their write permission away.",
                extra={"document": source},
            )
        return self.read(data, source)

    def _documents(self, root: Path, unreadable: list[str]) -> Iterator[Path]:
        # Links are followed (a mounted volume is often made of them), hidden names are not (that is where
        # such a volume keeps its versions).
        seen: set[tuple[int, int]] = set()

        def failed(err: OSError) -> None:
            source = str(err.filename)
            self.report(_unreadable(source, f"The directory cannot be read: {err.strerror}."), source)
            unreadable.append(source)

        for directory, folders, names in os.walk(root, followlinks=True, onerror=failed):
            status = os.stat(directory)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = [name for name in sorted(folders) if not name.startswith(".")]
            for name in (*folders, *names):
                if name.endswith(EXTENSIONS) and not name.startswith("."):
                    yield Path(directory, name)


def _configured() -> Path:
    try:
        return Configuration().path
    except ValidationError as err:
        raise ConfigurationException(
            f"There is no configuration: {ENV_PREFIX}PATH is not set. Set {ENV_PREFIX}PATH to the directory that holds "
            "your configuration documents (*.json, *.yaml); `grove init` writes a first one."
        ) from err


def _unreadable(source: str, message: str) -> Problem:
    return Problem(source, "unreadable", message)
