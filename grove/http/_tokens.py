"""Credentials that are fetched or signed, good for a while, and shared by all streams that use the same ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from grove.exceptions import ConfigurationException, RequestFailedException, StoppedError
from grove.helpers import clock
from grove.http import _signing
from grove.http._budget import SLICE
from grove.http._static import Basic
from grove.http.client import Auth, Client
from grove.http.origin import check_base, escaped, is_exposed, shown
from grove.logging import redact, register_secret

__all__ = ["OAuth2", "SignedJwt"]

Style: TypeAlias = Literal["form", "basic", "json"]

# Seconds that a token is used where its vendor does not say; one that ends sooner is renewed when it is refused.
_UNSTATED = 900.0
# A token is not used in the last tenth of its life, or in the last minute of a long one.
_SHARE = 10
_MARGIN = 60.0
# Credentials kept per process; rotated ones push the oldest out.
_MOST = 1024

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# RFC 7523 and Google allow an hour. The issuer's clock may be a little behind ours.
_JWT_LIFETIME = 3600.0
_CLOCK_SKEW = 10.0
_GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"
_HINT = "Check the client id, the client secret and whatever else the token is asked for with."


@dataclass(frozen=True, slots=True)
class _Token:
    """A token, until when it may be used (monotonic seconds), and everything its vendor said with it."""

    value: str
    ends: float
    answer: Mapping[str, Any]


@dataclass(slots=True)
class _Slot:
    """The current token of one set of credentials; whoever fetches another one holds `lock`."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: _Token | None = None
    refresh_token: str = ""
    # Whether the refresh token came with a token, and has not been kept yet.
    unkept: bool = False


_slots: OrderedDict[str, _Slot] = OrderedDict()
_slots_lock = threading.Lock()


class _TokenAuth(Auth):
    """`Authorization: Bearer <token>`, with the token kept for all who have the same credentials."""

    def __init__(self, *credentials: object) -> None:
        self._slot = _slot([type(self).__name__, *credentials])

    def apply(self, headers: dict[str, str], stop: threading.Event | None = None) -> None:
        """Add the token; one thread fetches it where there is none, and the others wait for it."""
        headers["Authorization"] = f"Bearer {self._token(stop).value}"

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Forget the refused token, unless another thread has already got a new one. Always True."""
        token = self._slot.token
        if token is not None and refused.get("Authorization") == f"Bearer {token.value}":
            with self._slot.lock:
                if self._slot.token is token:
                    self._slot.token = None
        return True

    def _token(self, stop: threading.Event | None) -> _Token:
        token = self._slot.token
        if token is not None and clock.monotonic() < token.ends:
            return token
        with _held(self._slot.lock, stop):
            token = self._slot.token
            if token is None or clock.monotonic() >= token.ends:
                token = self._slot.token = self._fetch(stop)
            return token

    @abstractmethod
    def _fetch(self, stop: threading.Event | None) -> _Token:
        """A new token; the slot's lock is held meanwhile."""


