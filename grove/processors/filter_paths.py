"""Removes parts of entries that nobody may, or wants to, keep."""

from typing import Any

from pydantic import Field

from grove.helpers.parsing import quote_aware_split
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor
from grove.processors._paths import Names, follow


class Handler(BaseProcessor):
    """Removes what lies at each of `sources`; what is not there is not missed.

    A source is names between dots; quotes protect a name that holds dots.

        settings  {"sources": ["actor.email", "'source.ip'"]}
        entry     {"actor": {"id": 7, "email": "ada@example.com"}, "source.ip": "192.0.2.1"}
        becomes   {"actor": {"id": 7}}

        entry     {"actor": "system"}
        becomes   {"actor": "system"}
    """

    class Configuration(BaseProcessor.Configuration):
        """`sources`: dotted paths."""

        sources: list[Names] = Field(min_length=1)

    configuration: Configuration

    def __init__(self, config: ProcessorConfig) -> None:
        super().__init__(config)
        paths = [tuple(quote_aware_split(source)) for source in self.configuration.sources]
        self._places = [(path[:-1], path[-1]) for path in paths]

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """The entry without them."""
        for above, name in self._places:
            parent = follow(entry, above)
            if isinstance(parent, dict):
                parent.pop(name, None)
        return [entry]
