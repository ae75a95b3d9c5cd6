"""An answer that has been read completely."""

from __future__ import annotations

import codecs
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

import orjson

from grove._core import RawPage
from grove.exceptions import DataFormatException, RequestFailedException
from grove.http.origin import escaped, shown
from grove.logging import redact

__all__ = ["Response"]

logger = logging.getLogger(__name__)

_UNREAD = object()
# Every digit is a 0 and everything else a blank, so that a long run of digits can be searched for at memory speed.
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
# orjson reads an integer of more than 64 bits as a float. Digits within a text follow no such character.
_LONG = 19
_BEFORE_A_NUMBER = b"[:, \t\n\r"
_CHARSET = re.compile(r"charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)
_LINK = re.compile(r"<([^>]*)>((?:[^,<\"]|\"(?:[^\"\\]|\\.)*\")*)")
_PARAMETER = re.compile(r";\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\";,]*))")
_SHOWN_BODY = 200


class Response:
    """Status, headers (case-insensitive) and the body, without its content encoding.

    `url` is the address that answered, after any redirects.
    """

    __slots__ = ("_json", "_page", "body", "headers", "method", "status", "url")

    def __init__(self, method: str, url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.method = method
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body
        self._json: Any = _UNREAD
        self._page: RawPage | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status} of {self.method} {shown(self.url)}, {len(self.body)} bytes>"

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; empty where the answer names none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def is_html(self) -> bool:
        """Whether this is a page for people: HTML by its type, and by its first character."""
        return self.content_type in ("text/html", "application/xhtml+xml") and self.body.lstrip()[:1] == b"<"

    def json(self) -> Any:
        """The body as JSON. Integers of any size are exact; NaN, infinities and lone surrogates are accepted.

        A byte order mark and the declared charset are honoured. Bytes that are not of that charset are replaced, with
        a warning. The same object at every call. RequestFailedException where the body is not JSON.
        """
        if self._json is _UNREAD:
            self._json = self._parse()
        return self._json

    def page(self, path: str, pointer_path: str = "") -> RawPage:
        """The entries at `path`, as text: see `RawPage`. The same object at every call.

        Otherwise as `json()`.
        """
        if self._page is None:
            body = self.body if self._is_plain_utf8() else self._text().encode("utf-8", "replace")
            try:
                self._page = RawPage(body, path, pointer_path)
            except DataFormatException as err:
                raise self._no_json(str(err)) from None
            if self._page.odd and body is self.body:
                # Only for what it may have to warn of.
                self._text()
        return self._page

    def links(self) -> dict[str, str]:
        """The targets of the `Link` headers (RFC 8288) by relation, as sent; the first one of each relation."""
        found: dict[str, str] = {}
        for target, parameters in _LINK.findall(self.headers.get("Link", "")):
            for name, quoted, plain in _PARAMETER.findall(parameters):
                if name.lower() == "rel":
                    for relation in (re.sub(r"\\(.)", r"\1", quoted) or plain).lower().split():
                        found.setdefault(relation, target.strip())
                    break
        return found

    def excerpt(self) -> str:
        """The start of the body on one line and without registered secrets, for messages; empty for HTML."""
        if self.is_html or not self.body:
            return ""
        # Redacted before it is cut: half a secret would not be recognised.
        text = " ".join(redact(self.body[:4096].decode("utf-8", "replace")).split())
        return escaped(text)[:_SHOWN_BODY]

    def _parse(self) -> Any:
        body = self.body
        if self._is_plain_utf8() and not _has_long_integer(body):
            try:
                return orjson.loads(body)
            except orjson.JSONDecodeError:
                # What it does not take, the standard module may: NaN, lone surrogates, deep nesting.
                pass
        try:
            return json.loads(self._text())
        except (ValueError, RecursionError) as err:
            reason = _why(err)
        raise self._no_json(reason)

    def _no_json(self, reason: str) -> RequestFailedException:
        what = "an HTML page" if self.is_html else "an empty body" if not self.body.strip() else f"no JSON ({reason})"
        return RequestFailedException(
            f"{self.method} {shown(self.url)} answered status {self.status} with {what} where JSON was expected."
        )

    def _is_plain_utf8(self) -> bool:
        if self.body[:3] == codecs.BOM_UTF8 or b"\0" in self.body[:4] or self.body[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return False
        charset = self._charset()
        return charset is None or charset in ("utf-8", "utf8", "us-ascii", "ascii")

    def _charset(self) -> str | None:
        match = _CHARSET.search(self.headers.get("Content-Type", ""))
        return match.group(1).lower() if match else None

    def _text(self) -> str:
        # By its byte order mark or its zero bytes, as RFC 4627 says; what the header says comes second.
        encoding: str = json.detect_encoding(self.body)
        charset = self._charset()
        if encoding == "utf-8" and charset is not None:
            encoding = charset if _is_charset(charset) else encoding
        try:
            return self.body.decode(encoding)
        except UnicodeDecodeError:
            logger.warning(
                "An answer has bytes that are not of its charset; they are replaced.",
                extra={"event": "invalid_bytes", "address": shown(self.url), "charset": encoding},
            )
            return self.body.decode(encoding, "replace")


def _why(err: Exception) -> str:
    match err:
        case json.JSONDecodeError():
            return f"{type(err).__name__} at character {err.pos}"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return "it has a number that is too long"


def _has_long_integer(body: bytes) -> bool:
    digits = body.translate(_DIGITS)
    start = digits.find(b"0" * _LONG)
    while start >= 0:
        before = body[:start].removesuffix(b"-") if start < 2 else body[start - 2 : start].removesuffix(b"-")
        if not before or before[-1] in _BEFORE_A_NUMBER:
            return True
        end = digits.find(b" ", start + _LONG)
        start = digits.find(b"0" * _LONG, end) if end >= 0 else -1
    return False


def _is_charset(name: str) -> bool:
    try:
        " ".encode(name)
    except (LookupError, UnicodeError):
        return False
    return True
