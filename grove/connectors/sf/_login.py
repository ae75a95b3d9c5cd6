"""How Salesforce is signed in to: as an app, or as a user as it used to be."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from grove.exceptions import RequestFailedException
from grove.http import Auth, Client, OAuth2, Response
from grove.http.origin import check_base, escaped, shown
from grove.logging import redact, register_secret

__all__ = ["AppLogin", "UserLogin"]

# The last version that has `login()`: https://help.salesforce.com/s/articleView?id=005132110
_SOAP_VERSION = "64.0"
_ENVELOPE = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><login xmlns="urn:partner.soap.sforce.com">'
    "<username>{user}</username><password>{password}</password></login></Body></Envelope>"
)


class AppLogin(OAuth2):
    """The client credentials flow: https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm

    `url` is where the token is asked for; `instance_url` is where the API is, should the token's answer not say it.
    """

    def __init__(self, url: str, client_id: str, client_secret: str, instance_url: str) -> None:
        super().__init__(
            f"{url}/services/oauth2/token",
            client_id=client_id,
            client_secret=client_secret,
            base_url_field="instance_url",
        )
        self._instance_url = instance_url

    def base_url(self, stop: threading.Event | None = None) -> str | None:
        """Where the org's API is. RequestFailedException where nobody says it."""
        if self._instance_url and "instance_url" not in self._token(stop).answer:
            return self._instance_url
        return super().base_url(stop)


class _Session(NamedTuple):
    id: str
    server: str


class UserLogin(Auth):
    """A session of a user, by the SOAP API's `login()`, which Salesforce ends in Summer '27.

    https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_login.htm
    """

    def __init__(self, url: str, user: str, password: str, security_token: str) -> None:
        for secret in (password, security_token):
            register_secret(secret)
        self._url = check_base(f"{url}/services/Soap/u/{_SOAP_VERSION}")
        self._body = _ENVELOPE.format(user=escape(user), password=escape(password + security_token))
        self._lock = threading.Lock()
        self._found: _Session | None = None

    def apply(self, headers: dict[str, str], stop: threading.Event | None = None) -> None:
        """Add the session, which the first request begins."""
        headers["Authorization"] = f"Bearer {self._session(stop).id}"

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Forget a session that has ended, unless another thread has begun the next one already. Always True."""
        with self._lock:
            if self._found is not None and refused.get("Authorization") == f"Bearer {self._found.id}":
                self._found = None
        return True

    def base_url(self, stop: threading.Event | None = None) -> str | None:
        """The user's server."""
        return self._session(stop).server

    def _session(self, stop: threading.Event | None) -> _Session:
        with self._lock:
            if self._found is None:
                self._found = self._begin(stop)
            return self._found

    def _begin(self, stop: threading.Event | None) -> _Session:
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": "login", "Accept": "text/xml"}
        # A refusal is a 500, and not to be tried again: a few wrong passwords lock the user out.
        answer = Client(None, headers=headers, stop=stop).post(self._url, data=self._body.encode(), accept=(500,))
        values = _values(answer)
        session, server = values.get("sessionId", ""), urlsplit(values.get("serverUrl", ""))
        if not session or not server.hostname:
            code = values.get("exceptionCode", "")
            told = " ".join(filter(None, (code, values.get("exceptionMessage"))))
            raise RequestFailedException(
                f"{shown(self._url)} answered status {answer.status} without a session"
                f"{f', saying: {escaped(redact(told))[:200]}' if told else ''}. Check `identity`, `key` and `token`, "
                "or sign in as an app, with `client_id` and `client_secret`.",
                # What others say by the status.
                status=401 if code == "INVALID_LOGIN" else answer.status,
            )
        register_secret(session)
        if self._url.startswith("https:") and server.scheme != "https":
            raise RequestFailedException(f"The server that {shown(self._url)} names is no https address.")
        return _Session(session, f"{server.scheme}://{server.netloc}")


def _values(answer: Response) -> dict[str, str]:
    """The texts of a SOAP answer by the names of their elements; none where it is no XML."""
    try:
        root = ElementTree.fromstring(answer.body)
    except ElementTree.ParseError:
        return {}
    return {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}
