"""Where configuration documents come from, and how one is read."""

import abc
import json
import logging
from typing import Any

from pydantic import ValidationError

from grove.exceptions import ConfigurationException, DataFormatException
from grove.helpers import parsing
from grove.models import ConnectorConfig

__all__ = ["BaseConfig", "parse_document"]


class BaseConfig(abc.ABC):
    """A source of configuration documents.

    A document that cannot be used must not keep the others from being collected: `get()` leaves it out,
    and says why in `problems`, one sentence each.
    """

    def __init__(self) -> None:
        self.logger = logging.getLogger(type(self).__module__)
        self.problems: list[str] = []

    @abc.abstractmethod
    def get(self, id: str | None = None) -> list[ConnectorConfig]:
        """Every usable document, disabled ones included; with `id`, only those of that name.

        ConfigurationException where the source as a whole is misconfigured, AccessException where it
        cannot be reached.
        """

    def read(self, data: bytes, source: str) -> ConnectorConfig | None:
        """The document in `data`; None where it is unusable, which is noted as `source` and logged."""
        try:
            return parse_document(data, source)
        except ConfigurationException as err:
            self.report(str(err), source)
            return None

    def report(self, problem: str, source: str) -> None:
        """Note and log that the document `source` is left out."""
        self.problems.append(problem)
        self.logger.error("A configuration document was skipped.", extra={"document": source, "exception": problem})


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
