"""Connectors for the practice API: the plain loop of a vendor's connector, without retries.

A request that fails ends the run, so that a scenario knows which request each scripted fault meets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import requests

from grove.connectors import BaseConnector
from grove.constants import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL
from grove.exceptions import ConfigurationException, NotFoundException, RateLimitException, RequestFailedException

__all__ = ["NewestFirstConnector", "PracticeConnector"]


class _Page(Protocol):
    @property
    def entries(self) -> list[dict[str, Any]]: ...
    @property
    def next(self) -> dict[str, str] | None: ...


class _Source(Protocol):
    def page(self, query: Mapping[str, str]) -> _Page: ...


class PracticeConnector(BaseConnector):
    """Collects from a practice API that serves the oldest entry first.

    Fields of the document: `url`, or nothing where `api` is set to ask the API without HTTP; `pointer_path` (default
    `at`); `page_size` (default: the API's); `timeout` in seconds, for connecting and for each read (default 30).
    """

    CONNECTOR = "practice"
    POINTER_PATH = "at"
    LOG_ORDER = CHRONOLOGICAL

    api: _Source | None = None

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.POINTER_PATH = getattr(config, "pointer_path", type(self).POINTER_PATH)

    def collect(self) -> None:
        """Save every page since the pointer. RequestFailedException or RateLimitException where a request fails."""
        query: dict[str, str] = {}
        try:
            query["since"] = self.since
        except NotFoundException:
            self.logger.debug("There is no pointer yet; everything is asked for.")
        if hasattr(self.configuration, "page_size"):
            query["limit"] = str(self.configuration.page_size)
        for entries in self._in_process(query) if self.api is not None else self._by_http(query):
            self.save(entries)
        self.complete()

    def _in_process(self, query: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
        assert self.api is not None
        following: Mapping[str, str] | None = query
        while following is not None:
            page = self.api.page(following)
            yield page.entries
            following = page.next

    def _by_http(self, query: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
        address: str | None = getattr(self.configuration, "url", None)
        if address is None:
            raise ConfigurationException(f"Document {self.name} has no `url`; give it the practice API's.")
        with requests.Session() as session:
            # No proxy stands between this process and loopback, whatever the environment says.
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {self.key}"
            asked = set()
            while address is not None:
                place = (address, *sorted(query.items()))
                if place in asked:
                    raise RequestFailedException("The practice API leads back to a page that it gave before.")
                asked.add(place)
                body = self._ask(session, address, query)
                yield body["entries"]
                address, query = self._following(address, query, body)

    def _ask(self, session: requests.Session, address: str, query: Mapping[str, str]) -> dict[str, Any]:
        try:
            answer = session.get(
                address,
                params=dict(query),
                timeout=float(getattr(self.configuration, "timeout", 30)),
                allow_redirects=False,
            )
        except requests.RequestException as err:
            raise RequestFailedException(f"The practice API did not answer: {type(err).__name__}.") from err
        if answer.status_code == 429:
            raise RateLimitException("The practice API asked to come back later.")
        if answer.status_code != 200:
            raise RequestFailedException(f"The practice API answered with status {answer.status_code}.")
        try:
            body = answer.json()
        except ValueError as err:
            raise RequestFailedException("The practice API's answer is not JSON.") from err
        if not isinstance(body, dict) or not isinstance(body.get("entries"), list):
            raise RequestFailedException("The practice API's answer has no list of entries.")
        return body

    def _following(
        self, address: str, query: dict[str, str], body: Mapping[str, Any]
    ) -> tuple[str | None, dict[str, str]]:
        """Where the next page is, in whichever of four ways the API says it; no address after the last."""
        if body.get("next"):
            following = urljoin(address, body["next"])
            if urlsplit(following)[:2] != urlsplit(address)[:2]:
                raise RequestFailedException("The next page would be on another host, which must not see the token.")
            return following, {}
        if body.get("next_cursor"):
            return address, {**query, "cursor": body["next_cursor"]}
        if body.get("next_offset") is not None:
            return address, {**query, "offset": str(body["next_offset"])}
        if body.get("has_more"):
            if not body["entries"]:
                raise RequestFailedException("The page is empty, and yet there is more after it.")
            return address, {**query, "after": str(body["entries"][-1]["id"])}
        return None, {}


class NewestFirstConnector(PracticeConnector):
    """The same, from an API that serves the newest entry first."""

    LOG_ORDER = REVERSE_CHRONOLOGICAL
