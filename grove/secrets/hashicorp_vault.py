"""Credentials in HashiCorp Vault, or what speaks its API: key-value stores of both versions, and dynamic secrets.

A process shows a token that it is given, or logs in by AppRole, Kubernetes or JWT.
https://developer.hashicorp.com/vault/api-docs/secret/kv
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.exceptions import (
    AccessException,
    ConfigurationException,
    DataFormatException,
    NotFoundException,
    RateLimitException,
    RequestFailedException,
)
from grove.helpers import settings
from grove.http import Client
from grove.http.response import Response
from grove.secrets import BaseSecret, _files
from grove.secrets._vault_auth import GivenToken, IssuedToken, login

__all__ = ["Handler"]

ENV_PREFIX = "GROVE_SECRET_HASHICORP_VAULT_"

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
"""Where Kubernetes puts the token of a pod."""

# Seconds. A run waits for its secrets, and the next one asks again.
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
DEADLINE = 30.0
ATTEMPTS = 4

# None of them is followed: a token goes to the configured address only.
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Configuration(BaseSettings):
    """GROVE_SECRET_HASHICORP_VAULT_ADDR and the rest.

    `token_file` is a file whose first line is the token; it wins over `token`. With an `auth_method` other than
    "token", which is mounted at `auth_mount`, this process logs in: "approle" with `role_id` and `secret_id` (or
    the file `secret_id_file`), "kubernetes" and "jwt" as `role` with the token in `jwt_file`.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", hide_input_in_errors=True)

    addr: str = Field(description="The address of Vault, such as https://vault.example.com:8200.")
    token: str = Field(default="", repr=False, description="The token.")
    token_file: str = Field(default="", description="A file whose first line is the token; wins over the token.")
    namespace: str = Field(default="", description="The namespace.")
    api_version: str = Field(default="v1", description="The first part of every path.")
    auth_method: Literal["token", "approle", "kubernetes", "jwt"] = Field(
        default="token", description="How this process signs in: token, approle, kubernetes or jwt."
    )
    auth_mount: str = Field(default="", description="Where that method is mounted; without it the method's name.")
    role: str = Field(default="", description="The role to log in as, by kubernetes or jwt.")
    role_id: str = Field(default="", description="For approle.")
    secret_id: str = Field(default="", repr=False, description="For approle.")
    secret_id_file: str = Field(default="", description="A file that holds the secret id, read at each login.")
    jwt_file: str = Field(
        default="", description="A file that holds the JSON web token; without it the pod's own, for kubernetes."
    )


