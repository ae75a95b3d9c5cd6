"""Pages as NDJSON, POSTed to a receiver of logs: accepted once, or sent again byte by byte."""

import contextlib
import re
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from time import sleep
from typing import ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import requests
import urllib3
from blake3 import blake3
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from grove.__about__ import __version__
from grove.exceptions import AccessException, ConfigurationException
from grove.helpers import clock
from grove.helpers.codecs import GZIP
from grove.http.origin import origin, shown
from grove.http.waits import RateLimit, backoff, jittered, stated_wait
from grove.logging import register_secret
from grove.outputs import BaseOutput

__all__ = ["Handler"]

ENV_PREFIX = "GROVE_OUTPUT_REMOTE_HTTP_"

LONGEST_WAIT = 180.0
"""Seconds for which one page waits between its attempts, altogether; after that the run ends."""

CONTENT_TYPE = "application/x-ndjson"

# 409 says that the same key is being worked on: the attempt whose answer was lost.
# https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
_LATER = frozenset({408, 409, 425, 429})
_CREDENTIAL = re.compile("auth|cookie|credential|key|password|secret|signature|token", re.IGNORECASE)
_CONNECTIONS = 64
_MOST_DRAINED = 1 << 16


class Handler(BaseOutput):
    """Sends each page as one request. What the receiver refuses for good ends the run; anything else is repeated."""

    KIND: ClassVar[str] = "json"

    class Configuration(BaseOutput.Configuration):
        """GROVE_OUTPUT_REMOTE_HTTP_URL and the rest; `retries` counts all attempts, `timeout` is in seconds."""

        model_config = SettingsConfigDict(env_prefix=ENV_PREFIX)

        url: str = Field(repr=False, description="Where pages are POSTed to, as NDJSON.")
        headers: SecretStr = Field(default=SecretStr(""), description="Headers to add: `Name: value|Name2: value2`.")
        retries: int = Field(default=5, ge=1, le=100, description="Attempts at a page, in all.")
        timeout: float = Field(
            default=10.0, gt=0, le=3600, description="Seconds to connect, and between two bytes of an answer."
        )
        insecure: bool = Field(default=False, description="Whether the receiver's certificate is left unchecked.")
        gzip: bool = Field(default=False, description="Whether what is sent is compressed.")

    def __init__(self) -> None:
        super().__init__()
        self._headers: dict[str, str] = {}
        self._session: requests.Session
        self._url, self._credentials = _split_url(self.config.url)

    def setup(self) -> None:
        """ConfigurationException where the address or a header cannot be used. Nothing is sent yet."""
        try:
            origin(self._url)
        except ValueError as err:
            raise ConfigurationException(
                f"{ENV_PREFIX}URL cannot be used: {err}. Give it an address like https://logs.example.com/ingest."
            ) from None
        self._headers = dict(_parse_headers(self.config.headers.get_secret_value()))
        if "Content-Type" not in CaseInsensitiveDict(self._headers):
            self._headers["Content-Type"] = CONTENT_TYPE
        if self.config.insecure:
            self.logger.warning(
                "The receiver's certificate is not checked: anyone in between can read and alter what is sent.",
                extra={"event": "insecure", "address": shown(self._url)},
            )
            urllib3.disable_warnings(InsecureRequestWarning)
        self._session = _session(self._headers, self._credentials)

    def pack(self, ndjson: bytes) -> bytes:
        """The lines as they are, or one gzip member of them where GROVE_OUTPUT_REMOTE_HTTP_GZIP is set."""
        return GZIP.pack(ndjson) if self.config.gzip else ndjson

    def submit(
        self,
        data: bytes,
        connector: str,
        identity: str,
        operation: str,
        part: int = 0,
        kind: str = "json",
        descriptor: str = "",
        name: str | None = None,
    ) -> None:
        """POST `data`; returns once it was answered with 2xx.

        AccessException where the receiver refuses it, or was not to be had in as many attempts as are configured;
        it may have the page all the same.
        """
        # The same for every attempt at these bytes. A page that is fetched again has other bytes, and so another key:
        # it may hold entries that this one does not.
        place = "\0".join((descriptor, connector, identity, operation, str(part), ""))
        digest = blake3(place.encode("utf-8", "surrogatepass")).update(data).hexdigest(16)
        headers = {"Idempotency-Key": f'"{digest}"'}
        if self.config.gzip:
            headers["Content-Encoding"] = "gzip"
        waited = 0.0
        for attempt in range(1, self.config.retries + 1):
            failure, wait = self._attempt(data, headers)
            if failure is None:
                return
            if wait is not None:
                failure = f"{failure}, and was asked to wait for {wait:.0f} seconds"
            wait = backoff(attempt) if wait is None else jittered(wait)
            if attempt == self.config.retries or waited + wait > LONGEST_WAIT:
                break
            self.logger.info(
                "A page is sent again.",
                extra={
                    "event": "page_sent_again",
                    "address": shown(self._url),
                    "reason": failure,
                    "attempt": attempt,
                    "wait": round(wait, 3),
                },
            )
            sleep(wait)
            waited += wait
        raise AccessException(
            f"{shown(self._url)} did not accept a page in {attempt} attempts; the last one {failure}. "
            "See whether it is in order; the next run sends the page again."
        )

    def _attempt(self, data: bytes, headers: dict[str, str]) -> tuple[str | None, float | None]:
        """None once the page is accepted, else what went wrong, and the seconds that the receiver asked to wait."""
        try:
            answer = self._session.post(
                self._url,
                data=data,
                headers=headers,
                timeout=self.config.timeout,
                allow_redirects=False,
                stream=True,
                # Where this is None, REQUESTS_CA_BUNDLE counts.
                verify=False if self.config.insecure else None,
            )
        except (requests.RequestException, HTTPError, OSError) as err:
            return f"failed ({_reason(err)})", None
        with answer:
            status = answer.status_code
            if 200 <= status < 300:
                self._drain(answer)
                return None, None
            wait = stated_wait(answer.headers, RateLimit(), clock.now())
        if status in _LATER or status >= 500:
            return f"was answered with status {status}", wait
        raise AccessException(f"{shown(self._url)} refuses a page with status {status}. {_advice(status)}")

    def _drain(self, answer: requests.Response) -> None:
        """Read what is left of an answer, so that its connection can be used again; not for long."""
        ends = clock.monotonic() + self.config.timeout
        left = _MOST_DRAINED
        with contextlib.suppress(HTTPError, OSError):
            while left > 0 and clock.monotonic() < ends:
                piece = answer.raw.read1(left)
                if not piece:
                    return
                left -= len(piece)