class OAuth2(_TokenAuth):
    """A token from an OAuth 2.0 token endpoint.

    `grant` is "client_credentials", "refresh_token", or a vendor's own ("account_credentials" at Zoom), with `fields`
    for what else the vendor wants. `style` says where client id and secret go: into the form, into a Basic header, or,
    with everything else, into a JSON body. Some vendors say with the token where the tenant's API is:
    `base_url_field` names the field of the answer ("instance_url" at Salesforce).

    A vendor that replaces refresh tokens has the new one handed to `on_refresh_token`, before the access token is used;
    what that raises ends the request, and the new one is handed over again with the next token. `kept_refresh_token`
    gives it back to a later process, and is asked before each token: None where the one given here is the newest.

    ConfigurationException where a credential is empty or would travel without TLS; RequestFailedException where no
    token can be had.
    """

    def __init__(
        self,
        token_url: str,
        grant: str = "client_credentials",
        *,
        client_id: str,
        client_secret: str,
        refresh_token: str = "",
        scope: str = "",
        fields: Mapping[str, str] | None = None,
        style: Style = "form",
        base_url_field: str | None = None,
        on_refresh_token: Callable[[str], None] | None = None,
        kept_refresh_token: Callable[[], str | None] | None = None,
    ) -> None:
        _check_endpoint(token_url)
        for secret in (client_secret, refresh_token):
            register_secret(secret)
        needed = {"client_id": client_id, "client_secret": client_secret}
        if grant == "refresh_token":
            needed["refresh_token"] = refresh_token
        for name, value in needed.items():
            if not value:
                raise ConfigurationException(f"There is no {name} to ask {shown(token_url)} for a token with.")
        self._url = token_url
        self._grant = grant
        self._client_id = client_id
        self._client_secret = client_secret
        self._fields = {**({"scope": scope} if scope else {}), **(fields or {})}
        self._style = style
        self._base_url_field = base_url_field
        self._on_refresh_token = on_refresh_token
        self._kept_refresh_token = kept_refresh_token
        super().__init__(
            token_url, grant, client_id, client_secret, refresh_token, style, *sorted(self._fields.items())
        )
        if not self._slot.refresh_token:
            self._slot.refresh_token = refresh_token

    def base_url(self, stop: threading.Event | None = None) -> str | None:
        """What the answer says in `base_url_field`; None without that."""
        if self._base_url_field is None:
            return None
        found = self._token(stop).answer.get(self._base_url_field)
        if not isinstance(found, str):
            raise RequestFailedException(
                f"The token of {shown(self._url)} came without {self._base_url_field!r}, the address of the API."
            )
        if self._url.startswith("https:") and not found.startswith("https:"):
            raise RequestFailedException(f"The {self._base_url_field!r} of {shown(self._url)} is no https address.")
        return found

    def _fetch(self, stop: threading.Event | None) -> _Token:
        form = {"grant_type": self._grant, **self._fields}
        if self._grant == "refresh_token":
            form["refresh_token"] = self._refresh_token()
        auth: Auth | None = None
        if self._style == "basic":
            auth = Basic(self._client_id, self._client_secret)
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        token = _asked(self._url, form, auth, self._style == "json", stop)
        replaced = token.answer.get("refresh_token")
        if self._grant == "refresh_token" and isinstance(replaced, str) and replaced:
            register_secret(replaced)
            self._slot.unkept |= replaced != self._slot.refresh_token
            self._slot.refresh_token = replaced
        if self._slot.unkept and self._on_refresh_token is not None:
            self._on_refresh_token(self._slot.refresh_token)
            self._slot.unkept = False
        return token

    def _refresh_token(self) -> str:
        """The newest there is: what another process has kept may be newer than what this one knows."""
        if self._kept_refresh_token is not None and not self._slot.unkept:
            kept = self._kept_refresh_token()
            if kept:
                register_secret(kept)
                self._slot.refresh_token = kept
        return self._slot.refresh_token


class SignedJwt(_TokenAuth):
    """A JWT signed with RS256, as the bearer token itself, or exchanged for one at `token_url` (RFC 7523).

    `claims` are completed with `iat` and `exp`. `private_key` is PEM, encrypted with `password` where that is given.
    Needs the extra `google` or `snowflake`. ConfigurationException where the key cannot be read.
    """

    def __init__(
        self,
        private_key: str,
        claims: Mapping[str, Any],
        *,
        password: str = "",
        key_id: str = "",
        token_url: str | None = None,
    ) -> None:
        for secret in (private_key, password):
            register_secret(secret)
        self._key = _signing.load_key(private_key, password)
        self._claims = dict(claims)
        self._key_id = key_id
        self._url = None if token_url is None else _check_endpoint(token_url)
        super().__init__(private_key, key_id, token_url, *sorted(self._claims.items()))

    @classmethod
    def google(cls, document: str, scopes: Sequence[str], subject: str = "") -> SignedJwt:
        """A Google service account, from its key file's text, acting as the user `subject` where that is given.

        Such a key file has `client_email`, `private_key`, `private_key_id` and `token_uri`:
        https://developers.google.com/identity/protocols/oauth2/service-account
        """
        register_secret(document)
        try:
            account = json.loads(document)
            email, private_key = account["client_email"], account["private_key"]
            key_id, url = account.get("private_key_id", ""), account.get("token_uri", _GOOGLE_TOKEN_URL)
        except (ValueError, TypeError, KeyError, AttributeError):
            account = None
        if account is None:
            # Not chained: the error of the parser carries the document.
            raise ConfigurationException(
                "The Google credentials are no service account's key file: JSON with `client_email` and `private_key`. "
                "If the document has it in base64, say so in `encoding`."
            )
        claims = {"iss": email, "scope": " ".join(scopes), "aud": url, **({"sub": subject} if subject else {})}
        return cls(private_key, claims, key_id=key_id, token_url=url)

    @classmethod
    def snowflake(cls, account: str, user: str, private_key: str, password: str = "") -> SignedJwt:
        """Snowflake's key-pair authentication; send `X-Snowflake-Authorization-Token-Type: KEYPAIR_JWT` with it.

        The issuer is `ACCOUNT.USER.SHA256:<fingerprint of the public key>`, the account in capitals and without its
        region: https://docs.snowflake.com/en/developer-guide/sql-api/authenticating#using-key-pair-authentication
        """
        # Global accounts have their external id behind a hyphen, others their region behind a dot.
        name = account.partition("-" if ".global" in account else ".")[0]
        subject = f"{name}.{user}".upper()
        register_secret(password)
        fingerprint = _signing.fingerprint(_signing.load_key(private_key, password))
        return cls(private_key, {"iss": f"{subject}.{fingerprint}", "sub": subject}, password=password)

    def _fetch(self, stop: threading.Event | None) -> _Token:
        issued = int(clock.now().timestamp() - _CLOCK_SKEW)
        claims = {**self._claims, "iat": issued, "exp": issued + int(_JWT_LIFETIME)}
        jwt = _signing.sign(self._key, claims, self._key_id)
        register_secret(jwt)
        if self._url is None:
            return _Token(jwt, clock.monotonic() + _usable(_JWT_LIFETIME - _CLOCK_SKEW), {})
        return _asked(self._url, {"grant_type": _JWT_BEARER, "assertion": jwt}, None, False, stop)


