"""State in SQLite: what the interface asks for, and nothing more."""

import contextlib
import os
import sqlite3
from typing import Optional

from grove.caches import BaseCache
from grove.exceptions import AccessException, DataFormatException, NotFoundException

TABLE = "CREATE TABLE IF NOT EXISTS state (pk TEXT, sk TEXT, data TEXT, PRIMARY KEY (pk, sk))"


class Handler(BaseCache):
    def __init__(self):
        self.path = os.environ.get("ACME_STATE", "state.sqlite")

    @contextlib.contextmanager
    def _connected(self):
        try:
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            try:
                connection.execute(TABLE)
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            finally:
                connection.close()
        except sqlite3.Error as err:
            raise AccessException(f"SQLite failed: {err}") from err

    def _find(self, connection, pk, sk):
        return connection.execute("SELECT data FROM state WHERE pk = ? AND sk = ?", (pk, sk)).fetchone()

    def get(self, pk: str, sk: str) -> str:
        with self._connected() as connection:
            found = self._find(connection, pk, sk)
        if found is None:
            raise NotFoundException(f"No value for {pk} {sk}")
        return found[0]

    def set(
        self,
        pk: str,
        sk: str,
        value: str,
        not_set: Optional[bool] = False,
        constraint: Optional[str] = None,
    ):
        if not_set and constraint is not None:
            raise ValueError("A value cannot both be absent and be another one.")
        with self._connected() as connection:
            found = self._find(connection, pk, sk)
            if not_set and found is not None:
                raise DataFormatException("There is a value already.")
            if constraint is not None and (found is None or found[0] != constraint):
                raise DataFormatException("The value is another one.")
            connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (pk, sk, value))

    def delete(self, pk: str, sk: str, constraint: Optional[str] = None):
        with self._connected() as connection:
            found = self._find(connection, pk, sk)
            if constraint is not None and (found is None or found[0] != constraint):
                raise DataFormatException("The value is another one.")
            connection.execute("DELETE FROM state WHERE pk = ? AND sk = ?", (pk, sk))
