"""Every processor against its plain twin, on entries in which paths often lead somewhere and often do not."""

import copy
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from grove import _core
from grove.exceptions import ProcessorError
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor
from grove.processors.extract_paths import Handler as ExtractPaths
from grove.processors.filter_entries import Handler as FilterEntries
from grove.processors.filter_paths import Handler as FilterPaths
from grove.processors.split_path import Handler as SplitPath
from grove.processors.zip_paths import Handler as ZipPaths
from tests.processors import reference

# Few names, so that paths meet entries.
NAMES = ["a", "b", "x.y", "", "\u2028'"]
LEAVES = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "a", "0", "Zoë", 0.0, 1.5])

names = st.sampled_from(NAMES)
values = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=12
)
entries = st.dictionaries(names, values, min_size=1, max_size=4)
name_paths = st.lists(names, min_size=1, max_size=3)
places = st.builds(lambda first, rest: [first, *rest], names, st.lists(names | st.integers(-2, 2), max_size=3))
expressions = st.one_of(
    places.map(lambda steps: jmespath_of(steps)),
    st.sampled_from(["a[].b", "a[*]", "keys(@)", "a == b", "a || b", "[a, b]", "`[]`", "length(a)", "!a", "@"]),
)


def jmespath_of(steps: list[Any]) -> str:
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            quoted = step.replace("\\", "\\\\").replace('"', '\\"')
            text += f'."{quoted}"' if text else f'"{quoted}"'
    return text


def dotted_of(path: list[str]) -> str:
    return ".".join(f'"{name}"' for name in path)


def make(handler: type[BaseProcessor], **settings: Any) -> BaseProcessor:
    return handler(ProcessorConfig.model_validate({"name": "n", "processor": "p", **settings}))


def same(processor: BaseProcessor, entry: dict[str, Any], twin: Any, **settings: Any) -> None:
    """The processor makes of `entry` what its twin does, or both fail."""
    before = copy.deepcopy(entry)
    try:
        expected = twin(entry, **settings)
    except Exception:
        expected = None
    assert entry == before
    try:
        made = processor.process(copy.deepcopy(entry))
    except ProcessorError:
        assert expected is None
        return
    assert expected is not None
    # The order of names as well, which an output keeps; and 1, 1.0 and True are not the same.
    assert _core.encode(made, None).data == _core.encode(expected, None).data


@given(entries, st.lists(expressions, min_size=1, max_size=3))
def test_filter_entries(entry: dict[str, Any], filters: list[str]) -> None:
    same(make(FilterEntries, filters=filters), entry, reference.filter_entries, filters=filters)


@given(entries, st.lists(name_paths, min_size=1, max_size=3))
@example({"a": {"b": 1}}, [["a", "b"], ["a"]])
@example({"a": [{"b": 1}]}, [["a", "b"]])
def test_filter_paths(entry: dict[str, Any], paths: list[list[str]]) -> None:
    processor = make(FilterPaths, sources=[dotted_of(path) for path in paths])
    same(processor, entry, reference.filter_paths, sources=paths)


@given(entries, places)
@example({"a": [{"b": [1, {}, None]}, 2]}, ["a", -2, "b"])
def test_split_path(entry: dict[str, Any], steps: list[Any]) -> None:
    source = jmespath_of(steps)
    same(make(SplitPath, source=source), entry, reference.split_path, source=source, steps=steps)


@given(entries, places, expressions, st.lists(expressions, min_size=1, max_size=3))
@example({"a": [{"a": "x", "b": 0}, {"a": True, "b": [1]}]}, ["a"], "a", ["b"])
@example({"a": {"a": "x", "b": None}}, ["a"], "a", ["b", "a"])
def test_zip_paths(entry: dict[str, Any], steps: list[Any], key: str, paths: list[str]) -> None:
    settings = {"source": jmespath_of(steps), "key": key, "values": paths}
    same(make(ZipPaths, **settings), entry, reference.zip_paths, steps=steps, **settings)


fields = st.fixed_dictionaries(
    {"destination": name_paths}, optional={"sources": st.lists(expressions, min_size=1, max_size=3)}
)


@given(entries, st.lists(fields, min_size=1, max_size=4), values)
@example({"a": [1]}, [{"destination": ["a"], "sources": ["a"]}, {"destination": ["a"]}], [2])
@example({"a": 1}, [{"destination": ["a"], "sources": ["a"]}, {"destination": ["a", "b"]}], 2)
def test_extract_paths(entry: dict[str, Any], rules: list[dict[str, Any]], static: Any) -> None:
    rules = [rule if "sources" in rule else {**rule, "static": 0 if static is None else static} for rule in rules]
    settings = [{**rule, "destination": dotted_of(rule["destination"])} for rule in rules]
    same(make(ExtractPaths, fields=settings), entry, reference.extract_paths, fields=rules)
