"""R14, nothing that is secret comes out again: not in errors, their causes, reprs or logs, on any way to fail."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import socket
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from grove import logging as grove_logging
from grove.exceptions import GroveException
from grove.http import Auth, Basic, Bearer, Client, Header, OAuth2, SignedJwt
from tests.http.certificates import key, pem
from tests.http.conftest import Clock, Serve
from tests.http.server import Received, Sent, reply

# With characters that each encoding writes in its own way.
TOKEN = 'canary-token/+=&%"x'
PASSWORD = "canary-pässword ~'q"
CLIENT_SECRET = "canary-client+secret/=="
REFRESH_TOKEN = "canary-refresh%2Btoken"
CURSOR = "canary-cursor=&+"
COOKIE = "canary-cookie"
PROXY_PASSWORD = "canary-proxy"
SECRETS = [TOKEN, PASSWORD, CLIENT_SECRET, REFRESH_TOKEN, CURSOR, COOKIE, PROXY_PASSWORD]


def forms(secret: str) -> set[str]:
    """How a secret may be written."""
    data = secret.encode()
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        urllib.parse.quote(secret),
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        data.hex(),
        ascii(secret)[1:-1],
    }


def found_in(text: str, secrets: list[str]) -> list[str]:
    return [form for secret in secrets for form in forms(secret) if form in text] + ["canary"] * ("canary" in text)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, hook = logging.getLogger(), threading.excepthook
    handlers, level = root.handlers, root.level
    chatty = {name: logging.getLogger(name).level for name in grove_logging._CHATTY}
    yield
    logging.captureWarnings(False)
    root.handlers, threading.excepthook = handlers, hook
    root.setLevel(level)
    for name, before in chatty.items():
        logging.getLogger(name).setLevel(before)


def failed(ask: Callable[[], object]) -> tuple[str, str]:
    """All that can be read of the error with which `ask` ends and of its causes, and what a process logs of it."""
    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        grove_logging.configure({}, "DEBUG")
        try:
            ask()
        except GroveException as err:
            logging.getLogger("grove").exception("It failed.")
            seen: list[BaseException] = []
            queue: list[BaseException | None] = [err]
            while queue:
                one = queue.pop()
                if one is not None and one not in seen:
                    seen.append(one)
                    queue += [one.__cause__, one.__context__]
            assert "It failed." in log.getvalue()
            return "".join([*traceback.format_exception(err), *map(repr, seen), *map(str, seen)]), log.getvalue()
    raise AssertionError("It did not fail.")


def echo(request: Received) -> Sent:
    """An error that repeats the whole request, as some gateways do."""
    return reply(json.dumps({"request": request.raw.decode("latin-1").replace(CURSOR, "")}).encode(), 400)


ANSWERS: dict[str, Sent | Callable[[Received], Sent]] = {
    "refused": reply(b'{"error":"bad credentials"}', 401),
    "forbidden": reply(b"", 403),
    "echo of the headers": lambda request: reply(request.headers["authorization"].encode(), 403),
    "limited": reply(status=429, headers={"Retry-After": "9999"}),
    "out of order": reply(status=500),
    "reset": Sent(b"", "reset"),
    "closed": Sent(b"", "close"),
    "no status": Sent(b"canary-cookie\r\n\r\n", "close"),
    "no HTTP": Sent(b"\x00\x01canary\xff" * 100, "close"),
    "cut off": reply(b'{"a":"canary-cookie"}', cut=-5),
    "cut off in a chunk": reply(b'{"a":"canary-cookie"}', framing="chunked", cut=-5),
    "bad chunk": Sent(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ncanary\r\nx", "close"),
    "login page": reply(b"<html>canary-cookie", content_type="text/html"),
    "no JSON": reply(b"canary-cookie{"),
    "bad header": Sent(b"HTTP/1.1 200 OK\r\nno separator canary\r\nContent-Length: 2\r\n\r\n{", "close"),
    "long header": Sent(b"HTTP/1.1 200 OK\r\nX: " + b"canary" * 20_000, "close"),
    "many headers": Sent(b"HTTP/1.1 200 OK\r\n" + b"X: canary\r\n" * 200, "close"),
    "not packed": reply(b"canary-cookie", headers={"Content-Encoding": "gzip"}),
    "redirect": reply(b"", 302, {"Location": "https://canary-pw@evil.example/?token=canary", "Set-Cookie": COOKIE}),
    "redirect in circles": reply(b"", 302, {"Location": "/again?token=canary"}),
    "cookie": reply(b"[]", 404, {"Set-Cookie": f"session={COOKIE}"}),
}
HEADERS: dict[str, Callable[[], Auth]] = {
    "bearer": lambda: Bearer(TOKEN),
    "header": lambda: Header("Authorization", TOKEN, "SSWS"),
    "basic": lambda: Basic("me", PASSWORD),
}


@pytest.mark.parametrize("credentials", HEADERS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_the_vendor_answers(serve: Serve, still: Clock, answer: str, credentials: str) -> None:
    server = serve(ANSWERS[answer])
    client = Client(server.url, HEADERS[credentials](), stop=still.stop)
    text, log = failed(lambda: client.get("/events", params={"cursor": CURSOR}).json())
    text += repr(client) + repr(client._auth)
    assert f"127.0.0.1:{server.port}/events" in text or "/again" in text
    assert found_in(text, SECRETS) == []
    assert found_in(log, SECRETS) == []


def test_the_canaries_would_be_seen(serve: Serve, still: Clock) -> None:
    server = serve(reply(b'{"error":"canary-unknown"}', 400))
    text, log = failed(lambda: Client(server.url, stop=still.stop).get("/"))
    assert found_in(text, SECRETS) == ["canary"]
    assert found_in(log, [*SECRETS, "unknown"]) == ["unknown", "canary"]


@pytest.mark.parametrize(
    "answer",
    [
        reply(b'{"error":"invalid_client"}', 401),
        reply(b'{"error":"invalid_grant"}', 400),
        echo,
        reply(b'{"ok":false}'),
        reply(b'{"refresh_token":"canary-cookie","scope":"canary"}'),
        reply(b"canary{"),
        reply(status=500),
        reply(status=429, headers={"Retry-After": "9999"}),
        Sent(b"", "reset"),
        reply(b'{"access_token":"canary', cut=-5),
    ],
)
@pytest.mark.parametrize("style", ["form", "basic", "json"])
def test_whatever_the_token_endpoint_answers(serve: Serve, still: Clock, answer: Any, style: Any) -> None:
    auth = OAuth2(
        serve(answer).url,
        "refresh_token",
        client_id="me",
        client_secret=CLIENT_SECRET,
        refresh_token=REFRESH_TOKEN,
        style=style,
    )
    text, log = failed(lambda: Client(serve(reply()).url, auth, stop=still.stop).get("/"))
    assert found_in(text + log + repr(auth), SECRETS) == []


def test_a_token_that_the_api_repeats(serve: Serve, still: Clock) -> None:
    tokens = serve(reply(json.dumps({"access_token": TOKEN, "refresh_token": REFRESH_TOKEN}).encode()))
    api = serve(lambda request: reply(request.headers["authorization"].encode(), 403))
    auth = OAuth2(tokens.url, client_id="me", client_secret=CLIENT_SECRET)
    text, log = failed(lambda: Client(api.url, auth, stop=still.stop).get("/"))
    assert "saying: Bearer [redacted]" in text
    assert found_in(text + log, SECRETS) == []


def test_a_private_key(serve: Serve, still: Clock) -> None:
    tokens = serve(lambda request: reply(request.body, 400))
    account = {"client_email": "robot@example.com", "private_key": pem(key(2)), "token_uri": tokens.url}
    document = json.dumps(account)
    text, log = failed(lambda: SignedJwt.google(document, ["s"]).apply({}, still.stop))
    assert [line for line in pem(key(2)).splitlines() if line in text + log] == []
    # What was signed with it is a credential for an hour.
    signed = tokens.received[0].body.decode().partition("assertion=")[2]
    assert "assertion=[redacted]" in text
    assert signed[:20] not in text + log


@pytest.mark.parametrize("value", [f"{TOKEN}\n", f" {TOKEN}", f"{TOKEN}é"])
def test_a_credential_that_cannot_be_sent(value: str) -> None:
    assert found_in("".join(failed(lambda: Bearer(value))), SECRETS) == []


def test_a_header_that_cannot_be_sent(serve: Serve, still: Clock) -> None:
    for value in ("canary\r\nX: y", "canary\u20ac"):
        client = Client(serve(reply()).url, headers={"X-Trace": value}, stop=still.stop)
        assert found_in("".join(failed(lambda client=client: client.get("/"))), SECRETS) == []


def test_a_name_that_does_not_exist(still: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    client = Client("https://nowhere.example", Bearer(TOKEN), stop=still.stop)
    text, log = failed(lambda: client.get("/events", params={"cursor": CURSOR}))
    assert found_in(text + log, SECRETS) == []


def test_a_proxys_password(serve: Serve, still: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = reply(b"canary", 407, headers={"Proxy-Authenticate": "Basic canary"})
    proxy = serve(refusal)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//me:{PROXY_PASSWORD}@"))
    text, log = failed(lambda: Client("https://api.example.com", Bearer(TOKEN), stop=still.stop).get(f"/x?c={CURSOR}"))
    assert found_in(text + log, SECRETS) == []
    assert len(proxy.received) == 5


def test_log_lines_stay_lines(serve: Serve, still: Clock) -> None:
    server = serve(reply(b'\r\n{"level":"ERROR","message":"forged"}\x1b[2J\x00', 500))
    text, log = failed(lambda: Client(server.url, attempts=2, stop=still.stop).get("/events"))
    assert r"\x1b[2J\x00" in text
    lines = log.splitlines()
    assert [json.loads(line)["service"] for line in lines] == ["grove"] * len(lines)
    assert not any(json.loads(line)["message"] == "forged" for line in lines)
