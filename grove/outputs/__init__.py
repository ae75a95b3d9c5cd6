"""What every output offers: names for objects, `submit()`, and for those that can, staging."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any, ClassVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove import _core
from grove.constants import DATESTAMP_FORMAT
from grove.exceptions import ConfigurationException, DataFormatException, NotImplementedException
from grove.helpers.files import safe_component

__all__ = ["BaseOutput", "ObjectName"]


@dataclass(frozen=True, slots=True)
class ObjectName:
    """The name of one delivered object. It is fixed when the object is staged, and never used for another."""

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
        """The folder of all objects of this stream."""
        parts = [*self.descriptor.split("/"), self.connector, self.identity]
        return PurePosixPath(*(safe_component(part) for part in parts))

    def day(self) -> PurePosixPath:
        """The folder of this object."""
        return self.folder() / self.moment.strftime("%Y/%m/%d")

    def path(self) -> PurePosixPath:
        """Where the object lies, below the root of the output."""
        stamp = self.moment.strftime(DATESTAMP_FORMAT)
        return self.day() / f"{safe_component(self.operation)}-{stamp}.{self.part}-{self.tag}{self.kind}"


class BaseOutput:
    """Takes pages of entries. A handler overrides `submit()`; one that can stage sets `SCOPE` and the rest.

    Settings come from the environment, through the handler's own `Configuration`. ConfigurationException names the
    variable that is missing or wrong.
    """

    SCOPE: ClassVar[str | None] = None
    """"host" or "shared": from where staged objects can be reached. None: this output can only submit."""

    KIND: ClassVar[str] = ".json.gz"

    class Configuration(BaseSettings):
        """Settings of an output; a handler derives its own, with an `env_prefix`."""

        model_config = SettingsConfigDict(
            extra="allow", coerce_numbers_to_str=True, hide_input_in_errors=True, case_sensitive=False
        )

    def __init__(self) -> None:
        self.logger = logging.getLogger(type(self).__module__)
        prefix = str(self.Configuration.model_config.get("env_prefix") or "")
        try:
            self.config: Any = self.Configuration()
        except ValidationError as err:
            wrong = [
                f"{prefix}{'_'.join(map(str, item['loc'])).upper()}: {item['msg'].lower()}" for item in err.errors()
            ]
            # Not chained: the error would carry what it refuses.
            problem = "; ".join(wrong)
        else:
            return
        raise ConfigurationException(f"The output {type(self).__module__} cannot be used: {problem}.")

    def setup(self) -> None:
        """Called once, before anything is delivered."""

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
        """Deliver `data`, as `serialize` made it. Returns once it is accepted; AccessException where it is not."""
        raise NotImplementedException(f"{type(self).__module__} cannot submit.")

    def serialize(self, data: list[Any], metadata: dict[str, Any] | None = None) -> bytes:
        """`data` as `submit` wants it: NDJSON with `metadata` under `_grove`, then `pack`ed.

        DataFormatException where an entry cannot be written as JSON.
        """
        entries = [entry for entry in data if entry is not None]
        try:
            return self.pack(_core.encode(entries, metadata or {}).data)
        except (TypeError, ValueError) as err:
            raise DataFormatException(f"An entry cannot be written as JSON: {err}") from err

    def pack(self, ndjson: bytes) -> bytes:
        """NDJSON in the form in which this output keeps it: gzip, unless a handler says otherwise."""
        return _core.gzip(ndjson)

    # --- staging ---

    def stage(self, name: ObjectName, data: bytes) -> dict[str, Any]:
        """Make `data` durable, but not visible. Returns a JSON-able record for the other calls."""
        raise NotImplementedException(f"{type(self).__module__} cannot stage.")

    def publish(self, staged: dict[str, Any]) -> None:
        """Make a staged object visible. Repeating it is harmless; what cannot be found any more was published."""
        raise NotImplementedException(f"{type(self).__module__} cannot stage.")

    def settle(self, published: list[dict[str, Any]], staged: list[dict[str, Any]]) -> None:
        """Make earlier publishes durable. Whatever holds `staged`, staged after them, is durable already."""

    def discard(self, staged: dict[str, Any]) -> None:
        """Remove an object that was staged and will not be published."""

    def sweep(self, name: ObjectName, attempts: str, since: date, keep: set[str]) -> None:
        """Remove what attempts beginning with `attempts` have staged since that day, except `keep`."""
