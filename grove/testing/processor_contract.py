"""What every processor has to do, as tests that the author of one inherits.

    class TestMyProcessor(ProcessorContract):
        HANDLER = my_package.Handler

        def settings(self):
            return {"paths": ["actor.email"]}

Examples in the docstring of the handler are run, too. One begins with the word `settings` and a JSON object; then
follow, as often as wanted, an `entry` and what it `becomes`: any number of objects. JSON may go on in further lines.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

import pytest

from grove import _core
from grove.exceptions import ConfigurationException, ProcessorError
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor

__all__ = ["Example", "ProcessorContract", "examples_of"]


def _deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": [value]}
    return value


# What sources have been seen to send, and what connectors make of it.
SHAPES: dict[str, dict[Any, Any]] = {
    "empty": {},
    "flat": {"id": 1, "name": "login", "ok": True, "none": None, "share": 0.5},
    "nested": {"actor": {"id": 7, "roles": [{"name": "a"}, {"name": "b"}]}, "events": [{"name": "x", "value": 1}]},
    "lists": {"events": [[1, 2], [3], []], "tags": [], "parameters": [None, 1, "a", {"name": "n", "value": "v"}]},
    "odd keys": {"": 1, "a.b": {"c d": 2}, "'": 3, '"': 4, "@timestamp": 5, "\u2028": 6},
    "odd texts": {"id": "\ud800", "text": "a\0b\r\n\u2028\x85", "long": "x" * 100_000},
    "odd numbers": {"id": 2**200, "nan": float("nan"), "minus": -(2**63) - 1, "small": 5e-324},
    "no JSON": {"at": datetime(2024, 2, 29, tzinfo=UTC), "bytes": b"\xff", "set": {1}, 5: {"name": (1, 2)}},
    "deep": _deep(150),
    "long": {"events": [{"name": str(number), "value": number} for number in range(500)]},
}


class Example(NamedTuple):
    """One entry in a docstring, and what the processor is said to make of it."""

    settings: dict[str, Any]
    entry: dict[str, Any]
    becomes: list[dict[str, Any]]


def examples_of(handler: type[BaseProcessor]) -> list[Example]:
    """The examples in the docstring of `handler`. ValueError where one is no JSON, or stands alone."""
    found: list[Example] = []
    settings: dict[str, Any] | None = None
    for word, value in _statements(inspect.getdoc(handler) or ""):
        if word == "settings":
            settings = value
        elif settings is None:
            raise ValueError(f"In the docstring of {handler.__module__}, `{word}` stands before any `settings`.")
        elif word == "entry":
            found.append(Example(settings, value, []))
        elif not found:
            raise ValueError(f"In the docstring of {handler.__module__}, `becomes` stands before any `entry`.")
        else:
            found[-1].becomes.append(value)
    return found


def _statements(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for match in re.finditer(r"^ +(settings|entry|becomes) +(?=\{)", text, re.MULTILINE):
        yield match[1], json.JSONDecoder().raw_decode(text, match.end())[0]


class ProcessorContract:
    """For every processor: give `HANDLER` and `settings`.

    One that keeps something between entries overrides what does not hold for it with a `pytest.skip` that says why.
    """

    HANDLER: ClassVar[type[BaseProcessor]]

    def settings(self) -> dict[str, Any]:
        """Its own settings, as a document has them."""
        raise NotImplementedError("Override `settings` to return what a document says to the processor.")

    def entries(self) -> list[dict[str, Any]]:
        """Entries that it is made for, where those of its docstring do not show enough of it."""
        return []

    def make_processor(self, **changes: Any) -> BaseProcessor:
        """The processor, with `settings` but for the `changes`."""
        return self.HANDLER(_config({**self.settings(), **changes}))

    @pytest.fixture
    def processor(self) -> BaseProcessor:
        """The processor, as a stream has it."""
        return self.make_processor()

    @pytest.fixture(params=SHAPES)
    def entry(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        """An entry, which the test may change."""
        return _core.copy_entry(SHAPES[request.param])

    # --- settings ---

    def test_its_examples_are_true(self) -> None:
        for example in examples_of(self.HANDLER):
            made = self.HANDLER(_config(example.settings)).process(_core.copy_entry(example.entry))
            assert made == example.becomes, f"{example.settings} makes something else of {example.entry}"

    def test_an_unknown_setting_is_named(self) -> None:
        with pytest.raises(ConfigurationException, match=r"'contract'.*no_such_setting"):
            self.make_processor(no_such_setting=True)

    @pytest.mark.parametrize("on_error", ["quarantine", "fail"])
    def test_it_can_be_told_what_to_do_with_errors(self, on_error: str) -> None:
        assert self.make_processor(on_error=on_error).configuration.on_error == on_error

    def test_its_document_is_left_alone(self) -> None:
        config = _config(self.settings())
        before = config.model_dump_json()
        processor = self.HANDLER(config)
        for entry in self._entries():
            _outcome(processor, entry)
        assert config.model_dump_json() == before

    # --- entries ---

    def test_it_gives_a_list_of_entries_or_a_processor_error(
        self, processor: BaseProcessor, entry: dict[str, Any]
    ) -> None:
        try:
            made = processor.process(entry)
        except ProcessorError:
            return
        assert type(made) is list
        assert all(isinstance(result, dict) for result in made)
        assert _core.encode(made, {"run": "ours"}).count == len(made)

    def test_what_it_makes_of_an_entry_depends_on_nothing_else(self, processor: BaseProcessor) -> None:
        alone = [_outcome(self.make_processor(), entry) for entry in self._entries()]
        assert [_outcome(processor, entry) for entry in self._entries()] == alone
        assert [_outcome(processor, entry) for entry in self._entries()] == alone

    def test_what_it_makes_can_be_changed(self, processor: BaseProcessor) -> None:
        for first, again in zip(self._entries(), self._entries(), strict=True):
            before = _outcome(processor, first, then=_spoil)
            assert _outcome(processor, again) == before

    def test_what_it_makes_shares_nothing(self, processor: BaseProcessor) -> None:
        for entry in self._entries():
            places = [id(part) for result in _results(processor, entry) for part in _containers(result)]
            assert len(places) == len(set(places))

    def test_a_page_can_end_at_any_time(self, processor: BaseProcessor) -> None:
        processor.finalize()
        before = [_outcome(processor, entry) for entry in self._entries()]
        processor.finalize()
        processor.finalize()
        assert [_outcome(processor, entry) for entry in self._entries()] == before

    def _entries(self) -> list[dict[str, Any]]:
        written = [example.entry for example in examples_of(self.HANDLER)]
        return [_core.copy_entry(entry) for entry in (*SHAPES.values(), *self.entries(), *written)]


def _config(settings: dict[str, Any]) -> ProcessorConfig:
    return ProcessorConfig.model_validate({"name": "contract", "processor": "contract", **settings})


def _results(processor: BaseProcessor, entry: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        return processor.process(entry)
    except ProcessorError:
        return []


def _outcome(processor: BaseProcessor, entry: dict[str, Any], then: Any = None) -> list[bytes] | str:
    """The canonical forms of what is made of an entry, or its error; `then` is called with each result."""
    try:
        made = processor.process(entry)
    except ProcessorError as err:
        return str(err)
    found = [_core.canonical(result) for result in made]
    for result in made if then else ():
        then(result)
    return found


def _containers(value: Any) -> Iterator[Any]:
    """Every object and list in `value`, itself included."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict | list):
            yield part
            waiting.extend(part.values() if isinstance(part, dict) else part)


def _spoil(value: Any) -> None:
    for part in list(_containers(value)):
        if isinstance(part, dict):
            part["spoilt"] = sys.maxsize
        else:
            part.append("spoilt")
