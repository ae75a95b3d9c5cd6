"""R11, answers that no one wrote: whatever a server sends is an answer or an error of ours."""

from __future__ import annotations

import gzip
import random

import pytest

from grove.exceptions import GroveException
from grove.http import Client
from tests.http.conftest import Clock, Serve
from tests.http.server import Received, Sent, reply

BODY = b'{"entries":[{"id":1,"at":"2026-11-24T12:00:00Z"},{"id":123456789012345678901234567890}],"next":"a%2Bb"}'
HEADERS = {"Link": '</x?cursor=2>; rel="next"', "Retry-After": "5", "Date": "Tue, 24 Nov 2026 12:00:00 GMT"}
ANSWERS = [
    reply(BODY, headers=HEADERS),
    reply(BODY, headers=HEADERS, framing="chunked"),
    reply(BODY, framing="close"),
    reply(gzip.compress(BODY), headers={"Content-Encoding": "gzip"}),
    reply(gzip.compress(BODY), headers={"Content-Encoding": "deflate"}, framing="chunked"),
    reply(b"", 302, {"Location": "/elsewhere?cursor=2"}),
    reply(b'{"error":"slow down"}', 429, HEADERS),
    reply(b"<html>", 403, {"Content-Type": "text/html; charset=utf-16"}),
]
TOKENS = [b"\r\n", b"\n", b"\x00", b"\xff", b":", b"0", b"9" * 30, b"9" * 5_000, b"-1", b"chunked", b"gzip", b"br"]
TOKENS += [b"Content-Length: 7\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"; charset=hex", b"//evil.example"]
TOKENS += [b"{", b"]", b'"', b"\\ud800", b"NaN", b"<"]


def mutated(answer: bytes, source: random.Random) -> bytes:
    """`answer` with up to four things done to it that nobody would think of."""
    data = bytearray(answer)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(data) + 1)
        match source.randrange(4):
            case 0:
                data[at:at] = source.choice(TOKENS)
            case 1:
                del data[at : at + source.randint(1, 20)]
            case 2 if at < len(data):
                data[at] = source.randrange(256)
            case _:
                data[at:at] = data[at : at + source.randint(1, 30)]
    return bytes(data)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("seed", "count"),
    [
        *((seed, 150) for seed in range(6)),
        *(pytest.param(seed, 2_000, marks=pytest.mark.long) for seed in range(6, 16)),
    ],
)
def test_whatever_is_sent_is_an_answer_or_an_error_of_ours(serve: Serve, still: Clock, seed: int, count: int) -> None:
    source = random.Random(seed)
    sent: list[bytes] = []

    def answer(request: Received) -> Sent:
        sent.append(mutated(source.choice(ANSWERS).data, source))
        return Sent(sent[-1], "close")

    server = serve(answer)
    client = Client(server.url, attempts=1, stop=still.stop)
    answered = 0
    for _ in range(count):
        # So that no failures of before count.
        still.elapsed += 1_000
        try:
            page = client.get("/")
            page.links()
            page.excerpt()
            page.json()
            answered += 1
        except GroveException:
            continue
        except BaseException:
            print(f"seed {seed}: {sent[-1]!r}")
            raise
    assert 0 < answered < count
