"""How a key and its value lie in LMDB: format 1, which later versions go on reading.

A key is pk, a NUL and sk, in UTF-8; one that is too long for LMDB is its first 256 bytes, two NULs and a BLAKE3 hash.
A record is the kind of record (one byte), a checksum over all else and the key (8 bytes of BLAKE3), and the value in
UTF-8. In the record of a long key its length (4 bytes, little-endian) and the key itself come before the value.
"""

from __future__ import annotations

import struct
from pathlib import Path

from blake3 import blake3

from grove.caches import Key
from grove.caches._lmdb_errors import RESTORE
from grove.exceptions import CorruptStateError

__all__ = ["FORMAT", "FORMAT_KEY", "PREFIX_LIMIT", "check", "decode", "encode", "store_key"]

# No key of a value begins with a NUL.
FORMAT_KEY = b"\0format"
FORMAT = b"1"

PREFIX_LIMIT = 256

_KEY_LIMIT = 511
_HASHED = b"\0\0"
_PLAIN = b"\1"
_LONG_KEY = b"\2"
_CHECKSUM = 8
_BODY = len(_PLAIN) + _CHECKSUM
_LENGTH = struct.Struct("<I")


def store_key(key: Key) -> bytes:
    """The key under which LMDB holds `key`. ValueError where that has no partition, or a NUL in it."""
    raw = _raw(key)
    if not key.pk or "\0" in key.pk:
        raise ValueError("a partition key is not empty, and has no NUL in it")
    # A key that only looks like a hashed one is hashed, too.
    if len(raw) <= _KEY_LIMIT and raw[PREFIX_LIMIT : PREFIX_LIMIT + len(_HASHED)] != _HASHED:
        return raw
    return raw[:PREFIX_LIMIT] + _HASHED + blake3(raw).digest()


def encode(key: Key, value: str) -> bytes:
    """The record of a value. TypeError where it is no text."""
    if not isinstance(value, str):
        raise TypeError(f"a cache holds text, not {type(value).__name__}")
    data = value.encode("utf-8", "surrogatepass")
    raw, stored = _raw(key), store_key(key)
    if raw == stored:
        return _PLAIN + _checksum(_PLAIN, stored, data) + data
    body = _LENGTH.pack(len(raw)) + raw + data
    return _LONG_KEY + _checksum(_LONG_KEY, stored, body) + body


def check(stored: bytes, record: bytes, path: Path) -> None:
    """CorruptStateError, naming the key and the cache's directory `path`, where a record is not as it was written."""
    kind, body = record[:1], record[_BODY:]
    if record[len(kind) : _BODY] != _checksum(kind, stored, body):
        raise CorruptStateError(f"The record of {_shown(stored)} in the cache in {path} is damaged. {RESTORE}")


def decode(stored: bytes, record: bytes, path: Path) -> tuple[Key, str]:
    """The key and the value of a record; errors as of `check`, also where a newer Grove has written it."""
    check(stored, record, path)
    kind, body = record[:1], record[_BODY:]
    raw = stored
    if kind == _LONG_KEY:
        (size,) = _LENGTH.unpack_from(body)
        raw, body = body[_LENGTH.size : _LENGTH.size + size], body[_LENGTH.size + size :]
    elif kind != _PLAIN:
        raise CorruptStateError(
            f"The record of {_shown(stored)} in the cache in {path} was written by a newer Grove "
            f"(kind {kind.hex()}). Use that version."
        )
    pk, _, sk = raw.decode("utf-8", "surrogatepass").partition("\0")
    return Key(pk, sk), body.decode("utf-8", "surrogatepass")


def _raw(key: Key) -> bytes:
    return f"{key.pk}\0{key.sk}".encode("utf-8", "surrogatepass")


def _checksum(kind: bytes, stored: bytes, body: bytes) -> bytes:
    return blake3(kind + stored + b"\0" + body).digest(_CHECKSUM)


def _shown(stored: bytes) -> str:
    text, _, _ = stored.partition(_HASHED)
    return ascii(text.replace(b"\0", b" ").decode("utf-8", "replace"))
