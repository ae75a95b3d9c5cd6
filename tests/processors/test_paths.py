"""What processors make of entries, one case after the other, and what they refuse to be told."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from grove.exceptions import ConfigurationException, ProcessorError
from grove.helpers import plugin
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor


def build(processor: str, **settings: Any) -> BaseProcessor:
    config = ProcessorConfig.model_validate({"name": "tidy", **settings, "processor": processor})
    made: BaseProcessor = plugin.load_handler(processor, "grove.processors", config)
    return made


def extract(*fields: dict[str, Any], **settings: Any) -> BaseProcessor:
    return build("extract_paths", fields=list(fields), **settings)


def test_the_readme_shows_processors_that_work() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(\"processors\".*?)```", text, re.DOTALL)
    no_bots, schema = [build(**item) for item in json.loads(f"{{{block}}}")["processors"]]
    assert no_bots.process({"actor": {"type": "bot"}}) == []
    (made,) = schema.process({"actor": {"id": 7}})
    assert made == {"user": {"name": 7}, "event": {"kind": "audit", "original": '{"actor":{"id":7}}'}}


# --- extract_paths ---


@pytest.mark.parametrize(
    ("sources", "entry", "made"),
    [
        (["a"], {"a": 1}, {"to": 1}),
        (["a", "b"], {"a": 1, "b": 2}, {"to": 1}),
        (["a", "b"], {"b": 2}, {"to": 2}),
        (["a", "b"], {"a": None, "b": 2}, {"to": 2}),
        (["a", "b"], {"a": 0, "b": 2}, {"to": 2}),
        (["a", "b"], {"a": 0, "b": False}, {"to": 0}),
        (["a", "b"], {"a": None, "b": ""}, {"to": ""}),
        (["a"], {"a": False}, {"to": False}),
        (["a", "b"], {"a": [], "b": 0}, {"to": 0}),
        (["a"], {"a": []}, {}),
        (["a"], {"a": {}}, {}),
        (["a"], {"a": None}, {}),
        (["a"], {}, {}),
        (["a[].b"], {"a": [{"b": 1}, {}]}, {"to": [1]}),
        (["a == 'x'"], {"a": "y"}, {"to": False}),
        (['"a.b".c'], {"a.b": {"c": 1}, "a": {"b": {"c": 2}}}, {"to": 1}),
    ],
)
def test_the_first_true_source_counts_then_the_first_plain_value(
    sources: list[str], entry: dict[str, Any], made: dict[str, Any]
) -> None:
    assert extract({"destination": "to", "sources": sources}).process(entry) == [made]


@pytest.mark.parametrize("static", ["text", 7, 0, False, "", [], {"a": [1]}])
def test_a_static_value_is_what_it_is(static: Any) -> None:
    assert extract({"destination": "a.b", "static": static}).process({}) == [{"a": {"b": static}}]


def test_a_field_without_a_value_leaves_no_object_behind() -> None:
    processor = extract({"destination": "a.b.c", "sources": ["x"]}, {"destination": "d", "sources": ["y"]})
    assert processor.process({"y": 1}) == [{"d": 1}]


def test_a_later_field_replaces_what_is_no_list() -> None:
    processor = extract({"destination": "a", "static": {"x": 1}}, {"destination": "a", "sources": ["y"]})
    assert processor.process({"y": 2}) == [{"a": 2}]
    assert processor.process({}) == [{"a": {"x": 1}}]


def test_two_destinations_share_nothing() -> None:
    processor = extract({"destination": "a", "sources": ["x"]}, {"destination": "b", "sources": ["x"]})
    (made,) = processor.process({"x": {"y": {"z": 1}}})
    made["a"]["y"]["z"] = 2
    assert made["b"] == {"y": {"z": 1}}


def test_entries_do_not_share_what_is_static() -> None:
    processor = extract({"destination": "a", "static": {"b": {}}}, {"destination": "a.b.c", "sources": ["x"]})
    assert processor.process({"x": 1}) == [{"a": {"b": {"c": 1}}}]
    assert processor.process({}) == [{"a": {"b": {}}}]


def test_the_raw_entry_keeps_its_order_and_what_other_parsers_would_change() -> None:
    processor = extract({"destination": "z", "sources": ["z"]}, raw="'raw.text'")
    (made,) = processor.process({"z": 1, "a": "Zoë\ud800", "big": 2**70, "share": 0.5})
    assert made == {"z": 1, "raw.text": '{"z":1,"a":"Zoë\\ud800","big":1180591620717411303424,"share":0.5}'}


def test_a_destination_within_a_text_is_an_error_of_the_entry() -> None:
    processor = extract({"destination": "a", "sources": ["a"]}, {"destination": "a.b", "static": 1})
    assert processor.process({}) == [{"a": {"b": 1}}]
    with pytest.raises(ProcessorError, match=r"Nothing can be put at 'a\.b'. a is no object"):
        processor.process({"a": "text"})


# --- filter_paths ---


@pytest.mark.parametrize(
    ("sources", "entry", "made"),
    [
        (["a"], {"a": 1, "b": 2}, {"b": 2}),
        (["a.b"], {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
        (["a.b"], {"a": {"b": 1}}, {"a": {}}),
        (["'a.b'"], {"a.b": 1, "a": {"b": 2}}, {"a": {"b": 2}}),
        (['a."b.c".d'], {"a": {"b.c": {"d": 1}}}, {"a": {"b.c": {}}}),
        (["a", "a.b", "a"], {"a": {"b": 1}}, {}),
        (["a.b", "c.d.e", "f"], {"a": None}, {"a": None}),
        (["a.b"], {"a": "text"}, {"a": "text"}),
        (["a.b", "a.0"], {"a": [{"b": 1}]}, {"a": [{"b": 1}]}),
        (["a..b"], {"a": {"": {"b": 1}, "b": 2}}, {"a": {"": {}, "b": 2}}),
    ],
)
def test_what_is_there_is_removed(sources: list[str], entry: dict[str, Any], made: dict[str, Any]) -> None:
    assert build("filter_paths", sources=sources).process(entry) == [made]


# --- split_path ---


@pytest.mark.parametrize(
    ("source", "entry", "made"),
    [
        ("a", {"a": [1, None], "b": 1}, [{"a": 1, "b": 1}, {"a": None, "b": 1}]),
        ("a", {"a": [[1, 2], [3]]}, [{"a": [1, 2]}, {"a": [3]}]),
        ("a.b", {"a": {"b": [1, 2], "c": [3]}}, [{"a": {"b": 1, "c": [3]}}, {"a": {"b": 2, "c": [3]}}]),
        ('"a.b"', {"a.b": [1]}, [{"a.b": 1}]),
        ("a[1].b", {"a": [0, {"b": [1, 2]}]}, [{"a": [0, {"b": 1}]}, {"a": [0, {"b": 2}]}]),
        ("a[-1]", {"a": [0, [1, 2]]}, [{"a": [0, 1]}, {"a": [0, 2]}]),
        ("a[2]", {"a": [0, [1]]}, [{"a": [0, [1]]}]),
        ("a[-3].b", {"a": [0, 1]}, [{"a": [0, 1]}]),
        ("a[0]", {"a": {"0": [1]}}, [{"a": {"0": [1]}}]),
        ("a", {"a": []}, [{"a": []}]),
        ("a", {"a": "text"}, [{"a": "text"}]),
        ("a", {"a": {"b": [1]}}, [{"a": {"b": [1]}}]),
        ("a.b", {"a": [{"b": [1, 2]}]}, [{"a": [{"b": [1, 2]}]}]),
        ("a", {}, [{}]),
    ],
)
def test_each_element_replaces_its_list(source: str, entry: dict[str, Any], made: list[dict[str, Any]]) -> None:
    assert build("split_path", source=source).process(entry) == made


def test_the_order_of_names_stays() -> None:
    made = build("split_path", source="b").process({"a": 1, "b": [1, 2], "c": 3})
    assert [list(result) for result in made] == [["a", "b", "c"]] * 2


# --- zip_paths ---


@pytest.mark.parametrize(
    ("items", "made"),
    [
        ([{"k": "x", "v": 1}, {"k": "y", "w": 2}], {"x": 1, "y": 2}),
        ([{"k": "x", "v": None, "w": 2}], {"x": 2}),
        ([{"k": "x", "v": False, "w": 2}, {"k": "y", "v": ""}], {"x": False, "y": ""}),
        ([{"k": "x"}, {"v": 1}, {"k": None, "v": 1}, {}, None, 7, "text", []], {}),
        ([{"k": "", "v": 1}], {"": 1}),
        ([{"k": "x", "v": 1}, {"k": "x", "v": 2}], {"x": 2}),
        (
            [{"k": 5, "v": 1}, {"k": True, "v": 2}, {"k": {"b": 1, "a": [2]}, "v": 3}],
            {"5": 1, "true": 2, '{"a":[2],"b":1}': 3},
        ),
        ({"k": "x", "v": {"y": [1]}}, {"x": {"y": [1]}}),
        ({}, {}),
        ([], {}),
        ("text", "text"),
        (0, 0),
        (None, None),
    ],
)
def test_items_become_one_object(items: Any, made: Any) -> None:
    processor = build("zip_paths", source="a.b", key="k", values=["v", "w"])
    assert processor.process({"a": {"b": copy.deepcopy(items)}, "c": 1}) == [{"a": {"b": made}, "c": 1}]


@pytest.mark.parametrize("entry", [{}, {"a": None}, {"a": "text"}, {"a": []}, {"a": {"c": 1}}])
def test_nothing_is_zipped_where_nothing_is(entry: dict[str, Any]) -> None:
    processor = build("zip_paths", source="a.b", key="k", values=["v"])
    assert processor.process(copy.deepcopy(entry)) == [entry]


# --- what is refused ---


@pytest.mark.parametrize(
    ("processor", "settings", "words"),
    [
        ("extract_paths", {}, "fields: Field required"),
        ("extract_paths", {"fields": []}, "fields: "),
        ("extract_paths", {"fields": [{"destination": "a"}]}, "fields.0: .*either `sources` or `static`"),
        ("extract_paths", {"fields": [{"destination": "a", "sources": ["b"], "static": 1}]}, "fields.0: .*either"),
        ("extract_paths", {"fields": [{"destination": "", "static": 1}]}, "fields.0.destination: '' is no path"),
        ("extract_paths", {"fields": [{"destination": "a.'b", "static": 1}]}, "fields.0.destination: .* quote closed"),
        (
            "extract_paths",
            {"fields": [{"destination": "a", "sources": ["b["]}]},
            r"fields.0.sources.0: 'b\[' is no JMESP",
        ),
        ("extract_paths", {"fields": [{"destination": "a", "source": "b"}]}, "fields.0.source: Extra inputs"),
        ("extract_paths", {"fields": [{"destination": "a", "static": 1}], "raw": "'"}, "raw: .* is no path"),
        ("filter_entries", {"filters": ["a", "b ="]}, "filters.1: 'b =' is no JMESPath expression"),
        ("filter_entries", {"filters": ["(" * 9_999]}, "filters.0: .* is no JMESPath expression"),
        ("filter_entries", {"filters": ["a" * 10_001]}, "filters.0: .* is no JMESPath expression"),
        ("filter_paths", {}, "sources: Field required"),
        ("filter_paths", {"sources": ["a", "'b"]}, "sources.1: .*'b"),
        ("split_path", {}, "source: Field required"),
        ("split_path", {"source": "a["}, r"source: 'a\[' is no JMESPath expression"),
        *[
            ("split_path", {"source": path}, f"source: {re.escape(repr(path))} does not lead to one place")
            for path in (
                "a[]",
                "a[*].b",
                "a[0:1]",
                "a || b",
                "length(a)",
                "a.*",
                "a[?b]",
                "[0]",
                "@",
                "'a'",
                "a.length(@)",
            )
        ],
        ("zip_paths", {"source": "a[]", "key": "k", "values": ["v"]}, "source: .* does not lead to one place"),
        ("zip_paths", {"source": "a", "key": "k!", "values": ["v"]}, "key: 'k!' is no JMESPath"),
        ("zip_paths", {"source": "a", "key": "k", "values": []}, "values: "),
        ("zip_paths", {"source": "a", "key": "k", "values": ["v", "]"]}, r"values.1: '\]' is no JMESPath"),
    ],
)
def test_wrong_settings_name_processor_field_and_expression(
    processor: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationException, match=rf"^Processor 'tidy' \({processor}\): (?s:.*){words}"):
        build(processor, **settings)


def test_a_long_path_is_a_path() -> None:
    path = "a" + ".b[0]" * 1_500
    assert build("split_path", source=path).process({"a": {"b": []}}) == [{"a": {"b": []}}]


@pytest.mark.parametrize(
    ("processor", "settings"),
    [
        ("extract_paths", {"fields": [{"destination": "a", "sources": ["length(id)"]}]}),
        ("filter_entries", {"filters": ["length(id)"]}),
        ("zip_paths", {"source": "items", "key": "length(k)", "values": ["v"]}),
        ("zip_paths", {"source": "items", "key": "k", "values": ["length(k)"]}),
    ],
)
def test_an_expression_that_cannot_be_applied_is_an_error_of_the_entry(
    processor: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ProcessorError, match=r"'length\((id|k)\)' cannot be applied: JMESPathTypeError"):
        build(processor, **settings).process({"id": 7, "items": [{"k": 7, "v": 1}]})
