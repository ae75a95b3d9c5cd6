"""What handlers inherit: settings from the environment, serialisation, and names for objects."""

import copy
import gzip
import json
import os
import warnings
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field
from pydantic_settings import BaseSettings

from grove.exceptions import ConfigurationException, NotImplementedException
from grove.outputs import BaseOutput
from grove.testing.output_contract import object_name

# A plugin for the 2.x line has its settings like this; pydantic would rather see another form.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)

    class Settings(BaseOutput.Configuration):
        url: str
        retries: int = 5
        region: str = "us-east-1"
        headers: dict[str, str] = Field(default_factory=dict)

        class Config:
            env_prefix = "MY_OUTPUT_"
            case_insensitive = True


class Output(BaseOutput):
    Configuration = Settings

    def submit(self, *args, **kwargs):
        """Takes everything."""


# --- settings ---


def test_settings_come_from_the_environment_in_any_case(monkeypatch):
    monkeypatch.setenv("MY_OUTPUT_URL", "https://one")
    monkeypatch.setenv("my_output_retries", "7")
    config = Output().config
    assert (config.url, config.retries, config.region) == ("https://one", 7, "us-east-1")


def test_numbers_become_text_where_text_is_wanted(monkeypatch):
    monkeypatch.setenv("MY_OUTPUT_URL", "https://one")
    assert Output.Configuration(region=7).region == "7"


def test_a_setting_nobody_declared_is_kept():
    assert Output.Configuration(url="u", extra_one="kept").extra_one == "kept"


def test_a_missing_setting_is_named_as_its_variable():
    with pytest.raises(ConfigurationException, match="MY_OUTPUT_URL"):
        Output()


@pytest.mark.parametrize("name", ["RETRIES", "HEADERS"])
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(monkeypatch, name):
    monkeypatch.setenv("MY_OUTPUT_URL", "https://one")
    monkeypatch.setenv(f"MY_OUTPUT_{name}", "s3cret")
    with pytest.raises(ConfigurationException, match=f"MY_OUTPUT_{name}") as caught:
        Output()
    err = caught.value
    while err is not None:
        assert "s3cret" not in str(err)
        err = err.__cause__ or err.__context__


def test_a_configuration_of_its_own_will_do(monkeypatch):
    class Own(BaseOutput):
        class Configuration(BaseSettings):
            model_config = {"env_prefix": "OWN_"}
            token: int

        def submit(self, *args, **kwargs):
            """Takes everything."""

    monkeypatch.setenv("OWN_TOKEN", "s3cret")
    with pytest.raises(ConfigurationException, match="OWN_TOKEN") as caught:
        Own()
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_logger_is_the_handlers_own(monkeypatch):
    monkeypatch.setenv("MY_OUTPUT_URL", "https://one")
    assert Output().logger.name == __name__


def test_submit_has_to_be_written():
    with pytest.raises(TypeError, match="submit"):
        BaseOutput()


def test_an_output_that_only_submits_says_so(monkeypatch):
    monkeypatch.setenv("MY_OUTPUT_URL", "https://one")
    output = Output()
    assert output.SCOPE is None
    for call in (
        lambda: output.stage(object_name(), b""),
        lambda: output.publish({}),
        lambda: output.settle([], []),
        lambda: output.discard({}),
        lambda: output.sweep(object_name(), "", datetime.now(UTC).date(), set()),
    ):
        with pytest.raises(NotImplementedException, match="only submit"):
            call()


# --- serialize ---


@pytest.fixture
def output(monkeypatch):
    monkeypatch.setenv("MY_OUTPUT_URL", "https://one")
    return Output()


def test_serialize_gives_one_gzip_member_of_lines(output):
    data = output.serialize([{"b": 1, "a": "é"}, {}], {"run": 1})
    assert gzip.decompress(data) == '{"b":1,"a":"é","_grove":{"run":1}}\n{"_grove":{"run":1}}\n'.encode()
    assert data == output.serialize([{"b": 1, "a": "é"}, {}], {"run": 1})


def test_serialize_without_metadata(output):
    assert gzip.decompress(output.serialize([{"a": 1}])) == b'{"a":1,"_grove":{}}\n'


def test_serialize_is_encoding_and_packing(monkeypatch, output):
    monkeypatch.setattr(Output, "pack", lambda self, ndjson: b"<" + ndjson + b">")
    assert output.serialize([{"a": 1}], {"r": 2}) == b'<{"a":1,"_grove":{"r":2}}\n>'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "_grove"]) | st.text(max_size=3), JSON, max_size=4)


@given(st.lists(st.none() | OBJECTS, max_size=4))
def test_serialize_never_changes_what_it_is_given(entries):
    before = copy.deepcopy(entries)
    metadata = {"run": 1}
    os.environ["MY_OUTPUT_URL"] = "https://one"
    try:
        data = Output().serialize(entries, metadata)
    finally:
        del os.environ["MY_OUTPUT_URL"]
    assert entries == before
    assert metadata == {"run": 1}
    assert [json.loads(line)["_grove"]["run"] for line in gzip.decompress(data).splitlines()] == [
        1 for entry in entries if entry is not None
    ]


# --- object names ---


def test_an_object_lies_where_it_always_did():
    name = object_name(identity="corp", moment=datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC), part=12)
    assert str(name.path()) == ("logs/contract/corp/2025/03/04/all-2025-03-04T05:06:07Z.12-0123456789abcdef.json.gz")


def test_names_are_in_utc():
    moment = datetime(2025, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert "/2024/12/31/all-2024-12-31T22:30:00Z." in str(object_name(moment=moment).path())


@pytest.mark.parametrize(
    ("descriptor", "folder"),
    [("logs/", "logs"), ("a/b", "a/b"), ("", ""), ("/", ""), ("../x", "%2E./x"), ("a/" * 9, "a/a/a/a/a/a/a/a%2Fa")],
)
def test_a_descriptor_may_name_several_folders(descriptor, folder):
    path = object_name(descriptor=descriptor, identity="corp").folder()
    assert str(path) == f"{folder}/contract/corp".lstrip("/")


NASTY = st.text(st.sampled_from("a.%/\\\0~\n-é\ud800"), max_size=6)
TEXT = NASTY | st.text(st.characters(), max_size=40) | st.text(st.sampled_from("ab/"), min_size=140, max_size=170)
FIELDS = st.fixed_dictionaries(
    {
        "descriptor": TEXT,
        "connector": TEXT,
        "identity": TEXT,
        "operation": TEXT,
        "part": st.integers(0, 10**6),
        "tag": st.sampled_from(["0" * 16, "f" * 16]),
    }
)


def test_names_stay_below_the_root_and_never_meet():
    seen = {}

    @settings(max_examples=2000)
    @given(FIELDS)
    @example({"descriptor": "a/b", "connector": "c", "identity": "d", "operation": "e", "part": 0, "tag": "0" * 16})
    @example({"descriptor": "a", "connector": "b/c", "identity": "d", "operation": "e", "part": 0, "tag": "0" * 16})
    @example({"descriptor": "a", "connector": "b", "identity": "c/d", "operation": "e", "part": 0, "tag": "0" * 16})
    def check(fields):
        path = object_name(**fields).path()
        assert not path.is_absolute()
        assert not any(part.startswith(".") or "/" in part or len(part) > 255 for part in path.parts)
        known = {**fields, "descriptor": fields["descriptor"].removesuffix("/")}
        assert seen.setdefault(str(path), known) == known

    check()
    assert len(seen) > 1000
