"""The built-in processors keep the contract that plugins are tested with, and the contract tells those that do not."""

from importlib.metadata import entry_points
from typing import Any

import pytest

from grove.models import ProcessorConfig
from grove.processors import BaseProcessor
from grove.processors.extract_paths import Handler as ExtractPaths
from grove.processors.filter_entries import Handler as FilterEntries
from grove.processors.filter_paths import Handler as FilterPaths
from grove.processors.split_path import Handler as SplitPath
from grove.processors.zip_paths import Handler as ZipPaths
from grove.testing.processor_contract import ProcessorContract, examples_of


class TestExtractPaths(ProcessorContract):
    HANDLER = ExtractPaths

    def settings(self) -> dict[str, Any]:
        return {
            "raw": "raw",
            "fields": [
                {"destination": "who", "sources": ["actor", "events", '`{"none": []}`']},
                {"destination": "who.again", "sources": ["actor"]},
                {"destination": "static", "static": {"list": [{}]}},
                {"destination": "static.list", "sources": ["events[0]", "actor"]},
            ],
        }


class TestExtractPathsThatMayFail(ProcessorContract):
    HANDLER = ExtractPaths

    def settings(self) -> dict[str, Any]:
        return {"fields": [{"destination": "id", "sources": ["id"]}, {"destination": "id.size", "sources": ["name"]}]}


class TestFilterEntries(ProcessorContract):
    HANDLER = FilterEntries

    def settings(self) -> dict[str, Any]:
        return {"filters": ["length(id) > `3`", "events[?name == 'x']"]}


class TestFilterPaths(ProcessorContract):
    HANDLER = FilterPaths

    def settings(self) -> dict[str, Any]:
        return {"sources": ["actor.id", "'a.b'", "events.name", "id"]}


class TestSplitPath(ProcessorContract):
    HANDLER = SplitPath

    def settings(self) -> dict[str, Any]:
        return {"source": "events"}


class TestSplitDeepPath(TestSplitPath):
    def settings(self) -> dict[str, Any]:
        return {"source": "actor.roles"}


class TestZipPaths(ProcessorContract):
    HANDLER = ZipPaths

    def settings(self) -> dict[str, Any]:
        return {"source": "parameters", "key": "name", "values": ["value", '`{"none": []}`']}


class TestZipEvents(ProcessorContract):
    HANDLER = ZipPaths

    def settings(self) -> dict[str, Any]:
        return {"source": "events", "key": "name || @", "values": ["value", "length(@)", '`{"none": []}`']}


BUILT_IN = {
    point.name: point for point in entry_points(group="grove.processors") if point.value.startswith("grove.processors.")
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_processor_has_examples_and_keeps_the_contract(name: str) -> None:
    handler = BUILT_IN[name].load()
    examples = examples_of(handler)
    assert examples
    assert any(example.becomes != [example.entry] for example in examples)
    assert any(handler is getattr(kind, "HANDLER", None) for kind in globals().values())


# --- the contract itself ---


class _Documented(BaseProcessor):
    """What does it do?

    settings  {}
    entry     {"a": 1}

        becomes   {"a": 1}
    """

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        return [entry]


def test_an_example_that_stands_alone_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"`becomes` stands before any `settings`"):
        examples_of(_Documented)


def test_an_example_is_several_entries_under_one_setting() -> None:
    found = examples_of(SplitPath)
    assert [example.settings for example in found] == [{"source": "events"}] * 2
    assert [len(example.becomes) for example in found] == [2, 1]


class _Shares(BaseProcessor):
    """Gives the same list to every entry."""

    def __init__(self, config: ProcessorConfig) -> None:
        super().__init__(config)
        self.tags: list[Any] = []

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"tags": self.tags}, {"tags": self.tags}]


class _Counts(_Shares):
    """Makes something else of every entry."""

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        self.tags.append(1)
        return [{"count": len(self.tags)}]


class _Raises(_Shares):
    """Expects what is not always there.

    settings  {}

        settings  {}
        entry     {"id": 1}
        becomes   {"id": 2}
    """

    def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"id": entry["id"]}]


@pytest.mark.parametrize(
    ("handler", "test", "arguments"),
    [
        (_Shares, "test_what_it_makes_can_be_changed", 1),
        (_Shares, "test_what_it_makes_shares_nothing", 1),
        (_Counts, "test_what_it_makes_of_an_entry_depends_on_nothing_else", 1),
        (_Counts, "test_a_page_can_end_at_any_time", 1),
        (_Raises, "test_its_examples_are_true", 0),
    ],
)
def test_the_contract_tells(handler: type[BaseProcessor], test: str, arguments: int) -> None:
    contract: Any = type("Contract", (ProcessorContract,), {"HANDLER": handler, "settings": lambda self: {}})()
    given = [contract.make_processor()] * arguments
    with pytest.raises(AssertionError):
        getattr(contract, test)(*given)


def test_the_contract_takes_no_other_error_than_a_processor_error() -> None:
    class Contract(ProcessorContract):
        HANDLER = _Raises

        def settings(self) -> dict[str, Any]:
            return {}

    contract = Contract()
    with pytest.raises(KeyError):
        contract.test_it_gives_a_list_of_entries_or_a_processor_error(contract.make_processor(), {})
