"""Where credentials come from that are not written into a document."""

import abc
import logging
from collections.abc import Callable
from typing import ClassVar

from grove.exceptions import AccessException, DataFormatException, GroveException
from grove.logging import register_secret
from grove.models import ConnectorConfig, attribute_name

__all__ = ["BaseSecret"]


class BaseSecret(abc.ABC):
    """A store of credentials."""

    EXTRA: ClassVar[str | None] = None
    """The extra of this package, as in `grove[aws]`, that brings what the handler imports."""

    def __init__(self) -> None:
        self.logger = logging.getLogger(type(self).__module__)

    @abc.abstractmethod
    def get(self, id: str) -> str:
        """The secret that the locator `id` leads to.

        AccessException where the store refuses or does not answer, NotFoundException where it has no such
        secret.
        """

    def reading(self) -> Callable[[str], str]:
        """What `load()` asks for the secrets of one document: `get`.

        A store in which several secrets lie in one place gives something that asks for each place once: what is issued
        anew for every request, a user name and its password say, has to come from one answer.
        """
        return self.get

    def load(self, config: ConnectorConfig) -> ConnectorConfig:
        """Fill the fields that `config.secrets` names, decoded as `config.encoding` says; returns `config`.

        Errors as `get()`, or DataFormatException; they name the document and the field, never the value.
        """
        get = self.reading()
        for field, locator in config.secrets.items():
            try:
                value = get(locator)
            except GroveException as err:
                # A handler's own kind of error may need more than a message to be made.
                kind = type(err) if type(err).__module__ == GroveException.__module__ else AccessException
                raise kind(f"{_subject(config, field)} could not be fetched. {err}") from err
            except Exception as err:
                raise AccessException(
                    f"{_subject(config, field)} could not be fetched: the store raised {type(err).__name__}."
                ) from err
            if not isinstance(value, str):
                raise DataFormatException(f"{_subject(config, field)} is no text.")
            register_secret(value)
            try:
                config.fill(field, value)
            except DataFormatException as err:
                raise DataFormatException(f"{_subject(config, field)} is unusable. {err}") from err
            register_secret(getattr(config, attribute_name(field)))
        return config


def _subject(config: ConnectorConfig, field: str) -> str:
    place = config._origin.place("secrets", field)
    return f"The secret for field {field!r} of {config.name!r}" + (f" ({place})" if place else "")
