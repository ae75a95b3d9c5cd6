"""Tokens for Vault: one that is given, or one that Vault issues to whoever logs in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from grove.exceptions import AccessException, ConfigurationException, GroveException
from grove.helpers import clock
from grove.http import Client
from grove.http.auth import Auth, Header
from grove.logging import register_secret

__all__ = ["GivenToken", "Issued", "IssuedToken", "login"]

_HEADER = "X-Vault-Token"

RENEWED_AT = 0.9
"""The part of a token's life after which the next one is fetched."""


class GivenToken(Auth):
    """The token that `read` returns, which is asked anew for every request: an agent may have replaced it."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self.number = 0

    def apply(self, headers: dict[str, str], stop: threading.Event | None = None) -> None:
        """Add the token. Raises what `read` raises."""
        Header(_HEADER, self._read()).apply(headers)

    def replace(self, number: int) -> bool:
        """False: there is no other one."""
        return False


class Issued(NamedTuple):
    """A token, and for how many seconds it is good (0: for ever)."""

    token: str
    seconds: float


class IssuedToken(Auth):
    """The token that `issue` returns, until it has expired or been refused; one for all threads.

    `number` counts them, so that one that is refused is replaced once, whoever finds out.
    """

    def __init__(self, issue: Callable[[], Issued]) -> None:
        self._issue = issue
        self._lock = threading.Lock()
        self._token = ""
        self._ends = 0.0
        self.number = 0

    def apply(self, headers: dict[str, str], stop: threading.Event | None = None) -> None:
        """Add the token, logging in first where there is none that is good. Raises what `issue` raises."""
        with self._lock:
            if not self._token or clock.monotonic() >= self._ends:
                self._login()
            Header(_HEADER, self._token).apply(headers)

    def replace(self, number: int) -> bool:
        """Log in again, unless that was done since the token had this number. Raises what `issue` raises."""
        with self._lock:
            if self.number == number:
                self._login()
        return True

    def _login(self) -> None:
        began = clock.monotonic()
        issued = self._issue()
        self._token = issued.token
        self._ends = began + issued.seconds * RENEWED_AT if issued.seconds else float("inf")
        self.number += 1


class _ViaClient:
    """How the authentication methods of hvac post a login: by the HTTP toolkit, with its limits and repetitions."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def login(self, url: str, json: Mapping[str, Any], use_token: bool = False) -> Any:
        """The answer to a login, parsed."""
        return self._client.post(url.lstrip("/"), json=json).json()


def login(method: str, client: Client, mount: str, role: str, secrets: Callable[[], Mapping[str, str]]) -> Issued:
    """A token by the authentication method "approle", "kubernetes" or "jwt", which is mounted at `mount`.

    `secrets` gives what stands for this process: `role_id` and `secret_id`, or `jwt`. AccessException where Vault
    refuses or does not answer; ConfigurationException where hvac is missing.
    """
    try:
        from hvac.api.auth_methods import JWT, AppRole, Kubernetes
    except ModuleNotFoundError as err:
        raise ConfigurationException(
            f"Logging in to Vault by {method!r} needs the package 'hvac'. Install it with: pip install 'grove[vault]'"
        ) from err
    proof = secrets()
    for secret in proof.values():
        register_secret(secret)
    adapter = _ViaClient(client)
    try:
        if method == "approle":
            answer = AppRole(adapter).login(**proof, use_token=False, mount_point=mount)
        elif method == "kubernetes":
            answer = Kubernetes(adapter).login(role=role, **proof, use_token=False, mount_point=mount)
        else:
            answer = JWT(adapter).jwt_login(role=role, **proof, use_token=False, path=mount)
    except GroveException as err:
        raise AccessException(f"Vault does not let this process in by {method!r} at {mount!r}. {err}") from err
    try:
        return Issued(str(answer["auth"]["client_token"]), float(answer["auth"]["lease_duration"]))
    except (KeyError, TypeError, ValueError):
        # Not chained: the answer holds a token.
        raise AccessException(f"The answer of Vault to a login by {method!r} at {mount!r} has no token.") from None
