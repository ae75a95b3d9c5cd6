"""Makes one entry of each element of a list, for sources that put several events into one."""

from typing import Any

from grove.helpers.parsing import quick_copy
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor
from grove.processors._paths import Place, follow, steps_of


class Handler(BaseProcessor):
    """Makes one entry for each element of the list at `source` (JMESPath), which that element replaces.

    An entry with an empty list, none, or something else in its place stays as it is.

        settings  {"source": "events"}
        entry     {"id": 7, "events": [{"name": "login"}, {"name": "logout"}]}
        becomes   {"id": 7, "events": {"name": "login"}}
        becomes   {"id": 7, "events": {"name": "logout"}}

        entry     {"id": 8, "events": []}
        becomes   {"id": 8, "events": []}
    """

    class Configuration(BaseProcessor.Configuration):
        """`source`: JMESPath of names, dots and indexes."""

        source: Place

    configuration: Configuration

    def __init__(self, config: ProcessorConfig) -> None:
        super().__init__(config)
        steps = steps_of(self.configuration.source)
        assert steps, "a Place has steps"
        self._above, self._last = steps[:-1], steps[-1]

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """The entries, in the order of the list."""
        parent = follow(entry, self._above)
        elements = follow(parent, (self._last,))
        if not isinstance(elements, list) or not elements:
            return [entry]
        # Taken out first: copies of the whole list would be as many as it is long.
        parent[self._last] = None
        made = [entry, *(quick_copy(entry) for _ in elements[1:])]
        for result, element in zip(made, elements, strict=True):
            follow(result, self._above)[self._last] = element
        return made
