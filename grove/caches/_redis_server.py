"""One Redis or Valkey server, asked so that nothing which may have been carried out is sent a second time.

The client's own retries cannot tell a question that never left from an answer that was lost, so they stay off.
All keys of a cache lie in one hash slot; of a Redis Cluster it therefore talks to one server, wherever that is.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from redis import ConnectionPool
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from grove.exceptions import AccessException

__all__ = ["DeniedError", "Server"]

ATTEMPTS = 5
FIRST_WAIT = 0.05
MOST_CONNECTIONS = 4096

# Answers that say: nothing was done, and it may be possible a moment later or after connecting anew.
_NOT_NOW = (AskError, BusyLoadingError, ClusterDownError, ReadOnlyError, TryAgainError)
_DENIED = (AuthenticationError, AuthorizationError, NoPermissionError)


class DeniedError(AccessException):
    """The server does not let this user in, or not do that."""


class Server:
    """The server at an address. `options` are those of `redis.ConnectionPool`: `host`, `port`, `password`, ...

    Safe for threads, and after a fork. TypeError, ValueError or RedisError for options that cannot be; AccessException
    where the server fails; NoScriptError passes through.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        fixed = {"protocol": 2, "decode_responses": False, "max_connections": MOST_CONNECTIONS}
        self._options = {**options, **fixed}
        # Nothing is connected yet, but options that no connection takes are found out.
        ConnectionPool(**self._options).make_connection()
        self._guard = threading.Lock()
        self._pool: ConnectionPool | None = None

    def ask(self, *command: str | bytes | int) -> Any:
        """The answer to what may be asked twice: a lost one is asked for again."""
        return self._exchange(command, repeatable=True)

    def tell(self, *command: str | bytes | int) -> Any:
        """The answer to what must not be done twice. AccessException also where it may have been done."""
        return self._exchange(command, repeatable=False)

    def close(self) -> None:
        """Let go of every idle connection; the next exchange begins at the address that was given."""
        with self._guard:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.disconnect(inuse_connections=False)

    def _exchange(self, command: tuple[str | bytes | int, ...], *, repeatable: bool) -> Any:
        problem: Exception | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, FIRST_WAIT * 2**attempt))
            sent = False
            try:
                pool = self._connections()
                # Connects, or makes sure that an idle connection has not been closed by the server.
                connection = pool.get_connection()
                try:
                    sent = True
                    connection.send_command(*command)
                    return connection.read_response()
                finally:
                    pool.release(connection)
            except NoScriptError:
                raise
            except MovedError as err:
                problem = err
                self._move(err.host, err.port)
            except _DENIED as err:
                raise DeniedError(f"The Redis server does not allow it: {err}") from err
            except _NOT_NOW as err:
                problem = err
                self.close()
            except ResponseError as err:
                raise AccessException(f"The Redis server has refused, and changed nothing: {err}") from err
            except (RedisError, OSError) as err:
                self.close()
                if sent and not repeatable:
                    raise AccessException(f"The Redis server may or may not have carried out a change: {err}") from err
                problem = err
        raise AccessException(f"The Redis server cannot be used: {problem}") from problem

    def _connections(self) -> ConnectionPool:
        with self._guard:
            if self._pool is None:
                self._pool = ConnectionPool(**self._options)
            return self._pool

    def _move(self, host: str, port: int) -> None:
        """Talk to the server of a cluster that has our slot. No host means the one that said so."""
        with self._guard:
            if self._pool is not None:
                self._pool.disconnect(inuse_connections=False)
            self._pool = ConnectionPool(**{**self._options, **({"host": host} if host else {}), "port": port})