class Handler(BaseSecret):
    """Reads a secret from the place and field that its locator names: `secret/data/okta?field=token`.

    AccessException where Vault does not answer, or not accept the token.
    """

    EXTRA: ClassVar[str | None] = "vault"

    def __init__(self) -> None:
        super().__init__()
        self.config = settings.read(Configuration)
        headers = {"X-Vault-Request": "true"}
        if self.config.namespace:
            headers["X-Vault-Namespace"] = self.config.namespace
        self._auth = GivenToken(self._given_token) if self.config.auth_method == "token" else self._by_login(headers)
        self._client = self._make_client(headers, self._auth)
        # What Vault does not accept is noticed at once.
        if isinstance(self._auth, IssuedToken):
            self._auth.apply({})
        else:
            self._ask("auth/token/lookup-self")

    def get(self, id: str) -> str:
        """The text in the field that the locator names, of `data` or, in version 2, of the data in it.

        NotFoundException where there is no such secret, DataFormatException where that field holds no text,
        ConfigurationException where the locator names none, or AccessException.
        """
        return self.reading()(id)

    def reading(self) -> Callable[[str], str]:
        """What reads one document's secrets: each place is asked once, so that fields issued together stay together."""
        ask = functools.cache(self._ask)

        def get(id: str) -> str:
            try:
                field, path = self.get_field_and_path(id)
            except ValueError as err:
                raise ConfigurationException(str(err)) from err
            return _text(ask(path), field, path)

        return get

    def get_field_and_path(self, path: str) -> tuple[str, str]:
        """The field that a locator names, and the place, with what else was asked of it; ValueError without a field."""
        parts = urlsplit(path)
        query = parse_qsl(parts.query, keep_blank_values=True)
        field = next((value for name, value in query if name == "field"), "")
        place = parts.path.strip("/")
        if not field or not place:
            raise ValueError(
                f"The locator {path!r} names no field of a secret; write it like secret/data/app?field=name."
            )
        rest = urlencode([(name, value) for name, value in query if name != "field"])
        return field, f"{place}?{rest}" if rest else place

    def _ask(self, path: str) -> Response:
        """What Vault answers at `path`, after another login where it refuses the token."""
        place, mark, query = path.partition("?")
        url = f"{self.config.api_version}/{quote(place, safe='/%')}{mark}{query}"
        number = self._auth.number
        try:
            try:
                response = self._client.get(url, accept=_REDIRECTS)
            except RequestFailedException as err:
                if err.status not in (401, 403) or not self._auth.replace(number):
                    raise
                response = self._client.get(url, accept=_REDIRECTS)
        except RequestFailedException as err:
            if err.status == 404:
                raise NotFoundException(f"Vault has no secret at {path!r}, or it was deleted.") from err
            advice = " See whether the token is still good, and what its policies allow." if err.status == 403 else ""
            raise AccessException(f"Vault gives nothing for {path!r}. {err}{advice}") from err
        except RateLimitException as err:
            raise AccessException(f"Vault gives nothing for {path!r}. {err}") from err
        if response.status in _REDIRECTS:
            raise AccessException(
                f"Vault redirects {path!r}, which is not followed. Set {ENV_PREFIX}ADDR to the active node's address."
            )
        return response

    def _make_client(self, headers: Mapping[str, str], auth: GivenToken | IssuedToken | None = None) -> Client:
        try:
            return Client(
                self.config.addr,
                auth,
                headers=headers,
                timeout_connect=CONNECT_TIMEOUT,
                timeout_read=READ_TIMEOUT,
                deadline=DEADLINE,
                attempts=ATTEMPTS,
            )
        except ConfigurationException as err:
            raise ConfigurationException(f"{ENV_PREFIX}ADDR: {err}") from err

    # --- the token ---

    def _given_token(self) -> str:
        if self.config.token_file:
            return self._first_line(self.config.token_file)
        token = self.config.token.strip()
        if not token:
            raise ConfigurationException(
                f"There is no token for Vault: set {ENV_PREFIX}TOKEN or {ENV_PREFIX}TOKEN_FILE."
            )
        return token

    def _by_login(self, headers: Mapping[str, str]) -> IssuedToken:
        config = self.config
        if config.auth_method == "approle":
            self._need("role_id")
            if not config.secret_id_file:
                self._need("secret_id")
        else:
            self._need("role")
            if config.auth_method == "jwt":
                self._need("jwt_file")
        client = self._make_client(headers)
        mount = config.auth_mount.strip("/") or config.auth_method
        return IssuedToken(lambda: login(config.auth_method, client, mount, config.role, self._proof))

    def _proof(self) -> dict[str, str]:
        config = self.config
        if config.auth_method == "approle":
            secret = self._first_line(config.secret_id_file) if config.secret_id_file else config.secret_id
            return {"role_id": config.role_id, "secret_id": secret}
        return {"jwt": self._first_line(config.jwt_file or SERVICE_ACCOUNT)}

    def _need(self, name: str) -> None:
        if not getattr(self.config, name):
            raise ConfigurationException(
                f"{ENV_PREFIX}{name.upper()} is not set, which {self.config.auth_method!r} needs to log in to Vault."
            )

    def _first_line(self, path: str) -> str:
        try:
            return _files.read(Path(path), self.logger).split("\n")[0].strip()
        except NotFoundException as err:
            raise AccessException(f"There is nothing to show to Vault. {err}") from err


def _text(response: Response, field: str, path: str) -> str:
    """The text in `field` of an answer."""
    try:
        data: Any = response.json()["data"]
        inner = data.get("data")
    except (RequestFailedException, AttributeError, LookupError, TypeError):
        raise DataFormatException(f"What Vault has at {path!r} is no secret.") from None
    for fields in (data, inner):
        if isinstance(fields, dict) and isinstance(fields.get(field), str):
            return str(fields[field])
    raise DataFormatException(f"The secret at {path!r} has no field {field!r} that is a text.")
