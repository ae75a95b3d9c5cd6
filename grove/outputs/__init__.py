"""What every output offers: object names, settings, `submit()` and, for those that can, staging."""

import abc
import functools
import logging
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import Any, ClassVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from grove import _core
from grove.constants import DATESTAMP_FORMAT
from grove.exceptions import ConfigurationException, NotImplementedException
from grove.helpers import parsing
from grove.helpers.codecs import GZIP, Codec
from grove.helpers.files import safe_component

__all__ = ["BaseOutput", "ObjectName"]

_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class ObjectName:
    """The name of one delivered object: fixed when it is staged, and never used for another one.

    `moment` is an aware datetime, `tag` 16 hex digits; `attempt` names who stages it, in letters, digits, `-` and
    `_`. A descriptor may hold slashes, each of which begins a folder (eight at most, so that no path grows too long
    for the system); one at its end is not needed.
    """

    descriptor: str
    connector: str
    identity: str
    operation: str
    part: int
    moment: datetime
    tag: str
    kind: str
    attempt: str

    def folder(self) -> PurePosixPath:
        """The folder of all objects of this stream and descriptor."""
        descriptor = self.descriptor.removesuffix("/")
        folders = descriptor.split("/", _DEEPEST - 1) if descriptor else []
        parts = [*folders, self.connector, self.identity]
        return PurePosixPath(*(safe_component(part) for part in parts))

    def path(self) -> PurePosixPath:
        """Where the object lies, below the root of the output."""
        return _path(self)


@functools.lru_cache(maxsize=64)  # several ask for each
def _path(name: ObjectName) -> PurePosixPath:
    moment = name.moment.astimezone(UTC)
    # The kind follows other characters, so its leading dot hides nothing.
    ending = safe_component(f"{name.tag}{name.kind}")
    file = f"{safe_component(name.operation)}-{moment.strftime(DATESTAMP_FORMAT)}.{name.part:d}-{ending}"
    return name.folder() / moment.strftime("%Y/%m/%d") / file


class BaseOutput(abc.ABC):
    """Takes pages of entries. A handler implements `submit()`; one that can stage sets `SCOPE` and the rest too.

    The settings of a handler are its own `Configuration`, read from the environment into `config` when it is made.
    ConfigurationException names each variable that is missing or wrong.
    """

    SCOPE: ClassVar[str | None] = None
    """From where a staged object can be reached: "host" or "shared". None where the output can only submit."""

    EXTRA: ClassVar[str | None] = None
    """The extra of this package, as in `grove[aws]`, that brings what the handler imports."""

    KIND: ClassVar[str] = ".json.gz"
    """How the names of this output's objects end."""

    codec: Codec = GZIP
    """How `pack()` compresses."""

    @property
    def keeps_manifest(self) -> bool:
        """Whether its objects get lines in a manifest (see `grove.manifest`); only where it implements that."""
        return False

    class Configuration(BaseSettings):
        """Settings of an output; a handler derives its own, with an `env_prefix`."""

        model_config = SettingsConfigDict(extra="allow", coerce_numbers_to_str=True, hide_input_in_errors=True)

    def __init__(self) -> None:
        self.logger = logging.getLogger(type(self).__module__)
        prefix = str(self.Configuration.model_config.get("env_prefix", ""))
        try:
            self.config: Any = self.Configuration()
        except ValidationError as err:
            problem = parsing.validation_error(err, prefix)
        except SettingsError as err:
            field = re.search(r'field "(\w+)"', str(err))
            problem = f"{prefix}{field[1] if field else ''}".upper() + ": it has to be valid JSON"
        else:
            return
        # Not chained: those errors carry the value that they refuse, which may be a credential.
        raise ConfigurationException(f"The output {type(self).__module__} cannot be set up. {problem}.")

    def setup(self) -> None:  # noqa: B027
        """Get ready to deliver: check what can be checked before a page has been fetched. Called more than once."""

    @abc.abstractmethod
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
        """Deliver `data`, made by `serialize()`, and return once it is accepted.

        `part` counts the pages of a run from 0, `name` is the configuration document's. AccessException where
        delivery failed, or may have.
        """

    def serialize(self, data: list[Any], metadata: dict[str, Any] = {}) -> bytes:  # noqa: B006
        """Entries with `metadata` under `_grove`, in the form that `submit()` and `stage()` take: gzip NDJSON.

        The entries are not changed; None is left out. DataFormatException where one is no JSON object.
        """
        return self.pack(_core.encode([entry for entry in data if entry is not None], metadata).data)

    def pack(self, ndjson: bytes) -> bytes:
        """NDJSON, UTF-8 with a newline after each entry, in the form that this output delivers: packed by `codec`."""
        return self.codec.pack(ndjson)

    # --- staging: only where SCOPE is set ---

    def stage(self, name: ObjectName, data: bytes) -> dict[str, Any]:
        """Store `data` so that it survives anything, but is not visible yet; a JSON-able record of it.

        Nothing is left behind by an AccessException.
        """
        raise NotImplementedException(f"{type(self).__module__} can only submit.")

    def publish(self, staged: dict[str, Any]) -> None:
        """Make what was staged visible. Repeating it is harmless, also when a reader has taken the object away."""
        raise NotImplementedException(f"{type(self).__module__} can only submit.")

    def settle(self, published: list[dict[str, Any]], staged: list[dict[str, Any]]) -> None:
        """Make earlier publishes durable. What was `staged` after them need not be looked at again."""
        raise NotImplementedException(f"{type(self).__module__} can only submit.")

    def discard(self, staged: dict[str, Any]) -> None:
        """Remove what was staged and will never be published."""
        raise NotImplementedException(f"{type(self).__module__} can only submit.")

    def sweep(self, name: ObjectName, attempts: str, since: date, keep: set[str]) -> bool:
        """Remove what was staged from the day `since` (UTC) on, for objects of the stream and descriptor in `name`.

        False where something could not be removed. Only that whose attempt begins with `attempts`, and whose `temp`
        is not in `keep`; where a staged object does not show its attempt, that which has the tag of `name`, the
        object that the stream's next commit will deliver. Only for the holder of the stream's lease.
        """
        raise NotImplementedException(f"{type(self).__module__} can only submit.")

    # --- a manifest: only where `keeps_manifest` can be true ---

    def manifest_home(self) -> str:
        """What tells the place of this output's objects from others: a chain of lines belongs to one of them."""
        raise NotImplementedException(f"{type(self).__module__} keeps no manifest.")

    def manifest_place(self, name: str, home: str) -> dict[str, Any]:
        """A JSON-able record of where lines called `name`, a path below the root, will lie; with `home` in it.

        Nothing is written.
        """
        raise NotImplementedException(f"{type(self).__module__} keeps no manifest.")

    def manifest_size(self, place: dict[str, Any]) -> int | None:
        """How many bytes are at `place`; None where no line can be added to it (any longer)."""
        raise NotImplementedException(f"{type(self).__module__} keeps no manifest.")

    def write_manifest(self, place: dict[str, Any], offset: int, lines: bytes) -> None:
        """Write lines at that offset of `place`. Repeating it is harmless, whoever else does the same meanwhile."""
        raise NotImplementedException(f"{type(self).__module__} keeps no manifest.")

    def sync_manifest(self, place: dict[str, Any], *, new: bool) -> None:
        """Make what was written to `place` durable; nothing where somebody has taken it away.

        `new` says that nothing there was made durable before.
        """
        raise NotImplementedException(f"{type(self).__module__} keeps no manifest.")
