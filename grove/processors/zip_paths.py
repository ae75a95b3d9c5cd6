"""Makes an object of a list of keys and values, for sources that write `{"name": ..., "value": ...}`."""

from typing import Any

from pydantic import Field

from grove import _core
from grove.helpers.parsing import quick_copy
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor
from grove.processors._paths import Expression, Place, follow, search, steps_of


class Handler(BaseProcessor):
    """Makes one object of the list of items at `source`, which it replaces; a single item counts as a list of one.

    In each item `key` finds a name and `values` its value: the first of them that finds something. Items without
    either are left out. Of items with one name the last counts; a name that is no text becomes JSON. What is neither
    list nor object stays as it is.

        settings  {"source": "parameters", "key": "name", "values": ["value", "multiValue"]}
        entry     {"parameters": [{"name": "app", "value": "crm"}, {"name": "scopes", "multiValue": ["a", "b"]}]}
        becomes   {"parameters": {"app": "crm", "scopes": ["a", "b"]}}

        entry     {"parameters": {"name": "seats", "value": 0}}
        becomes   {"parameters": {"seats": 0}}

        entry     {"parameters": [{"name": "app", "value": null}, {"value": "crm"}]}
        becomes   {"parameters": {}}

        entry     {"id": 7}
        becomes   {"id": 7}
    """

    class Configuration(BaseProcessor.Configuration):
        """`source`: JMESPath of names, dots and indexes. `key`, `values`: JMESPath within an item."""

        source: Place
        key: Expression
        values: list[Expression] = Field(min_length=1)

    configuration: Configuration

    def __init__(self, config: ProcessorConfig) -> None:
        super().__init__(config)
        steps = steps_of(self.configuration.source)
        assert steps, "a Place has steps"
        self._above, self._last = steps[:-1], steps[-1]
        self._key = _core.pointer_path(self.configuration.key)
        self._values = [_core.pointer_path(expression) for expression in self.configuration.values]

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """The entry; ProcessorError where an expression cannot be applied to an item."""
        parent = follow(entry, self._above)
        items = follow(parent, (self._last,))
        if isinstance(items, dict):
            items = [items]
        if isinstance(items, list):
            parent[self._last] = self._zipped(items)
        return [entry]

    def _zipped(self, items: list[Any]) -> dict[str, Any]:
        zipped = {}
        for item in items:
            key, value = search(self._key, item), self._value(item)
            if key is not None and value is not None:
                zipped[key if isinstance(key, str) else _core.canonical(key).decode()] = value
        return zipped

    def _value(self, item: Any) -> Any:
        for path in self._values:
            value = search(path, item)
            if value is not None:
                return quick_copy(value)
        return None
