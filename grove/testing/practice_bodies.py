"""What can be wrong, or only unusual, with the content of an answer of the practice API, although it arrives whole.

api.fault(2, with_bom())
api.fault(3, with_entries(None))           # {"entries": null, ...}
api.offer([Verbatim({"at": "2025-03-04", "n": "NaN"}, b'{"at":"2025-03-04","n":NaN}')])
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from grove.testing.practice_faults import JSON, Fault
from grove.testing.practice_shapes import Entry

__all__ = [
    "Verbatim",
    "changed",
    "content",
    "encoded",
    "error_body",
    "html",
    "packed",
    "recoded",
    "substituted",
    "typed",
    "with_bom",
    "with_entries",
]


class Verbatim(Entry):
    """An entry, as it ought to be delivered, with the `text` by which it is sent, whatever that is."""

    def __init__(self, entry: Entry, text: bytes) -> None:
        super().__init__(entry)
        self.text = text


def encoded(body: Entry) -> bytes:
    """An answer's body: compact JSON in UTF-8, with entries that are `Verbatim` as they say."""
    entries = body.get("entries")
    if not isinstance(entries, list) or not any(isinstance(entry, Verbatim) for entry in entries):
        return _json(body)
    texts = [entry.text if isinstance(entry, Verbatim) else _json(entry) for entry in entries]
    values = {name: b"[%b]" % b",".join(texts) if name == "entries" else _json(part) for name, part in body.items()}
    return b"{%b}" % b",".join(b"%b:%b" % (_json(name), value) for name, value in values.items())


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair has no UTF-8, but an escape.
        return json.dumps(value, separators=(",", ":")).encode()


# --- another content ---


def content(body: bytes, content_type: str = JSON, code: int = 200) -> Fault:
    """Another body, whatever it is."""
    return lambda reply: replace(reply, status=code, body=body, headers={"Content-Type": content_type})


def html() -> Fault:
    """A login page, under status 200."""
    return content(b"<!doctype html><title>Sign in</title><form>...</form>", "text/html; charset=utf-8")


def error_body(body: bytes = b'{"ok":false,"error":"internal_error"}') -> Fault:
    """An error in JSON, under status 200."""
    return content(body)


def changed(change: Callable[[bytes], bytes]) -> Fault:
    """The body as `change` makes it of the true one."""
    return lambda reply: replace(reply, body=change(reply.body))


def substituted(old: bytes, new: bytes) -> Fault:
    """`new` in place of the first `old` in the true body. ValueError at the request where there is none."""

    def change(body: bytes) -> bytes:
        if old not in body:
            raise ValueError(f"there is no {old!r} in the answer")
        return body.replace(old, new, 1)

    return changed(change)


def with_entries(value: Any) -> Fault:
    """This JSON value in place of the list of entries; where it is Ellipsis, none at all."""

    def change(body: bytes) -> bytes:
        rest = {name: part for name, part in json.loads(body).items() if name != "entries"}
        return _json(rest if value is ... else {"entries": value, **rest})

    return changed(change)


# --- the same content, in another form ---


def with_bom() -> Fault:
    """UTF-8 with a byte order mark in front."""
    return changed(lambda body: codecs.BOM_UTF8 + body)


def recoded(encoding: str, declared: str | None = None) -> Fault:
    """The same text in another encoding, and `declared` as the charset of its type."""
    kind = JSON if declared is None else f"{JSON}; charset={declared}"
    return lambda reply: replace(
        reply, body=reply.body.decode().encode(encoding), headers={**reply.headers, "Content-Type": kind}
    )


def typed(content_type: str | None) -> Fault:
    """The same body, called something else; None for nothing at all."""

    def change(headers: dict[str, str]) -> dict[str, str]:
        others = {name: value for name, value in headers.items() if name != "Content-Type"}
        return others if content_type is None else {**others, "Content-Type": content_type}

    return lambda reply: replace(reply, headers=change(dict(reply.headers)))


_PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def packed(how: str = "gzip", named: str | None = None) -> Fault:
    """The body compressed with gzip or deflate; `named` is what its header says, where that differs."""
    pack = _PACKERS[how]
    return lambda reply: replace(
        reply, body=pack(reply.body), headers={**reply.headers, "Content-Encoding": named or how}
    )
