"""Twilio: two kinds of credentials, and one type of event."""

from __future__ import annotations

import pytest

from .conftest import Stream
from .vendor import Vendor

pytestmark = pytest.mark.parametrize("vendor", ["twilio_monitor_events"], indirect=True)


def test_an_api_key_instead_of_the_auth_token(stream: Stream, vendor: Vendor) -> None:
    assert stream.run(key="SK1", secret="s3cret-of-the-key").outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert stream.run(key="SK1", secret="another").outcome == "failed"


def test_without_credentials_the_fields_are_named(stream: Stream) -> None:
    assert "key, secret; or identity, key" in str(stream.run(key="").failure)


def test_one_type_of_event(stream: Stream, vendor: Vendor) -> None:
    assert stream.run(operation="user.login").outcome == "succeeded"
    assert stream.delivered() == [number for number in range(vendor.first) if number % 2]