def _session(headers: dict[str, str], credentials: tuple[str, str] | None) -> requests.Session:
    """Connections that all threads share. No cookies, and no password from `.netrc`."""
    session = requests.Session()
    session.headers.update({"User-Agent": f"grove/{__version__}", **headers})
    session.auth = credentials or _as_it_is
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=_CONNECTIONS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _split_url(url: str) -> tuple[str, tuple[str, str] | None]:
    """The address without user name and password, and those."""
    try:
        parts = urlsplit(url)
        user, password = parts.username, parts.password
    except ValueError:
        return url, None
    for name, value in parse_qsl(parts.query):
        if _CREDENTIAL.search(name):
            register_secret(value)
    if user is None:
        return url, None
    found = unquote(user), unquote(password or "")
    register_secret(found[1])
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), found


def _parse_headers(text: str) -> Iterator[tuple[str, str]]:
    """Name and value of each header in "Name: value|Name2: value2". ConfigurationException, without the value."""
    for number, item in enumerate(text.split("|"), 1):
        if not item.strip():
            continue
        name, colon, value = (piece.strip() for piece in item.partition(":"))
        try:
            if not colon or not name:
                raise ValueError
            requests.utils.check_header_validity((name, value))
            value.encode("latin-1")
        except (ValueError, requests.exceptions.InvalidHeader):
            raise ConfigurationException(
                f"{ENV_PREFIX}HEADERS: header number {number} cannot be used. Write each as `Name: value`, with `|` "
                "between two."
            ) from None
        if _CREDENTIAL.search(name):
            register_secret(value)
            register_secret(value.rpartition(" ")[2])
        yield name, value


def _reason(err: BaseException) -> str:
    """What went wrong on the network, in words that contain nothing of the request."""
    chain = [err]
    for one in chain:
        if isinstance(one, OSError) and one.strerror and not isinstance(one, requests.RequestException):
            return one.strerror.lower()
        causes = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        chain.extend(cause for cause in causes if isinstance(cause, BaseException) and cause not in chain)
    return type(err).__name__


def _advice(status: int) -> str:
    if status in (401, 403):
        return f"Check the credentials in {ENV_PREFIX}HEADERS."
    if 300 <= status < 400:
        return f"Redirects are not followed: set {ENV_PREFIX}URL to the address that takes logs itself."
    if status == 413:
        return "Let it take larger requests, or have the connector ask for smaller pages."
    return f"Check {ENV_PREFIX}URL, and what the receiver demands of a request."
