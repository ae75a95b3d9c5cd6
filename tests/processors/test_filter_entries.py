from typing import Any

import pytest

from grove.exceptions import ConfigurationException, ProcessorError
from grove.models import ProcessorConfig
from grove.processors.filter_entries import Handler


def handler(*filters: str) -> Handler:
    return Handler(build(filters=list(filters)))


def build(**fields: Any) -> ProcessorConfig:
    return ProcessorConfig.model_validate({"name": "drop-noise", "processor": "filter_entries", **fields})


@pytest.mark.parametrize(
    ("filters", "entry", "kept"),
    [
        (["noise"], {"noise": True}, False),
        (["noise"], {"noise": "yes"}, False),
        (["noise"], {"noise": False}, True),
        (["noise"], {"noise": 0}, True),
        (["noise"], {"noise": ""}, True),
        (["noise"], {"noise": []}, True),
        (["noise"], {}, True),
        (["a.b"], {"a": {"b": 1}}, False),
        (["actor.type == 'bot'"], {"actor": {"type": "bot"}}, False),
        (["actor.type == 'bot'"], {"actor": {"type": "user"}}, True),
        (["a", "b"], {"b": 1}, False),
        (["a", "b"], {"c": 1}, True),
        (["contains(tags, 'x')"], {"tags": ["x"]}, False),
    ],
)
def test_any_filter_drops(filters: list[str], entry: dict[str, Any], kept: bool) -> None:
    assert handler(*filters).process(entry) == ([entry] if kept else [])


def test_a_wrong_expression_is_found_at_load() -> None:
    with pytest.raises(ConfigurationException, match=r"'drop-noise'.*'a\[' is no JMESPath"):
        handler("ok", "a[")


def test_an_expression_that_does_not_apply_is_named() -> None:
    with pytest.raises(ProcessorError, match=r"contains\(tags, 'x'\)"):
        handler("contains(tags, 'x')").process({"tags": 7})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "filters: Field required"),
        ({"filters": []}, "filters: "),
        ({"filters": "a"}, "filters: "),
        ({"filters": ["a"], "fliters": ["b"]}, "fliters: Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_name_processor_and_field(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationException, match=rf"'drop-noise' \(filter_entries\): .*{words}"):
        Handler(build(**fields))


def test_what_to_do_with_errors_is_a_setting_of_every_processor() -> None:
    assert Handler(build(filters=["a"], on_error="fail")).configuration.on_error == "fail"


def test_finalize_does_nothing() -> None:
    assert handler("a").finalize() is None  # type: ignore[func-returns-value]
