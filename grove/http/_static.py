"""Credentials that stand in a document: a header, a bearer token, a user name and password."""

import base64
import threading

from grove.exceptions import ConfigurationException
from grove.http.client import Auth
from grove.logging import register_secret

__all__ = ["Basic", "Bearer", "Header"]


class Header(Auth):
    """One header with a credential: `name: prefix value`, as in `Authorization: SSWS 00abc`.

    ConfigurationException where `value` is empty or cannot stand in a header.
    """

    def __init__(self, name: str, value: str, prefix: str = "") -> None:
        register_secret(value)
        if not value:
            raise ConfigurationException(f"There is no credential for the header {name}; fill in `key`.")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            # A value from a file often ends with a line break. The error of the HTTP library would show it all.
            raise ConfigurationException(
                f"The credential for the header {name} has a line break, a space around it, or a character that is "
                "not ASCII."
            )
        self._name = name
        self._value = f"{prefix} {value}" if prefix else value

    def apply(self, headers: dict[str, str], stop: threading.Event | None = None) -> None:
        """Add the header."""
        headers[self._name] = self._value


class Bearer(Header):
    """`Authorization: Bearer <token>`."""

    def __init__(self, token: str) -> None:
        super().__init__("Authorization", token, "Bearer")


class Basic(Auth):
    """`Authorization: Basic ...`; user name and password as UTF-8."""

    def __init__(self, user: str, password: str) -> None:
        register_secret(password)
        if ":" in user:
            raise ConfigurationException("A user name for Basic authentication has a colon, which ends it.")
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        register_secret(pair)
        self._value = f"Basic {pair}"

    def apply(self, headers: dict[str, str], stop: threading.Event | None = None) -> None:
        """Add the header."""
        headers["Authorization"] = self._value
