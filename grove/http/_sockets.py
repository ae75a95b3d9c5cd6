"""Sockets that keep to a deadline.

A socket's own time-out starts anew with every byte, so that a server that sends one now and then holds a request for
ever, and the look-up of a name has none at all. Here every operation ends with the budget of its thread's request, and
soon after a request to stop.
"""

import contextlib
import ipaddress
import queue
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from grove.helpers import clock
from grove.http._budget import SLICE, Budget, current

__all__ = ["POOLS", "TLSSocket"]

_T = TypeVar("_T")
_Address = tuple[Any, Any, int, str, Any]


def _sliced(sock: socket.socket, operation: Callable[..., _T], *args: Any) -> _T:
    """`operation` on `sock`, begun again after each slice of its time; TimeoutError at its end or the budget's."""
    budget = current()
    if budget is None:
        return operation(*args)
    timeout = sock.gettimeout()
    ends = float("inf") if timeout is None else clock.monotonic() + timeout
    try:
        while True:
            budget.check()
            left = min(ends - clock.monotonic(), budget.remaining())
            if left <= 0:
                raise TimeoutError("timed out")
            sock.settimeout(min(left, SLICE))
            # Nothing has been taken from the socket by an operation that timed out.
            with contextlib.suppress(TimeoutError):
                return operation(*args)
    finally:
        with contextlib.suppress(OSError):
            sock.settimeout(timeout)


def _limited(sock: socket.socket, operation: Callable[..., _T], *args: Any) -> _T:
    """`operation`, which cannot be begun again, for as long as the budget allows."""
    budget = current()
    if budget is None:
        return operation(*args)
    budget.check()
    timeout = sock.gettimeout()
    left = budget.remaining()
    if left <= 0:
        raise TimeoutError("timed out")
    sock.settimeout(left if timeout is None else min(timeout, left))
    try:
        return operation(*args)
    finally:
        with contextlib.suppress(OSError):
            sock.settimeout(timeout)


class _Socket(socket.socket):
    """A TCP connection."""

    def recv(self, *args: Any) -> bytes:
        return _sliced(self, super().recv, *args)

    def recv_into(self, *args: Any) -> int:
        return _sliced(self, super().recv_into, *args)

    def sendall(self, *args: Any) -> None:
        _limited(self, super().sendall, *args)


class TLSSocket(ssl.SSLSocket):
    """A TLS connection, from its handshake on; `SSLContext.sslsocket_class` makes a context use it."""

    def do_handshake(self, block: bool = False) -> None:
        _sliced(self, super().do_handshake, block)

    def recv(self, *args: Any) -> bytes:
        return _sliced(self, super().recv, *args)

    def recv_into(self, *args: Any) -> int:
        return _sliced(self, super().recv_into, *args)

    def sendall(self, *args: Any) -> None:
        _limited(self, super().sendall, *args)


def _addresses(host: str, port: int, budget: Budget, seconds: float) -> list[_Address]:
    """What `host` resolves to. TimeoutError after `seconds`; socket.gaierror where it resolves to nothing."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: queue.SimpleQueue[list[_Address] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as err:
            found.put(err)

    # A look-up cannot be broken off; it is left behind, to end when the resolver gives up.
    threading.Thread(target=look_up, name="grove-resolve", daemon=True).start()
    ends = clock.monotonic() + seconds
    while True:
        budget.check()
        left = min(ends - clock.monotonic(), budget.remaining())
        if left <= 0:
            raise TimeoutError("the name was not resolved in time")
        with contextlib.suppress(queue.Empty):
            result = found.get(timeout=min(left, SLICE))
            if isinstance(result, Exception):
                raise result
            return result


def _connect(host: str, port: int, seconds: float, options: Any) -> socket.socket:
    """A connection to the first address of `host` that accepts one; `seconds` each, and for the name."""
    budget = current() or Budget(seconds, None)
    failure: OSError | None = None
    for family, kind, protocol, _, address in _addresses(host.strip("[]"), port, budget, seconds):
        budget.check()
        sock = _Socket(family, kind, protocol)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            sock.settimeout(seconds)
            _limited(sock, sock.connect, address)
        except OSError as err:
            sock.close()
            failure = err
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError("the name has no address")


def _open(connection: Any) -> socket.socket:
    """The socket of a urllib3 `connection`, with the errors that urllib3 expects."""
    try:
        sock = _connect(connection._dns_host, connection.port, connection.timeout, connection.socket_options)
    except socket.gaierror as err:
        raise NameResolutionError(connection.host, connection, err) from err
    except TimeoutError as err:
        raise ConnectTimeoutError(connection, "No connection in time.") from err
    except OSError as err:
        raise NewConnectionError(connection, f"No connection: {err}") from err
    sys.audit("http.client.connect", connection, connection.host, connection.port)
    return sock


class _Connection(HTTPConnection):
    # The method that urllib3's own SOCKS support replaces, for the same purpose.
    def _new_conn(self) -> socket.socket:
        return _open(self)


class _TLSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _open(self)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


POOLS = {"http": _Pool, "https": _TLSPool}
"""For `PoolManager.pool_classes_by_scheme`."""
