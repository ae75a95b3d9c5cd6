"""Drops entries that nobody wants to keep."""

from typing import Any

from pydantic import Field

from grove import _core
from grove.exceptions import ConfigurationException, ProcessorError
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor


class Handler(BaseProcessor):
    """Drops an entry for which any of `filters` (JMESPath) finds something that is true."""

    class Configuration(BaseProcessor.Configuration):
        """`filters`: JMESPath expressions."""

        filters: list[str] = Field(min_length=1)

    configuration: Configuration

    def __init__(self, config: ProcessorConfig) -> None:
        super().__init__(config)
        self._filters = [self._compile(expression) for expression in self.configuration.filters]

    def _compile(self, expression: str) -> _core.PointerPath:
        try:
            return _core.pointer_path(expression)
        except ValueError as err:
            raise ConfigurationException(
                f"Processor {self.configuration.name!r}: the filter {expression!r} is no JMESPath expression."
            ) from err

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """The entry, or nothing; ProcessorError where an expression cannot be applied to it."""
        for path in self._filters:
            try:
                drop = path.search(entry)
            except Exception as err:
                raise ProcessorError(
                    f"The filter {path.expression!r} cannot be applied: {type(err).__name__}."
                ) from err
            if drop:
                return []
        return [entry]
