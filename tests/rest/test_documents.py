"""Documents of `http_json`: the examples of its module collect, and every mistake is named."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from grove.cli.connectors import describe
from grove.connectors import http_json
from grove.connectors.rest import Source
from grove.testing.practice import TOKEN, PracticeAPI

from .conftest import DAY, Streams, document

EXAMPLES = [json.loads(text) for text in re.findall(r"(?ms)^    \{.*?^    \}", http_json.__doc__ or "")]
APIS: list[dict[str, Any]] = [
    {"order": "oldest_first", "paging": "cursor"},
    {"order": "newest_first", "paging": "next_link", "granularity": "day"},
    {"order": "oldest_first", "paging": "offset", "page_size": 50},
]


@pytest.mark.parametrize("number", range(3))
def test_the_examples_collect(streams: Streams, number: int) -> None:
    example = {**EXAMPLES[number], "key": TOKEN, "first_run": 10 * 365 * DAY, "outputs": {"logs": "raw"}}
    with PracticeAPI(230, **APIS[number]) as api:
        example["url"] = api.url
        assert streams.run(example).outcome == "succeeded"
        api.offer(20, tied=True)
        api.offer(60)
        assert streams.run(example).outcome == "succeeded"
    delivered = [entry["id"] for entry in streams.delivered()]
    assert sorted(delivered) == [f"e-{number:07d}" for number in range(310)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pointer_path": ""}, "pointer_path"),
        ({"pointer_path": "a..b"}, "pointer_path: Value error, 'a..b' is not a JMESPath expression"),
        ({"order": "oldest"}, "order: Input should be 'oldest_first' or 'newest_first'"),
        ({"url": None}, "url: Input should be a valid string"),
        ({"pagign": {}}, "pagign: nothing uses it; did you mean 'paging'?"),
        ({"limit_of_pages": 3}, "limit_of_pages: nothing uses it"),
        ({"paging": {"type": "tokens"}}, "paging: Input tag 'tokens'"),
        ({"paging": {"type": "token", "path": "next"}}, "paging.token.param: Field required"),
        ({"paging": {"type": "link", "size": 3}}, "paging.link.size: Extra inputs are not permitted"),
        ({"auth": {"type": "header", "valeu": "x"}}, "auth"),
        ({"time_format": "seconds"}, "time_format: Value error, 'seconds' is no format of time"),
        ({"first_run": -1}, "first_run"),
        ({"entries": "a["}, "entries: Value error, 'a[' is not a JMESPath expression"),
        ({"key": ""}, "no credential for the header Authorization"),
    ],
)
def test_mistakes_are_named(streams: Streams, change: dict[str, Any], told: str) -> None:
    with PracticeAPI(3) as api:
        failed = streams.run({**document(api), **change})
        assert failed.outcome == "failed"
        assert told in str(failed.failure)
        assert "practice" in str(failed.failure) or "header" in str(failed.failure)
        # Nothing was asked for, and nothing begins to be remembered.
        assert api.requests == []


def test_all_mistakes_are_told_at_once(streams: Streams) -> None:
    with PracticeAPI(3) as api:
        failed = streams.run({**document(api), "delay": -1, "trim": "perhaps"})
    assert "delay: " in str(failed.failure)
    assert "trim: " in str(failed.failure)


def test_a_value_that_is_refused_is_not_repeated(streams: Streams) -> None:
    with PracticeAPI(3) as api:
        failed = streams.run({**document(api), "auth": {"type": "header", "value": ["hunter2"]}})
    assert "auth" in str(failed.failure)
    assert "hunter2" not in str(failed.failure)


def test_every_field_of_every_part_is_described() -> None:
    parts = describe("http_json")["parts"]
    titles = [part["title"] for part in parts]
    assert "`auth` of type `oauth2`" in titles
    assert "`paging` of type `seek`" in titles
    assert [
        (part["title"], field["name"]) for part in parts for field in part["fields"] if not field["description"]
    ] == []
    # Each kind that a document may name is one of them.
    for field in ("auth", "paging"):
        kinds = {kind.model_fields["type"].default for kind in Source.PARTS[field]}
        with pytest.raises(ValidationError) as caught:
            Source.model_validate({"url": "https://api.example.com", field: {"type": "none of them"}})
        assert kinds == set(
            re.findall(r"'(\w+)'", str(caught.value).partition("expected tags: ")[2].partition(" [")[0])
        )
