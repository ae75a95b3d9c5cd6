"""What may happen to an entry between a vendor and an output."""

import abc
import logging
from typing import Any

from pydantic import ConfigDict, ValidationError

from grove.exceptions import ConfigurationException
from grove.helpers import parsing
from grove.models import ProcessorConfig

__all__ = ["BaseProcessor"]


class BaseProcessor(abc.ABC):
    """Turns one entry into any number of entries. One object serves one stream, on one thread.

    A subclass declares its settings in a nested `Configuration`; a field that it does not declare is refused.
    """

    class Configuration(ProcessorConfig):
        """The settings that every processor has."""

        model_config = ConfigDict(extra="forbid")

    def __init__(self, config: ProcessorConfig) -> None:
        self.logger = logging.getLogger(type(self).__module__)
        try:
            self.configuration = self.Configuration.model_validate(config.model_dump(exclude_unset=True))
        except ValidationError as err:
            raise ConfigurationException(
                f"Processor {config.name!r} ({config.processor}): {parsing.validation_error(err)}."
            ) from err

    @abc.abstractmethod
    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """What becomes of `entry`, which may be changed: nothing drops it. ProcessorError where it fails."""

    def finalize(self) -> None:
        """Called after every page that was committed."""
        return
