"""What sources have been seen to answer, or may: each once, and what it means."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

from grove.testing.practice_bodies import (
    changed,
    content,
    error_body,
    html,
    packed,
    recoded,
    substituted,
    typed,
    with_bom,
    with_entries,
)
from grove.testing.practice_faults import Fault, Framing, raw, redirect, reset, slow, stalled, status, truncated

Meaning = Literal["page", "passing", "error"]


@dataclass(frozen=True)
class Response:
    """An answer, and what it means: the page after all; a failure that the next attempt need not meet; an error.

    `told` is a regular expression for the error of a run where every answer is like that.
    """

    name: str
    meaning: Meaning
    faults: tuple[Fault, ...]
    told: str = ""

    @property
    def timeout(self) -> float:
        """Seconds of silence to be waited for: not long where it is for nothing."""
        return 0.25 if self.name.startswith("silent") else 20.0


def page(name: str, *faults: Fault) -> Response:
    return Response(name, "page", faults)


def passing(name: str, told: str, *faults: Fault) -> Response:
    return Response(name, "passing", faults, told)


def error(name: str, told: str, *faults: Fault) -> Response:
    return Response(name, "error", faults, told)


def framed(framing: Framing) -> Fault:
    return lambda reply: replace(reply, framing=framing)


def with_headers(headers: dict[str, str]) -> Fault:
    return lambda reply: replace(reply, headers={**reply.headers, **headers})


def answered(head: bytes, body: bytes = b'{"entries":[]}') -> Fault:
    return raw(b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (head, body))


NO_JSON = r"with no JSON \(.* at (byte|character) \d+.*\) where JSON was expected"
NO_LIST = r"(where a list of entries was expected|has no list of entries)"
NO_OBJECTS = r"(where objects were expected|has no list of entries)"
CUT = "its answer was cut off.* asked 5 times"

STATUSES = [
    *(error(f"status {code}", f"answered status {code}, saying: .*scripted", status(code)) for code in (402, 406, 422)),
    *(
        error(f"status {code}", f"answered status {code}, .* {hint}", status(code))
        for code, hint in [
            (400, "Check the parameters in the stream's document"),
            (401, "Check that the credentials are complete"),
            (403, "Check that the credentials may read this log"),
            (404, "Check the identity and the address"),
        ]
    ),
    *(
        passing(f"status {code}", f"answered status {code}, .* It was asked 5 times", status(code))
        for code in (408, 425, 500, 501, 502, 503, 504, 520, 529, 599)
    ),
    error("an error page", "answered status 404, saying: an HTML page", content(b"<html>no</html>", "text/html", 404)),
    error("no content", "status 204 with an empty body", status(204, b"")),
    error("not modified", "answered status 304", status(304, b"")),
    error(
        "elsewhere",
        r"not followed: it leads to another origin \(other.example\)",
        redirect("https://other.example/entries"),
    ),
    error("elsewhere without an address", "a redirect without an address", status(302, b"")),
    error("elsewhere on the same host", "answered status 404, .*Check the identity and the address", redirect("/old")),
    error("another protocol", "not followed: it has no http", redirect("ftp://127.0.0.1/entries", 301)),
    error("status 700", "answered status 700", status(700)),
]

CONNECTIONS = [
    passing("reset", "connection reset by peer.* asked 5 times", reset()),
    passing("reset within the body", "connection reset by peer|cut off", reset(150)),
    passing("closed", "closed without an answer", raw(b"")),
    passing("closed within the headers", CUT, raw(b"HTTP/1.1 200 OK\r\nContent-Type: appl")),
    passing("no body", CUT, truncated(0)),
    passing("half a body", CUT, truncated(150)),
    passing("half of the chunks", CUT, truncated(150, "chunked")),
    passing("half a body without a length", CUT, truncated(150, "close")),
    passing("nothing without a length", CUT, truncated(0, "close")),
    passing("silent", "nothing in time", stalled()),
    passing("silent after the headers", "nothing in time", stalled(0)),
    passing("silent within the body", "nothing in time", stalled(150)),
    page("slow", slow(0.05)),
    page("chunked", framed("chunked")),
    page("until the connection closes", framed("close")),
]

PROTOCOLS = [
    passing("another server", "what it sent is not HTTP", raw(b"SSH-2.0-OpenSSH_9.2\r\n")),
    passing("a status that is none", "what it sent is not HTTP", raw(b"HTTP/1.1 OK\r\n\r\n")),
    passing("zeros", "what it sent is not HTTP", raw(bytes(200))),
    passing("a very long header", "its headers are too long", answered(b"X-Long: " + b"x" * 100_000 + b"\r\n")),
    passing("very many headers", "too many headers", answered(b"X-One: 1\r\n" * 200)),
    passing("a chunk of no size", CUT, answered(b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n")),
    passing(
        "a chunk of a negative size",
        "a size that is none",
        answered(b"Transfer-Encoding: chunked\r\n", b"-5\r\n{}\r\n0\r\n\r\n"),
    ),
    passing("a length that is none", CUT, answered(b"Content-Length: many\r\n", b'{"entries":')),
    passing("a negative length", CUT, answered(b"Content-Length: -1\r\n", b'{"entries":')),
    passing("two lengths", "states two lengths", answered(b"Content-Length: 9\r\nContent-Length: 14\r\n")),
    error("a length that is too short", NO_JSON, answered(b"Content-Type: application/json\r\nContent-Length: 5\r\n")),
]

ENCODINGS = [
    page("gzip", packed("gzip")),
    page("deflate", packed("deflate")),
    page("gzip in chunks", packed("gzip"), framed("chunked")),
    passing("not as packed as it says", "not in the encoding", with_headers({"Content-Encoding": "gzip"})),
    passing("packed in a way that was not asked for", "not asked for", packed("gzip", "br")),
    passing("half of a gzip file", CUT, packed("gzip"), changed(lambda body: body[:-9])),
    error("packed without saying so", NO_JSON, packed("gzip", "identity")),
    page("a byte order mark", with_bom()),
    page("UTF-16", recoded("utf-16")),
    page("UTF-16 without a mark", recoded("utf-16-le", "utf-16le")),
    page("UTF-32", recoded("utf-32")),
    page("Latin-1 that says so", recoded("latin-1", "iso-8859-1")),
    page("a charset that does not exist", recoded("utf-8", "klingon")),
    page("a charset in quotes", typed('application/json;charset="UTF-8"')),
]

CONTENTS = [
    error("a login page", "an HTML page, perhaps to sign in. Check the address and the credentials", html()),
    error("a page that is called JSON", NO_JSON, content(b"<!doctype html><p>Sign in")),
    error("XML", NO_JSON, content(b'<?xml version="1.0"?><entries/>', "application/xml")),
    page("JSON that is called text", typed("text/plain")),
    page("JSON that is called HTML", typed("text/html")),
    page("JSON without a name", typed(None)),
    page("JSON with blanks around it", changed(lambda body: b"\r\n\t " + body + b"\n\n")),
    error("nothing", "with an empty body where JSON was expected", content(b"")),
    error("blanks", "with an empty body where JSON was expected", content(b" \r\n")),
    *(error(f"just {text}", NO_LIST, content(text.encode())) for text in ("null", "true", "42", '"ok"', "{}", "[]")),
    error("an error in a list", NO_LIST, content(b'[{"code": 17}]')),
    *(
        error(f"{json.dumps(value)} for a list", NO_LIST, with_entries(value))
        for value in (None, False, 0, "", "none", {}, {"0": {}})
    ),
    error("no entries", NO_LIST, with_entries(...)),
    *(
        error(f"{json.dumps(value)} among the entries", NO_OBJECTS, with_entries([{"at": "2025-03-05"}, value]))
        for value in (1, "text", [], [{}], False)
    ),
    error("an error in the body", "error: internal_error", error_body(b'{"error":"internal_error","entries":[]}')),
    error("an error and nothing else", "error: internal_error", error_body(b'{"error":"internal_error"}')),
    error("an error of another kind", NO_LIST, error_body(b'{"ok":false,"message":"try later"}')),
    error("errors", NO_LIST, error_body(b'{"data":null,"errors":[{"message":"no"}]}')),
]

SYNTAX = [
    error("a comma too many", NO_JSON, substituted(b'"}]', b'"},]')),
    error("a comma too few", NO_JSON, substituted(b'","', b'" "')),
    error("single quotes", NO_JSON, changed(lambda body: body.replace(b'"', b"'"))),
    error("a comment", NO_JSON, changed(lambda body: b"/* entries */" + body)),
    error("a function call", NO_JSON, changed(lambda body: b"callback(" + body + b");")),
    error("a guard against scripts", NO_JSON, changed(lambda body: b")]}',\n" + body)),
    error("two documents", NO_JSON, changed(lambda body: body + body)),
    error("a document for each line", NO_JSON, content(b'{"at":1}\n{"at":2}\n', "application/x-ndjson")),
    error("half a document", NO_JSON, changed(lambda body: body[: len(body) // 2])),
    error("the end of a document", NO_JSON, changed(lambda body: body[len(body) // 2 :])),
    error("the word undefined", NO_JSON, with_entries(...), substituted(b"{", b'{"entries":undefined,')),
    error("nesting without end", "nested too deeply", content(b"[" * 100_000)),
    error("an entry nested too deeply", "nested too deeply", substituted(b'"login"', b"[" * 9**5 + b"]" * 9**5)),
    error("bytes that are no text", NO_JSON, content(bytes(range(256)))),
]

RESPONSES = [*STATUSES, *CONNECTIONS, *PROTOCOLS, *ENCODINGS, *CONTENTS, *SYNTAX]
