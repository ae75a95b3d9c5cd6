"""Documents that nobody would write: nothing raises, and no credential is shown, whatever is wrong with them."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from grove.configs import BaseConfig, Problem
from grove.models import ConnectorConfig

# As tokens are: nothing in lower case alone, which the misspelt name of a field would be.
CANARY = "Xk7Q9ZtRLm2WvB5"

FIELDS = st.sampled_from(
    [
        *ConnectorConfig.model_fields,
        "domain",
        "url",
        "auth",
        "paging",
        "client_secret",
        "$schema",
        "schema",
        "copy",
        "x",
    ]
)
CONNECTORS = st.sampled_from(["okta_users", "http_json", "local_heartbeat", "zoom_activities", "twilio_messages", "no"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("${X:-y}")
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.fixed_dictionaries(
    {"connector": CONNECTORS | VALUES}, optional={"name": VALUES, "identity": VALUES}
).flatmap(lambda document: st.dictionaries(FIELDS, VALUES, max_size=6).map(lambda more: {**more, **document}))


class Source(BaseConfig):
    def get(self, id: str | None = None) -> list[ConnectorConfig]:
        return []


def problems(text: str, source: str = "a.yaml") -> list[Problem]:
    handler = Source()
    handler.begin()
    handler.logger.disabled = True
    handler.read(text.encode("utf-8", "surrogatepass"), source)
    return [*handler.problems, *handler.warnings]


@settings(max_examples=300)
@given(DOCUMENTS | VALUES)
def test_whatever_a_document_holds_it_is_used_or_said_to_be_wrong(value: Any) -> None:
    text = json.dumps(value)
    for name in ("a.json", "a.yaml"):
        for problem in problems(text, name):
            assert problem.message
            assert problem.line >= 0
            assert 0 <= problem.caret <= len(problem.quote)
            assert "\n" not in problem.quote


SECRETIVE: dict[str, Any] = {
    "name": "a",
    "connector": "http_json",
    "identity": "acme",
    "key": CANARY,
    "client_secret": f"a {CANARY} # b: {CANARY}",
    "url": f"https://x:{CANARY}@example.com/?token={CANARY}",
    "auth": {"type": "header", "value": f"Bearer {CANARY}", "nmae": CANARY},
    "headers": {"X-Key": CANARY},
    "params": {"list": [CANARY, {"deep": f"{CANARY}\nand {CANARY}"}]},
    "secrets": {"token": CANARY, "kee": CANARY},
    "kye": CANARY,
    "frequency": "often",
    "pointer_path": "a[",
    "order": "newest",
}

TEXTS = {
    "one line": (json.dumps(SECRETIVE), "a.json"),
    "json": (json.dumps(SECRETIVE, indent=2), "a.json"),
    "yaml": (yaml.safe_dump(SECRETIVE, sort_keys=False), "a.yaml"),
    "blocks": (yaml.safe_dump(SECRETIVE, sort_keys=False, default_style="|"), "a.yaml"),
    "folded": (yaml.safe_dump(SECRETIVE, sort_keys=False, width=20), "a.yaml"),
    "flow": (yaml.safe_dump(SECRETIVE, default_flow_style=True), "a.yaml"),
}


def shows(text: str, name: str) -> list[str]:
    found = problems(text, name)
    return [problem.quote + str(problem) + repr(problem) for problem in found]


@pytest.mark.parametrize(("text", "name"), TEXTS.values(), ids=TEXTS)
def test_no_problem_shows_a_credential(text: str, name: str) -> None:
    found = shows(text, name)
    assert len(found) >= 5
    assert [each for each in found if CANARY in each] == []


@pytest.mark.parametrize(("text", "name"), TEXTS.values(), ids=TEXTS)
@settings(max_examples=150)
@given(data=st.data())
def test_no_problem_of_a_damaged_document_shows_a_credential(text: str, name: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 3)))
    put = data.draw(
        st.sampled_from(["", "{", "}", "]", '"', "'", ":", ": ", ",", "\n", "\t", "- ", "#", "&", "*", "\\"])
    )
    damaged = text[:start] + put + text[end:]
    # A credential that is cut in two by the damage is found by its halves.
    halves = {CANARY, CANARY[:7], CANARY[8:]}
    assert [each for each in shows(damaged, name) if any(half in each for half in halves)] == []
