import hashlib

import pytest
from pydantic import ValidationError

from grove.exceptions import DataFormatException
from grove.helpers.parsing import validation_error
from grove.models import ConnectorConfig, OutputStream, ProcessorConfig, Run, decode

MINIMUM = {"name": "acme", "identity": "1FEEDFEED1", "connector": "example_one"}
CANARY = "canary-5a1e"


def build(**fields: object) -> ConnectorConfig:
    return ConnectorConfig(**{**MINIMUM, **fields})  # type: ignore[arg-type]


def test_defaults() -> None:
    config = build()
    assert config.key == ""
    assert config.disabled is False
    assert config.secrets == {}
    assert config.encoding == {}
    assert config.operation == "all"
    assert config.frequency == 600
    assert config.lookback == 0
    assert config.run_timeout == 3600
    assert config.processors == []
    assert config.outputs == {"logs": OutputStream.raw, "processed": OutputStream.processed}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"identity": ""}, "identity"),
        ({"name": ""}, "name"),
        ({"connector": ""}, "connector"),
        ({"frequency": 0}, "frequency"),
        ({"frequency": -5}, "frequency"),
        ({"frequency": CANARY}, "frequency"),
        ({"lookback": -1}, "lookback"),
        ({"lookback": float("nan")}, "lookback"),
        ({"run_timeout": 0}, "run_timeout"),
        ({"outputs": {"logs": CANARY}}, "outputs.logs"),
        ({"processors": [{"name": CANARY}]}, "processors.0.processor"),
        ({"key": [CANARY]}, "key"),
        ({"secrets": {"key": [CANARY]}}, "secrets.key"),
    ],
)
def test_a_wrong_field_is_named_and_not_quoted(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError) as error:
        build(**fields)
    text = validation_error(error.value)
    assert text.startswith(f"{named}: ")
    assert CANARY not in text
    assert CANARY not in str(error.value)


def test_every_missing_field_is_named() -> None:
    with pytest.raises(ValidationError) as error:
        ConnectorConfig()  # type: ignore[call-arg]
    assert validation_error(error.value) == (
        "name: Field required; identity: Field required; connector: Field required"
    )


def test_a_setting_is_named_as_its_variable() -> None:
    with pytest.raises(ValidationError) as error:
        ConnectorConfig(name="a", identity="b")  # type: ignore[call-arg]
    assert validation_error(error.value, "GROVE_X_") == "GROVE_X_CONNECTOR: Field required"


def test_numbers_are_taken_for_text() -> None:
    config = build(identity=12345, key=7, operation=1)
    assert (config.identity, config.key, config.operation) == ("12345", "7", "1")


def test_other_fields_are_attributes() -> None:
    config = build(domain="example.com", params={"a": [1]}, fields=["b"])
    assert config.fields == ["b"]
    assert config.domain == "example.com"
    assert config.params == {"a": [1]}


def test_a_missing_field_is_an_attribute_error() -> None:
    assert not hasattr(build(), "domain")
    with pytest.raises(AttributeError, match="domain"):
        _ = build().domain


def test_schema_is_kept_beside_the_method() -> None:
    assert build(schema="PUBLIC").schema_ == "PUBLIC"


def test_the_schema_of_an_editor_is_dropped() -> None:
    assert build(**{"$schema": "https://example.com/schema.json"}).model_extra == {}


@pytest.mark.parametrize(
    "name",
    ["copy", "json", "dict", "construct", "model_dump", "model_copy", "model_fields", "__class__"],
)
def test_a_field_cannot_replace_a_method(name: str) -> None:
    config = build(**{name: CANARY})
    assert getattr(config, f"{name}_") == CANARY
    assert config.model_copy().model_dump()["name"] == "acme"
    assert type(config) is ConnectorConfig


def test_repr_shows_no_credential() -> None:
    config = build(
        key=CANARY,
        secrets={"token": CANARY},
        client_secret=CANARY,
        processors=[{"name": "p", "processor": "x", "header": CANARY}],
    )
    assert CANARY not in repr(config)
    assert CANARY not in str(config)
    assert CANARY not in repr(Run(configuration=config))
    assert "acme" in repr(config)


def test_reference() -> None:
    config = build()
    assert config.reference() == "example_one.06dc0fd3c08a2bc6a33f5460da9fea10"
    assert config.reference("all") == "example_one.06dc0fd3c08a2bc6a33f5460da9fea10.all"
    assert hashlib.md5(b"1FEEDFEED1", usedforsecurity=False).hexdigest() in config.reference()


def test_fields_are_decoded() -> None:
    config = build(key="c2VjcmV0", token="d29y\nZA==", encoding={"key": "base64", "token": "base64"})
    assert (config.key, config.token) == ("secret", "word")


def test_a_field_that_comes_from_a_store_is_decoded_later() -> None:
    config = build(secrets={"key": "/some/where"}, encoding={"key": "base64"})
    assert config.key == ""
    config.fill("key", "c2VjcmV0")
    assert config.key == "secret"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"encoding": {"key": "base64"}}, "'key', which has no text"),
        ({"encoding": {"token": "base64"}}, "'token', which has no text"),
        ({"key": "c2VjcmV0", "encoding": {"key": "rot13"}}, "'rot13' is unknown"),
        ({"key": f"*{CANARY}*", "encoding": {"key": "base64"}}, "'key' cannot be decoded"),
        ({"key": "/w==", "encoding": {"key": "base64"}}, "'key' cannot be decoded"),
    ],
)
def test_what_cannot_be_decoded_is_named(fields: dict[str, object], words: str) -> None:
    with pytest.raises(DataFormatException, match=words) as error:
        build(**fields)
    assert CANARY not in str(error.value)


def test_decode_does_not_carry_the_value_along() -> None:
    with pytest.raises(DataFormatException) as error:
        decode("/w==", "base64")
    assert error.value.__cause__ is None
    assert error.value.__context__ is None


def test_a_processor_keeps_its_own_settings() -> None:
    config = build(processors=[{"name": "drop", "processor": "filter_entries", "filters": ["a"]}])
    (processor,) = config.processors
    assert isinstance(processor, ProcessorConfig)
    assert processor.filters == ["a"]
    assert processor.on_error == "quarantine"


def test_run_knows_three_things() -> None:
    assert Run(configuration=build()).last is None
    with pytest.raises(ValidationError):
        Run(configuration=build(), other=1)  # type: ignore[call-arg]
