"""Makes a new entry of parts of the old one, for a schema of one's own."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from grove import _core
from grove.exceptions import ProcessorError
from grove.helpers.parsing import quick_copy, quote_aware_split, update_path
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor
from grove.processors._paths import Expression, Names, search


class _Field(BaseModel):
    """`destination`: a dotted path. Either `sources`, JMESPath expressions, or `static`, any JSON."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, hide_input_in_errors=True)

    destination: Names
    sources: list[Expression] = Field(default_factory=list)
    static: Any = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.sources) == (self.static is not None):
            raise ValueError("give either `sources` or `static`")
        return self


class Handler(BaseProcessor):
    """Makes a new entry in which each of `fields` has what its `sources` (JMESPath) find, or its `static` value.

    The first source that finds something true counts. Where none does, the first number, text or boolean that is
    there: 0, "" and false are values, too. Where there is nothing, the field is left out, and so are the objects
    around it. A `destination` is names between dots; quotes protect a name that holds dots. Where a list is already
    there, what is found is appended to it.

        settings  {"fields": [{"destination": "user.name", "sources": ["actor.name", "actor.id"]},
                              {"destination": "'source.ip'", "sources": ["client.ip"]},
                              {"destination": "event.kind", "static": "audit"}]}
        entry     {"actor": {"id": 7}, "client": {"ip": "192.0.2.1"}, "noise": true}
        becomes   {"user": {"name": 7}, "source.ip": "192.0.2.1", "event": {"kind": "audit"}}

        entry     {}
        becomes   {"event": {"kind": "audit"}}

    Several fields make one list, which their first one begins:

        settings  {"fields": [{"destination": "tags", "static": ["audit"]},
                              {"destination": "tags", "sources": ["severity"]},
                              {"destination": "tags", "sources": ["labels"]}]}
        entry     {"severity": "low", "labels": ["eu", "prod"]}
        becomes   {"tags": ["audit", "low", "eu", "prod"]}

    `raw` is where the whole entry goes, as JSON in a text:

        settings  {"raw": "event.original", "fields": [{"destination": "id", "sources": ["uuid"]}]}
        entry     {"uuid": "7d", "big": 18446744073709551616}
        becomes   {"id": "7d", "event": {"original": "{\\"uuid\\":\\"7d\\",\\"big\\":18446744073709551616}"}}
    """

    class Configuration(BaseProcessor.Configuration):
        """`fields`: what the new entry has. `raw`: a dotted path."""

        raw: Names | None = None
        fields: list[_Field] = Field(min_length=1)

    configuration: Configuration

    def __init__(self, config: ProcessorConfig) -> None:
        super().__init__(config)
        self._fields = [_Rule(field) for field in self.configuration.fields]
        self._raw = quote_aware_split(self.configuration.raw) if self.configuration.raw else None

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """The new entry; ProcessorError where an expression cannot be applied, or a destination lies in no object."""
        made: dict[str, Any] = {}
        for rule in self._fields:
            value = rule.value(entry)
            if value is not None:
                # The same object may be wanted in two places, or by every entry.
                _put(made, rule.destination, quick_copy(value))
        if self._raw:
            _put(made, self._raw, _core.encode([entry], None).data.decode().rstrip("\n"))
        return [made]


class _Rule:
    """A field, compiled."""

    def __init__(self, field: _Field) -> None:
        self.destination = quote_aware_split(field.destination)
        self._paths = [_core.pointer_path(expression) for expression in field.sources]
        self._static = field.static

    def value(self, entry: dict[str, Any]) -> Any:
        """What belongs at the destination; None where there is nothing."""
        if not self._paths:
            return self._static
        plain = None
        for path in self._paths:
            value = search(path, entry)
            if value:
                return value
            if plain is None and not isinstance(value, dict | list):
                plain = value
        return plain


def _put(made: dict[str, Any], destination: list[str], value: Any) -> None:
    try:
        update_path(made, destination, value)
    except ValueError as err:
        raise ProcessorError(f"Nothing can be put at {'.'.join(destination)!r}. {err}") from err
