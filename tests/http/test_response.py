"""Answers: JSON in every form that vendors send it, links, and what messages quote."""

from __future__ import annotations

import codecs
import json
import logging
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from grove.exceptions import RequestFailedException
from grove.http import Response
from grove.logging import register_secret


def answer(body: bytes, **headers: str) -> Response:
    fields = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Response("GET", "https://api.example.com/events?token=hidden", 200, CaseInsensitiveDict(fields), body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":[1,2.5,"x",null,true]}', {"a": [1, 2.5, "x", None, True]}),
        (b" [] ", []),
        (b"18446744073709551615", 18446744073709551615),
        (b"18446744073709551616", 18446744073709551616),
        (b'{"id":-9223372036854775809}', {"id": -9223372036854775809}),
        (b"[123456789012345678901234567890]", [123456789012345678901234567890]),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b"[1,\n 123456789012345678901234567890]", [1, 123456789012345678901234567890]),
        (b'{"id":"123456789012345678901234567890"}', {"id": "123456789012345678901234567890"}),
        (b"[0.1234567890123456789012]", [0.1234567890123456789012]),
        (b"[1e400, -1e400]", [math.inf, -math.inf]),
        (b"[Infinity, -Infinity]", [math.inf, -math.inf]),
        (b'["\\ud800"]', ["\ud800"]),
        (b'{"a":1,"a":2}', {"a": 2}),
        ('["é", "\u2028", "😀"]'.encode(), ["é", "\u2028", "😀"]),
        (b"[" * 500 + b"]" * 500, None),
    ],
)
def test_json(body: bytes, value: Any) -> None:
    found = answer(body).json()
    assert found == (json.loads(body) if value is None else value)


def test_nan() -> None:
    assert math.isnan(answer(b"[NaN]").json()[0])


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", b""),
    ],
)
def test_byte_order_marks_and_what_follows_without_them(encoding: str, mark: bytes) -> None:
    assert answer(mark + '{"é":1}'.encode(encoding)).json() == {"é": 1}


@pytest.mark.parametrize("charset", ["iso-8859-1", '"ISO-8859-1"', "latin1 ; x=y", "windows-1252"])
def test_declared_charsets(charset: str) -> None:
    assert answer('["é"]'.encode("latin-1"), Content_Type=f"application/json; charset={charset}").json() == ["é"]


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "no-such", "hex", "rot13", "undefined"])
def test_a_charset_that_is_none_is_utf8(charset: str) -> None:
    assert answer('["é"]'.encode(), Content_Type=f"application/json; charset={charset}").json() == ["é"]


def test_invalid_bytes_are_replaced_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert answer(b'["a\xff\xe9b"]').json() == ["a\ufffd\ufffdb"]
    [record] = caplog.records
    assert vars(record)["event"] == "invalid_bytes"
    assert vars(record)["address"] == "api.example.com/events"


@pytest.mark.parametrize(
    ("body", "headers", "what"),
    [
        (b"", {}, "an empty body"),
        (b"  \n", {}, "an empty body"),
        (b'{"a":1', {}, "no JSON (JSONDecodeError at character 6)"),
        (b"{} {}", {}, "no JSON (JSONDecodeError at character 3)"),
        (b"<html>", {"Content_Type": "text/html"}, "an HTML page"),
        (b"[" * 200_000, {}, "no JSON (it is nested too deeply)"),
        (b"[" + b"1" * 5_000 + b"]", {}, "no JSON (it has a number that is too long)"),
        (b"\xff\xfe\x00", {}, "no JSON"),
    ],
)
def test_what_is_no_json(body: bytes, headers: dict[str, str], what: str) -> None:
    with pytest.raises(RequestFailedException) as caught:
        answer(body, **headers).json()
    assert str(caught.value).startswith(f"GET api.example.com/events answered status 200 with {what}")
    assert caught.value.__context__ is None


def test_the_same_object_at_every_call() -> None:
    page = answer(b'{"a":1}')
    assert page.json() is page.json()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.sampled_from([None, 1]), st.booleans())
def test_json_is_what_the_standard_module_reads(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    body = text.encode("utf-8", "surrogatepass")
    found = answer(body).json()
    if "\ufffd" not in json.dumps(found, ensure_ascii=False):
        assert found == json.loads(text)


@pytest.mark.parametrize(
    ("link", "links"),
    [
        ("", {}),
        ('<https://api.example.com/x?a=1,2&b=%2C>; rel="next"', {"next": "https://api.example.com/x?a=1,2&b=%2C"}),
        ('<https://a/1>; rel="self", <https://a/2>; rel="next"', {"self": "https://a/1", "next": "https://a/2"}),
        ("<https://a/2>;rel=next", {"next": "https://a/2"}),
        ("<https://a/2> ; title=\"a, b; c\" ; REL = Next", {"next": "https://a/2"}),
        ('</relative?x=1>; rel="prev next"', {"prev": "/relative?x=1", "next": "/relative?x=1"}),
        ('<https://a/1>; rel="next", <https://a/2>; rel="next"', {"next": "https://a/1"}),
        ('<https://a/1>; rel="next"; rel="last"', {"next": "https://a/1"}),
        ('<https://a/1>; title="\\"quoted\\", <https://evil/>; rel=next"; rel="self"', {"self": "https://a/1"}),
        ("<https://a/1>", {}),
        ("nonsense, <", {}),
        ('<>; rel="next"', {"next": ""}),
    ],
)  # fmt: skip
def test_links(link: str, links: dict[str, str]) -> None:
    assert answer(b"", Link=link).links() == links


def test_links_in_linear_time() -> None:
    assert answer(b"", Link='<https://a/1>; a="' * 20_000).links() == {}


def test_headers_whatever_their_case() -> None:
    page = answer(b"", X_RateLimit_Remaining="3")
    assert page.headers["x-ratelimit-remaining"] == "3"


def test_what_messages_quote() -> None:
    register_secret("s3cr3t-token")
    page = answer(b'{\n "error":\t"s3cr3t-token was refused"\x1b[31m}' + b"x" * 500)
    assert page.excerpt().startswith(r'{ "error": "[redacted] was refused"\x1b[31m}xxx')
    assert len(page.excerpt()) == 200
    assert answer(b"<html>secret", Content_Type="text/html").excerpt() == ""


def test_a_secret_at_the_edge_is_not_half_shown() -> None:
    register_secret("s3cr3t-token")
    assert "s3cr" not in answer(b"x" * 195 + b"s3cr3t-token").excerpt()


def test_repr_shows_neither_query_nor_body() -> None:
    assert repr(answer(b"hidden")) == "<Response 200 of GET api.example.com/events, 6 bytes>"
