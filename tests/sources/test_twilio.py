"""Twilio: two kinds of credentials, one type of event, and what may be known of a message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from grove.connectors.twilio import messages
from grove.testing.practice import read_delivered

from .conftest import Stream
from .vendor import Answered, Vendor
from .vendors.twilio import MessagesVendor

of_events = pytest.mark.parametrize("vendor", ["twilio_monitor_events"], indirect=True)
of_both = pytest.mark.parametrize("vendor", ["twilio_messages", "twilio_monitor_events"], indirect=True)
of_messages = pytest.mark.parametrize("vendor", ["twilio_messages"], indirect=True)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    messages.recent.clear()
    yield
    messages.recent.clear()


@of_both
def test_an_api_key_instead_of_the_auth_token(stream: Stream, vendor: Vendor) -> None:
    assert stream.run(key="SK1", secret="s3cret-of-the-key").outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))
    assert stream.run(key="SK1", secret="another").outcome == "failed"


@of_both
def test_without_credentials_the_fields_are_named(stream: Stream) -> None:
    assert "key, secret; or identity, key" in str(stream.run(key="").failure)


@of_events
def test_one_type_of_event(stream: Stream, vendor: Vendor) -> None:
    assert stream.run(operation="user.login").outcome == "succeeded"
    assert stream.delivered() == [number for number in range(vendor.first) if number % 2]


@of_messages
def test_neither_text_nor_price_nor_number_is_delivered(stream: Stream, vendor: MessagesVendor) -> None:
    stream.run()
    received, sent = sorted(read_delivered(stream.path), key=lambda entry: int(entry["sid"][2:]))[:2]
    for entry in (received, sent):
        del entry["_grove"], entry["date_sent"]
    common = {"account_sid": "AC1", "country_code": None, "carrier": None}
    assert received == {**common, "sid": "SM0", "status": "received", "from": "+642...", "to": "+15005550006"}
    assert sent == {**common, "sid": "SM1", "status": "delivered", "from": "+15005550006", "to": "+642..."}
    assert all(b"123456" not in path.read_bytes() for path in stream.path.rglob("*") if path.is_file())


@of_messages
def test_each_number_is_looked_up_once(stream: Stream, vendor: MessagesVendor) -> None:
    assert stream.run(lookup=True).outcome == "succeeded"
    vendor.offer(60)
    assert stream.run(lookup=True).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first + 60))
    looked_up = Counter(asked.path for asked in vendor.asked if "PhoneNumbers" in asked.path)
    assert len(looked_up) == 40
    assert set(looked_up.values()) == {1}
    carrier = {"mobile_country_code": "530", "mobile_network_code": "01", "name": "One NZ", "type": "mobile"}
    for entry in read_delivered(stream.path):
        number = int(entry["sid"][2:]) % 40
        known = number % 10 != 7
        assert entry["country_code"] == ("NZ" if known else None)
        assert entry["carrier"] == ({**carrier, "error_code": None} if known else None)


@of_messages
def test_names_and_short_codes_are_not_looked_up(stream: Stream, vendor: MessagesVendor) -> None:
    page = {"sid": "SM1", "status": "received", "date_sent": "Tue, 24 Nov 2026 11:00:00 +0000", "to": "+15005550006"}
    senders = ["Example", "12345", "", None]
    found = [{**page, "sid": f"SM{number}", "from": sender} for number, sender in enumerate(senders)]
    vendor.intercept = lambda asked: Answered({"messages": found, "next_page_uri": None})
    assert stream.run(lookup=True).outcome == "succeeded"
    assert len(vendor.asked) == 1
    assert sorted(entry["from"] for entry in read_delivered(stream.path)) == ["...", "...", "1234...", "Exam..."]


@of_messages
def test_a_look_up_that_fails_is_not_taken_for_an_answer(stream: Stream, vendor: MessagesVendor) -> None:
    vendor.intercept = lambda asked: Answered({"code": 20003}, 403) if "PhoneNumbers" in asked.path else None
    connector = stream.run(lookup=True)
    assert "403" in str(connector.failure)
    assert stream.delivered() == []
    vendor.intercept = lambda asked: None
    assert stream.run(lookup=True).outcome == "succeeded"
    assert stream.delivered() == list(range(vendor.first))


@of_messages
def test_messages_that_wait_come_once_they_are_sent(stream: Stream, vendor: MessagesVendor) -> None:
    stream.run()
    vendor.queued = 0
    vendor.offer(3)
    stream.run()
    assert stream.delivered() == list(range(vendor.first + 3))


def test_what_is_remembered_has_an_end() -> None:
    recent = messages._Recent(2)
    asked: list[str] = []

    def look_up(number: str) -> dict[str, object]:
        asked.append(number)
        return {"carrier": number}

    for number in ("a", "b", "a", "c", "a", "b"):
        assert recent.get(number, look_up) == {"carrier": number}
    assert asked == ["a", "b", "c", "b"]
