"""Where configuration documents come from, and how one is read."""

import abc
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blake3 import blake3
from pydantic import ValidationError

from grove.exceptions import ConfigurationException, DataFormatException
from grove.helpers import parsing
from grove.models import ConnectorConfig

__all__ = ["BaseConfig", "parse_document"]


@dataclass(slots=True)
class _Version:
    """What was last found in one place, and in which round: a mark of its content, and the last usable document."""

    mark: bytes | str
    good: ConnectorConfig | None
    round: int
    broken: bool = False


class BaseConfig(abc.ABC):
    """A source of configuration documents, which may be asked again and again.

    A document that cannot be used must not keep the others from being collected: `get()` says why in `problems`, one
    sentence each, and gives the last usable version of it that this handler has seen, if there is one. What has not
    changed is not parsed again, and is the same object as before.
    """

    def __init__(self) -> None:
        self.logger = logging.getLogger(type(self).__module__)
        self.problems: list[str] = []
        self._versions: dict[str, _Version] = {}
        self._round = 0

    @abc.abstractmethod
    def get(self, id: str | None = None) -> list[ConnectorConfig]:
        """Every usable document, disabled ones included; with `id`, only those of that name.

        ConfigurationException where the source as a whole is misconfigured, AccessException where it
        cannot be reached.
        """

    def begin(self) -> None:
        """Called by `get()` before it looks: forgets the problems of the last time, and what was gone by then."""
        self.problems = []
        self._versions = {source: found for source, found in self._versions.items() if found.round == self._round}
        self._round += 1

    def read(self, data: bytes, source: str) -> ConnectorConfig | None:
        """The document in `data`; where it is unusable, what `report()` gives."""
        mark = blake3(data).digest()
        known = self._versions.get(source)
        if known is not None and known.mark == mark and not known.broken:
            known.round = self._round
            return known.good
        try:
            config = parse_document(data, source)
        except ConfigurationException as err:
            return self.report(str(err), source, mark)
        self._versions[source] = _Version(mark, config, self._round)
        return config

    def report(self, problem: str, source: str, mark: bytes | str = "") -> ConnectorConfig | None:
        """Note that the document `source` is unusable: its last usable version, or None where it is left out.

        Logged once for each `mark` of its content, or each problem where there is none.
        """
        mark = mark or problem
        known = self._versions.get(source)
        good = known.good if known is not None else None
        if known is None or known.mark != mark:
            self.logger.error(
                "A configuration document was skipped."
                if good is None
                else "A configuration document is unusable; its last usable version is kept.",
                extra={"document": source, "exception": problem},
            )
        self.problems.append(problem)
        self._versions[source] = _Version(mark, good, self._round, broken=True)
        return good

    def kept(self, gone: Callable[[str], bool]) -> list[ConnectorConfig]:
        """The last usable versions of documents that `get()` has not come across this time, where `gone` says so.

        For a place that could not be looked into: what lies there has not been removed.
        """
        found = []
        for source, version in self._versions.items():
            if version.round != self._round and gone(source):
                version.round = self._round
                if version.good is not None:
                    found.append(version.good)
        return found


def parse_document(data: bytes, source: str) -> ConnectorConfig:
    """The document in `data` (JSON); ConfigurationException names `source` and the place or field in it."""
    try:
        # Some editors begin a file with a byte order mark.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise ConfigurationException(f"{source}: byte {err.start} is not valid UTF-8.") from None
    if not text.strip():
        raise ConfigurationException(f"{source}: the document is empty.")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as err:
        # Not chained: the error carries the whole document, with its credentials.
        raise ConfigurationException(
            f"{source}:{err.lineno}:{err.colno}: the document is not valid JSON: {err.msg}."
        ) from None
    except (RecursionError, ValueError) as err:
        raise ConfigurationException(f"{source}: the document cannot be read: {type(err).__name__}.") from None
    return build(document, source)


def build(document: Any, source: str) -> ConnectorConfig:
    """The parsed `document` as a configuration; ConfigurationException names `source` and the field."""
    if not isinstance(document, dict):
        raise ConfigurationException(
            f"{source}: the document has to be a JSON object, not {_KINDS.get(type(document), 'a scalar')}."
        )
    try:
        return ConnectorConfig.model_validate(document)
    except ValidationError as err:
        raise ConfigurationException(f"{source}: {parsing.validation_error(err)}.") from None
    except DataFormatException as err:
        raise ConfigurationException(f"{source}: {err}") from err


_KINDS: dict[type, str] = {list: "a list", str: "a text", type(None): "null"}