def _check_endpoint(url: str) -> str:
    """`url`, where secrets may be sent to it; ConfigurationException otherwise."""
    if is_exposed(check_base(url)):
        raise ConfigurationException(f"Secrets are not sent to {shown(url)} without TLS; use an https address.")
    return url


def _asked(url: str, form: Mapping[str, str], auth: Auth | None, as_json: bool, stop: threading.Event | None) -> _Token:
    """The token that `url` issues for `form`; RequestFailedException where it does not."""
    client = Client(url, auth, stop=stop)
    try:
        response = client.post("", json=form) if as_json else client.post("", data=form)
        answer = response.json()
    except RequestFailedException as err:
        # The vendor's words are in it; the request, with the credentials, is not.
        raise RequestFailedException(f"There is no token: {err} {_HINT}", status=err.status) from err
    value = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value:
        raise RequestFailedException(f"{shown(url)} answered without an access token{_complaint(answer)}. {_HINT}")
    register_secret(value)
    return _Token(value, clock.monotonic() + _usable(_lifetime(answer)), answer)


def _complaint(answer: Any) -> str:
    if not isinstance(answer, dict):
        return ""
    words = [answer[name] for name in ("error", "error_description", "reason") if isinstance(answer.get(name), str)]
    return f", saying: {escaped(redact(' '.join(words)))[:200]}" if words else ""


def _lifetime(answer: Mapping[str, Any]) -> float:
    try:
        lifetime = float(answer["expires_in"])
    except (KeyError, TypeError, ValueError):
        return _UNSTATED
    return lifetime if lifetime > 0 else _UNSTATED


def _usable(lifetime: float) -> float:
    return lifetime - min(lifetime / _SHARE, _MARGIN)


def _slot(credentials: Sequence[object]) -> _Slot:
    # Credentials are told apart by a digest, so that those of earlier runs are not kept.
    name = hashlib.sha256(json.dumps([str(part) for part in credentials]).encode()).hexdigest()
    with _slots_lock:
        slot = _slots.setdefault(name, _Slot())
        _slots.move_to_end(name)
        if len(_slots) > _MOST:
            _slots.popitem(last=False)
        return slot


@contextlib.contextmanager
def _held(lock: threading.Lock, stop: threading.Event | None) -> Iterator[None]:
    while not lock.acquire(timeout=SLICE):
        if stop is not None and stop.is_set():
            raise StoppedError("The process was asked to stop while a token was fetched.")
    try:
        yield
    finally:
        lock.release()


def _forget_tokens() -> None:
    # A thread of the parent may hold any of these locks.
    global _slots_lock
    _slots_lock = threading.Lock()
    _slots.clear()


os.register_at_fork(after_in_child=_forget_tokens)
