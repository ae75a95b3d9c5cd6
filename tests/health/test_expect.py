"""What a document may say of what its stream is expected to bring."""

import pytest
from pydantic import ValidationError

from grove.helpers.parsing import validation_error
from grove.models import ConnectorConfig, Expectation

DOCUMENT = {"name": "a", "identity": "b", "connector": "c"}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(90, 90.0), ("90", 90.0), ("90s", 90.0), ("1.5 m", 90.0), ("2h", 7200.0), (" 1d ", 86400.0), (0.5, 0.5)],
)
def test_durations(written, seconds):
    config = ConnectorConfig(**DOCUMENT, expect={"newest_within": written})
    assert config.expect == Expectation(newest_within=seconds)
    assert ConnectorConfig.model_validate_json(config.model_dump_json()) == config


def test_nothing_is_expected_if_nothing_is_said():
    assert ConnectorConfig(**DOCUMENT).expect == Expectation(newest_within=None, entries_per_day=None)


@pytest.mark.parametrize(
    ("expect", "field"),
    [
        ({"newest_within": "2 weeks"}, "expect.newest_within: Value error, it has to be seconds, or a duration"),
        ({"newest_within": 0}, "expect.newest_within: Input should be greater than 0"),
        ({"newest_within": "0h"}, "expect.newest_within: Input should be greater than 0"),
        ({"newest_within": float("inf")}, "expect.newest_within: "),
        ({"newest_within": [1]}, "expect.newest_within: "),
        ({"newest_within": "inf"}, "expect.newest_within: "),
        ({"entries_per_day": 0}, "expect.entries_per_day: "),
        ({"entries_per_day": 1.5}, "expect.entries_per_day: "),
        ({"newest": 1}, "expect.newest: Extra inputs are not permitted"),
        ("2h", "expect: "),
    ],
)
def test_what_is_wrong_is_named(expect, field):
    with pytest.raises(ValidationError) as caught:
        ConnectorConfig(**DOCUMENT, expect=expect)
    assert field in validation_error(caught.value)


def test_the_schema_takes_numbers_and_texts():
    kinds = Expectation.model_json_schema()["properties"]["newest_within"]["anyOf"]
    assert [kind["type"] for kind in kinds] == ["number", "string", "null"]
