"""Asking sources over HTTP: a client with time-outs, retries and limits, credentials, and addresses that stay at home.

Names load when they are used: importing this package loads no HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grove.http.auth import Auth, Basic, Bearer, Header, OAuth2, SignedJwt, Stored
    from grove.http.client import Client
    from grove.http.origin import next_link, same_origin
    from grove.http.response import Response
    from grove.http.waits import RateLimit

_MODULES = {
    "Auth": "auth",
    "Basic": "auth",
    "Bearer": "auth",
    "Client": "client",
    "Header": "auth",
    "OAuth2": "auth",
    "RateLimit": "waits",
    "Response": "response",
    "SignedJwt": "auth",
    "Stored": "auth",
    "next_link": "origin",
    "same_origin": "origin",
}

__all__ = [
    "Auth",
    "Basic",
    "Bearer",
    "Client",
    "Header",
    "OAuth2",
    "RateLimit",
    "Response",
    "SignedJwt",
    "Stored",
    "next_link",
    "same_origin",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
