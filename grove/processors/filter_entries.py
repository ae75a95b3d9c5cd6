"""Drops entries that nobody wants to keep."""

from typing import Any

from pydantic import Field

from grove import _core
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor
from grove.processors._paths import Expression, search


class Handler(BaseProcessor):
    """Drops an entry for which any of `filters` (JMESPath) finds something that is true.

    Nothing, `false`, 0 and what is empty are not true.

        settings  {"filters": ["actor.type == 'bot'", "test"]}
        entry     {"actor": {"type": "bot"}}

        entry     {"actor": {"type": "user"}, "test": true}

        entry     {"actor": {"type": "user"}, "test": 0}
        becomes   {"actor": {"type": "user"}, "test": 0}
    """

    class Configuration(BaseProcessor.Configuration):
        """`filters`: JMESPath expressions."""

        filters: list[Expression] = Field(min_length=1)

    configuration: Configuration

    def __init__(self, config: ProcessorConfig) -> None:
        super().__init__(config)
        self._filters = [_core.pointer_path(expression) for expression in self.configuration.filters]

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """The entry, or nothing; ProcessorError where an expression cannot be applied to it."""
        return [] if any(search(path, entry) for path in self._filters) else [entry]
