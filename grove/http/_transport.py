"""One request and its answer, over connections that all streams of the process share.

The transport of `requests` is used without its Session: that would add cookies of other tenants, passwords from
`.netrc`, and redirects.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from urllib3.util.ssl_ import create_urllib3_context

from grove.exceptions import ConfigurationException
from grove.http._budget import Budget
from grove.http._decoding import BodyLimitError, CutError, EncodingError, decoded
from grove.http._sockets import POOLS, TLSSocket
from grove.logging import register_secret

__all__ = ["Exchange", "send", "surroundings"]

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Hosts whose connections are kept, and idle connections for each.
_HOSTS = 256
_CONNECTIONS = 64
_CHUNK = 1 << 16

_lock = threading.Lock()
_adapters: dict[str, _Adapter] = {}


class Exchange:
    """An answer whose status and headers are here, and whose body is yet to be read; a context manager."""

    def __init__(self, answer: requests.Response, budget: Budget, limit: int, ratio: float) -> None:
        self.status = answer.status_code
        self.headers: Mapping[str, str] = answer.headers
        # Whether the answer says how long it is; otherwise its end looks like that of a broken connection.
        self.framed = answer.raw.chunked or answer.raw.length_remaining is not None
        self._answer = answer
        self._budget = budget
        self._limit = limit
        self._ratio = ratio

    def chunks(self) -> Iterator[bytes]:
        """The body without its content encoding, in pieces of 64 KiB at most. Raises as `decoded` and urllib3 do.

        A success with neither a length nor a body is cut off: a connection that breaks within the headers looks so.
        """
        if (self._answer.raw.length_remaining or 0) > self._limit:
            raise BodyLimitError(f"its body is longer than {self._limit:,} bytes")
        raw = self._answer.raw.stream(_CHUNK, decode_content=False)
        pieces = decoded(raw, self.headers.get("Content-Encoding", ""), self._limit, self._ratio)
        empty = True
        while True:
            # Set for each piece, because the one who asks for the next may be another thread.
            with self._budget.spent_here():
                try:
                    piece = next(pieces, None)
                except ValueError as err:
                    # urllib3 asks the socket for as many bytes as it is told, be they fewer than none.
                    raise EncodingError("it sent a chunk of a size that is none") from err
            if piece is None:
                break
            empty = False
            with self._budget.unspent():
                yield piece
        if empty and not self.framed and 200 <= self.status < 300:
            raise CutError

    def close(self) -> None:
        """Give the connection back, or break it off where the body was not read to its end."""
        with contextlib.suppress(Exception):
            if not self._answer.raw.isclosed():
                self._answer.raw.close()
            self._answer.raw.release_conn()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def send(
    request: requests.PreparedRequest, budget: Budget, timeouts: tuple[float, float], limit: int, ratio: float
) -> Exchange:
    """The answer to `request`, up to its headers.

    `timeouts` are seconds, for connecting and between two bytes. Proxies come from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY
    and NO_PROXY, certificate authorities from REQUESTS_CA_BUNDLE. Raises what requests and urllib3 raise;
    ConfigurationException where a bundle cannot be read or a proxy is no address.
    """
    assert request.url is not None
    proxy = _proxy(request.url)
    adapter = _adapter(_authorities())
    with budget.spent_here():
        answer = adapter.send(request, stream=True, timeout=timeouts, proxies={"all": proxy} if proxy else None)
    return Exchange(answer, budget, limit, ratio)


class _Adapter(HTTPAdapter):
    """Connections that know our deadlines and trust the authorities of one bundle."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=_HOSTS, pool_maxsize=_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, proxy_ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def cert_verify(self, *args: Any) -> None:
        """Nothing: the context holds the authorities, and demands a certificate."""


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`, with a scheme; ConfigurationException where it is no address."""
    named = select_proxy(url, get_environ_proxies(url))
    if not named:
        return None
    proxy = named if "://" in named else f"http://{named}"
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
        password = parts.password
    except ValueError:
        usable = password = None
    if not usable:
        raise ConfigurationException(
            "The proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is no address like http://host:3128."
        )
    if password:
        register_secret(password)
        register_secret(unquote(password))
    return proxy


def _authorities() -> str:
    for variable in _CA_VARIABLES:
        if os.environ.get(variable):
            return os.environ[variable]
    return DEFAULT_CA_BUNDLE_PATH


def surroundings(url: str) -> tuple[str | None, str]:
    """What `send` goes by for `url`: the proxy, if any, and the file or directory of the certificate authorities.

    ConfigurationException where a bundle cannot be read or a proxy is no address.
    """
    authorities = _authorities()
    _context(authorities)
    return _proxy(url), authorities


def _adapter(authorities: str) -> _Adapter:
    with _lock:
        adapter = _adapters.get(authorities)
        if adapter is None:
            adapter = _adapters[authorities] = _Adapter(_context(authorities))
        return adapter


def _context(authorities: str) -> ssl.SSLContext:
    # TLS 1.2 at least, and no protocol but HTTP/1.1.
    context = create_urllib3_context()
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    context.sslsocket_class = TLSSocket
    try:
        if os.path.isdir(authorities):
            context.load_verify_locations(capath=authorities)
        else:
            context.load_verify_locations(cafile=authorities)
    except OSError as err:
        raise ConfigurationException(
            f"The certificate authorities in {authorities!r} (from {' or '.join(_CA_VARIABLES)}) cannot be read: "
            f"{err.strerror or err}."
        ) from err
    return context


def _forget_connections() -> None:
    # A child must not speak on its parent's connections.
    global _lock
    _lock = threading.Lock()
    _adapters.clear()


def _names_no_address(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Failed to parse headers")


os.register_at_fork(after_in_child=_forget_connections)
# It would show the whole address, and with it what is in its query.
logging.getLogger("urllib3.connection").addFilter(_names_no_address)
