"""LaunchDarkly: details of each entry."""

from __future__ import annotations

import pytest

from grove.exceptions import ConfigurationException
from grove.testing.practice import read_delivered

from .conftest import Stream
from .vendor import Vendor

pytestmark = pytest.mark.parametrize("vendor", ["launchdarkly_audit_records"], indirect=True)


def test_verbose_entries_have_their_versions(stream: Stream, vendor: Vendor) -> None:
    assert stream.run(verbose=True).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert all(entry["currentVersion"] == {"on": True} for entry in read_delivered(stream.path))


def test_without_it_none_is_asked_for(stream: Stream, vendor: Vendor) -> None:
    stream.run()
    assert {asked.path for asked in vendor.asked} == {"/api/v2/auditlog"}


@pytest.mark.parametrize("value", ["true", 1])
def test_verbose_is_true_or_false(stream: Stream, value: object) -> None:
    with pytest.raises(ConfigurationException, match="verbose"):
        _ = stream.connector(verbose=value).fields
