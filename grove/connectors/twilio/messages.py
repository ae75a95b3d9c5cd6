"""Twilio's messages, without what they say.

https://www.twilio.com/docs/messaging/api/message-resource and
https://www.twilio.com/docs/lookup/v2-api/line-type-intelligence
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any

from pydantic import Field

from grove.connectors.rest import DAY, Link, Source
from grove.connectors.rest.templates import fill_url
from grove.connectors.twilio import _api
from grove.http import Client

_KEPT = ("account_sid", "date_sent", "status", "sid", "to", "from")
_NUMBER = re.compile(r"\+[0-9]{5,15}$")
_UNKNOWN: dict[str, Any] = {"country_code": None, "carrier": None}


class _Recent:
    """What was looked up last, for all streams of the process, as each look-up costs money."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._found: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def get(self, number: str, look_up: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """What is known of a number, from `look_up` where nothing is."""
        with self._lock:
            found = self._found.get(number)
        found = found or look_up(number)
        with self._lock:
            self._found[number] = found
            self._found.move_to_end(number)
            if len(self._found) > self._most:
                self._found.popitem(last=False)
        return found

    def clear(self) -> None:
        """Know nothing."""
        with self._lock:
            self._found.clear()


recent = _Recent(512)


class Connector(_api.TwilioConnector):
    """Messages of a Twilio account: when, how, from and to whom, with which carrier, but not what they say.

    Of the other party's number there are four characters. Newest first, up to 1,000 a page; a message that waits
    to be sent comes with the run after that.
    """

    CONNECTOR = "twilio_messages"
    POINTER_PATH = "date_sent"
    LOOKUPS = "https://lookups.twilio.com/v2/PhoneNumbers/{number}"

    class Configuration(_api.TwilioConnector.Configuration):
        """The fields of a configuration document."""

        lookup: bool = Field(
            True, description="Whether to ask for the country and the carrier of each number, which costs money."
        )

    SOURCE = Source(
        url="https://api.twilio.com/2010-04-01/Accounts/{identity}/Messages.json",
        params={"DateSent>": "{since}", "PageSize": 1000},
        auth=_api.AUTH,
        paging=Link(path="next_page_uri"),
        entries="messages",
        # Others wait to be sent.
        keep="date_sent",
        time_format="iso",
        pointer_format="%a, %d %b %Y %H:%M:%S +0000",
        first_run=DAY,
        trim=True,
    )

    def save(self, entries: list[Any], cursor: str | None = None) -> None:
        """Save what may be known of messages."""
        super().save([self._told(entry) for entry in entries], cursor)

    def _told(self, message: dict[str, Any]) -> dict[str, Any]:
        other = "from" if message.get("status") == "received" else "to"
        number = str(message.get(other) or "")
        known = recent.get(number, self._look_up) if self.fields.lookup and _NUMBER.search(number) else _UNKNOWN
        return {**{name: message.get(name) for name in _KEPT}, other: f"{number[:4]}...", **known}

    @cached_property
    def _lookups(self) -> Client:
        # Another host than that of the messages, for the same credentials.
        return self._client(self.source())

    def _look_up(self, number: str) -> dict[str, Any]:
        url = fill_url(self.LOOKUPS, {"number": _NUMBER.findall(number)[0]})
        answer = self._lookups.get(url, params={"Fields": "line_type_intelligence"}, accept=(404,))
        found = answer.json() if answer.status != 404 else {}
        line = found.get("line_type_intelligence")
        carrier = line and {
            "mobile_country_code": line.get("mobile_country_code"),
            "mobile_network_code": line.get("mobile_network_code"),
            "name": line.get("carrier_name"),
            "type": line.get("type"),
            "error_code": line.get("error_code"),
        }
        return {"country_code": found.get("country_code"), "carrier": carrier}
