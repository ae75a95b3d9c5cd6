"""`${VAR}` in documents that ask for it, and nowhere else."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from grove.configs import BaseConfig
from grove.exceptions import ConfigurationException
from grove.logging import forget_secrets, redact
from grove.models import ConnectorConfig

CANARY = "canary-5a1e"

Load = Callable[..., ConnectorConfig | None]


class Source(BaseConfig):
    def get(self, id: str | None = None) -> list[ConnectorConfig]:
        return []


@pytest.fixture
def source() -> Iterator[Source]:
    found = Source()
    found.begin()
    yield found
    forget_secrets()


@pytest.fixture
def load(source: Source) -> Load:
    def load(**fields: Any) -> ConnectorConfig | None:
        document = {"name": "a", "identity": "one", "connector": "local_heartbeat", **fields}
        found = source.read(json.dumps(document).encode(), "a")
        return found[0] if found else None

    return load


def test_it_is_off_unless_asked_for(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT", "acme")
    config = load(identity="${TENANT}")
    assert config is not None
    assert config.identity == "${TENANT}"


@pytest.mark.parametrize(
    ("setting", "own", "expected"),
    [
        ("1", None, "acme"),
        ("true", None, "acme"),
        ("1", False, "${TENANT}"),
        ("no", True, "acme"),
        ("", True, "acme"),
        ("0", None, "${TENANT}"),
    ],
)
def test_a_document_says_more_than_the_setting(
    load: Load, monkeypatch: pytest.MonkeyPatch, setting: str, own: bool | None, expected: str
) -> None:
    monkeypatch.setenv("TENANT", "acme")
    monkeypatch.setenv("GROVE_CONFIG_INTERPOLATE", setting)
    config = load(identity="${TENANT}", **({} if own is None else {"interpolate": own}))
    assert config is not None
    assert config.identity == expected


def test_a_setting_that_is_neither_is_an_error(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_CONFIG_INTERPOLATE", "maybe")
    with pytest.raises(ConfigurationException, match="GROVE_CONFIG_INTERPOLATE is 'maybe'"):
        load()


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("${TENANT}", "acme"),
        ("x-${TENANT}-${TENANT}", "x-acme-acme"),
        ("${NOT_SET:-fall back}", "fall back"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${TENANT:-fallback}", "acme"),
        ("$${TENANT}", "${TENANT}"),
        ("$$${TENANT}", "$${TENANT}"),
        ("$TENANT {TENANT} $", "$TENANT {TENANT} $"),
    ],
)
def test_references(load: Load, monkeypatch: pytest.MonkeyPatch, text: str, made: str) -> None:
    monkeypatch.setenv("TENANT", "acme")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOT_SET", raising=False)
    config = load(interpolate=True, identity=text, outputs={"${TENANT}": "raw"})
    assert config is not None
    assert config.identity == made
    assert list(config.outputs) == ["${TENANT}"]


def test_what_comes_in_is_no_reference_itself(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT", "${HOME}")
    config = load(interpolate=True, identity="${TENANT}")
    assert config is not None
    assert config.identity == "${HOME}"


def test_a_number_may_come_from_a_variable(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERY", "60")
    config = load(interpolate=True, frequency="${EVERY}")
    assert config is not None
    assert config.frequency == 60


def test_every_reference_that_leads_nowhere_is_a_problem(
    load: Load, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    assert load(interpolate=True, identity="${EMPTY}", operation="${a.b}", processors=[{"name": "${NOPE}"}]) is None
    found = [(problem.path, problem.message) for problem in source.problems if problem.code == "missing-variable"]
    assert found == [
        ("identity", "The variable EMPTY is empty."),
        ("operation", "This is no reference to a variable."),
        ("processors.0.name", "The variable NOPE is not set."),
    ]
    assert all(problem.line == 1 and problem.column > 1 for problem in source.problems)


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "${TOKEN}"},
        {"client_secret": "${TOKEN}"},
        {"headers": {"X-Api": ["Token ${TOKEN}"]}},
        {"auth": {"value": "${NOT_SET:-" + CANARY + "}"}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_comes_into_a_credential_is_kept_out_of_logs(
    load: Load, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    assert load(interpolate=True, **fields) is not None
    assert redact(f"it is {CANARY}") == "it is [redacted]"


def test_a_credential_may_be_made_of_parts_too_short_to_be_one(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "can")
    monkeypatch.setenv("B", "ary")
    assert load(interpolate=True, headers={"X-Api": "${A}${B}-5a1e"}) is not None
    assert redact(f"it is {CANARY}") == "it is [redacted]"


def test_what_comes_into_another_field_may_be_logged(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT", "acme-corp")
    load(interpolate=True, identity="${TENANT}")
    assert redact("acme-corp") == "acme-corp"
