"""YAML documents: what they mean, and what becomes of those that mean nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grove.configs import BaseConfig, _yaml
from grove.configs.local_file import Handler

HEAD = "identity: one\nconnector: local_heartbeat\n"


@pytest.fixture(params=["libyaml", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "python":
        monkeypatch.setattr(_yaml, "_Composer", _yaml._SlowComposer)
    yield


def value(text: str) -> Any:
    (root,) = _yaml.compose(f"it: {text}")
    return _yaml.construct(root)["it"]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("0123", "0123"),
        ("0o17", 15),
        ("0x1f", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-11-24", "2026-11-24"),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".", "."),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("", None),
        ("'null'", "null"),
        ('"7"', "7"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("9" * 400, "9" * 400),
        ("<<", "<<"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("{7: x, ~: y}", {"7": "x", "~": "y"}),
        ("[&x {a: 1}, *x]", [{"a": 1}, {"a": 1}]),
    ],
)
def test_values_are_those_of_the_core_schema(text: str, meaning: Any) -> None:
    found = value(text)
    assert (found, type(found)) == (meaning, type(meaning))


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: b: c\n", (1, 5), "a colon in it needs quotes"),
        ('a: 1\nb: "x\n', (2, 4), "a quote is not closed"),
        ("a:\n\t- b\n", (2, 1), "tab"),
        ("a: *b\n", (1, 4), "no anchor"),
        ("a: \x01\n", (1, 4), "not allowed here"),
        ("a: !!python/object:os.system x\n", (1, 4), "tag has no meaning"),
        ("a: !!int '3'\n", (1, 4), "tag has no meaning"),
        ("a: &a [*a]\n", (1, 4), "repeat too much"),
        ("? [a]\n: 1\n", (1, 3), "name of a field has to be a text"),
        ("[ " * 5000, (1, 201), "nested more than 100 levels"),
        ("- " * 5000, (1, 201), "nested more than 100 levels"),
        ('{"a":' * 5000, (1, 501), "nested more than 100 levels"),
    ],
    ids=lambda value: repr(value[:9]) if isinstance(value, str) else "",
)
def test_what_is_no_yaml_is_refused_where_it_stands(text: str, place: tuple[int, int], words: str) -> None:
    with pytest.raises(_yaml.NotYamlError, match=words) as refused:
        for root in _yaml.compose(text):
            _yaml.construct(root)
    assert (refused.value.line, refused.value.column) == place


def test_aliases_do_not_multiply_without_end() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (root,) = _yaml.compose("\n".join(lines))
    with pytest.raises(_yaml.NotYamlError, match="repeat too much"):
        _yaml.construct(root)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_a_dumper_writes_comes_back(data: Any) -> None:
    text = yaml.safe_dump(data, default_style='"') if isinstance(data, str) else yaml.safe_dump(data)
    (root,) = _yaml.compose(text)
    found = _yaml.construct(root)
    # The dumper knows other words for true and false, and so quotes more than it has to, never less.
    assert found == data


@given(st.text())
def test_no_text_does_harm(text: str) -> None:
    try:
        for root in _yaml.compose(text):
            _yaml.construct(root)
    except _yaml.NotYamlError as err:
        assert err.line >= 0


# --- through a handler ---


def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[BaseConfig, list[str]]:
    monkeypatch.setenv("GROVE_CONFIG_LOCAL_FILE_PATH", str(folder))
    handler = Handler()
    return handler, [config.name for config in handler.get()]


def test_one_file_may_have_several_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(f"# first\n---\nname: a\n{HEAD}---\n---\nname: b\n{HEAD}...\n")
    (tmp_path / "b.json").write_text(
        json.dumps([{"name": name, "identity": "one", "connector": "local_heartbeat"} for name in "cd"])
    )
    (tmp_path / "c.yml").write_text(f"- name: e\n  {HEAD.replace(chr(10), chr(10) + '  ')}")
    handler, names = load(tmp_path, monkeypatch)
    assert names == ["a", "b", "c", "d", "e"]
    assert handler.problems == []
    assert handler.count == 5


def test_texts_stay_texts_on_the_way_into_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(
        "name: no\nidentity: 0123\nconnector: local_heartbeat\noperation: 2026-11-24\nfrequency: 60\ndisabled: false\n"
    )
    monkeypatch.setenv("GROVE_CONFIG_LOCAL_FILE_PATH", str(tmp_path))
    (config,) = Handler().get()
    assert (config.name, config.identity, config.operation) == ("no", "0123", "2026-11-24")
    assert (config.frequency, config.disabled) == (60, False)


def test_a_file_that_is_no_yaml_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(f"name: a\n{HEAD}---\nname: b: c\n")
    handler, names = load(tmp_path, monkeypatch)
    assert names == []
    (problem,) = handler.problems
    assert (problem.code, problem.place) == ("bad-yaml", f"{tmp_path}/a.yaml:5:8")


@pytest.mark.parametrize("text", ["# nothing\n", "---\n---\n", "~\n"])
def test_a_file_without_a_document_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    handler, _ = load(tmp_path, monkeypatch)
    assert [problem.code for problem in handler.problems] == ["no-document"]


@pytest.mark.parametrize(("name", "is_loaded"), [("a.json", "False\n"), ("a.yaml", "True\n")])
def test_yaml_is_loaded_for_yaml_only(tmp_path: Path, name: str, is_loaded: str) -> None:
    (tmp_path / name).write_text('{"name": "a", "identity": "one", "connector": "local_heartbeat"}')
    code = (
        "import sys\nfrom grove.configs.local_file import Handler\n"
        "assert len(Handler().get()) == 1\nprint('yaml' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"GROVE_CONFIG_LOCAL_FILE_PATH": str(tmp_path)},
    )
    assert done.stdout == is_loaded, done.stderr
