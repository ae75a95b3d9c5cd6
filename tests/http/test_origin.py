"""R13, credentials stay at home: links, redirects and addresses that lead elsewhere are not followed."""

from __future__ import annotations

import contextlib
import json
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grove.exceptions import RequestFailedException
from grove.http import Bearer, Client, next_link, same_origin
from grove.http.origin import shown
from tests.http.conftest import Serve
from tests.http.server import Received, Sent, Server, reply

BASE = "https://api.example.com/v1/events"

SAME = [
    ("https://api.example.com/v1/events?cursor=a%2Bb%26c%3Dd", None),
    ("https://API.example.com/x", "https://API.example.com/x"),
    ("HTTPS://api.example.com/x", "https://api.example.com/x"),
    ("https://api.example.com:443/x", None),
    ("?cursor=2", "https://api.example.com/v1/events?cursor=2"),
    ("?cursor=%41%2e+~", "https://api.example.com/v1/events?cursor=%41%2e+~"),
    ("/v2/events?page=2", "https://api.example.com/v2/events?page=2"),
    ("next?page=2", "https://api.example.com/v1/next?page=2"),
    ("//api.example.com/x", "https://api.example.com/x"),
    ("https://api.example.com/x#part", "https://api.example.com/x"),
    ("@evil.example/x", "https://api.example.com/v1/@evil.example/x"),
    ("/x?u=https://evil.example/", "https://api.example.com/x?u=https://evil.example/"),
    ("/x?u=user@evil.example", "https://api.example.com/x?u=user@evil.example"),
]


@pytest.mark.parametrize(("link", "target"), SAME)
def test_links_at_home_are_resolved_and_otherwise_left_as_they_are(link: str, target: str | None) -> None:
    assert next_link(BASE, link) == (target or link)


ELSEWHERE = [
    "https://evil.example/",
    "https://evil.example/?u=https://api.example.com/",
    "https://evil.example/#https://api.example.com/",
    "https://evil.example#@api.example.com/",
    "https://evil.example/https://api.example.com/v1/events",
    "https://api.example.com.evil.example/",
    "https://evilapi.example.com/",
    "https://example.com/",
    "https://x.api.example.com/",
    "https://api.example.com./x",
    "https://api.example.com:8443/x",
    "https://api.example.com:80/x",
    "https://api.example.com:99999/x",
    "https://api.example.com:x/x",
    "http://api.example.com/x",
    "http://api.example.com:443/x",
    "ftp://api.example.com/x",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/plain,x",
    "https:",
    "https://",
    "https:///x",
    "https:/evil.example",
    "//evil.example/x",
    "///evil.example/x",
    "//evil.example:443/x",
    "//user@evil.example/x",
    "https://user@api.example.com/x",
    "https://user:pw@api.example.com/x",
    "https://@api.example.com/x",
    "https://api.example.com@evil.example/x",
    "https://api.example.com:pw@evil.example/x",
    "https://api.example.com%40evil.example/x",
    "https://api.example.com%2eevil.example/x",
    "https://api%2eexample.com/x",
    "https://api.example.com%00.evil.example/x",
    "https://api.example.com\\@evil.example/x",
    "https://evil.example\\@api.example.com/x",
    "https:\\\\evil.example\\x",
    "\\\\evil.example\\x",
    "/\\evil.example/x",
    "https://api.example.com;@evil.example/",
    "https://api.example.com,evil.example/x",
    "https://api.example.com/x\r\nHost: evil.example",
    "https://api.example.com/x\nX-Evil: 1",
    "https://api.example.com/a b",
    "https://api.exa\tmple.com/x",
    "\thttps://api.example.com/x",
    " //evil.example/x",
    "https://api.example.com/\x00x",
    "https://api.example.com/\x7fx",
    "https://\u0430pi.example.com/x",
    "https://api\u3002example\u3002com/x",
    "https://ⓐpi.example.com/x",
    "https://api.example.com\uff0fevil.example/x",
    "https://xn--pi-7kc.example.com/x",
    "https://[::1]/x",
    "https://[api.example.com]/x",
    "https://[::1",
    "https://127.0.0.1/x",
    "https://2130706433/x",
    "https://0x7f.1/x",
    "https://api.example.com/é",
]


@pytest.mark.parametrize("link", ELSEWHERE)
def test_links_that_lead_elsewhere_are_refused(link: str) -> None:
    with pytest.raises(RequestFailedException, match=r"A link in the answer of api\.example\.com/v1/events is not"):
        next_link(BASE, link)
    assert not same_origin(link, BASE)


def test_an_empty_link_is_no_link() -> None:
    with pytest.raises(RequestFailedException, match="it is empty"):
        next_link(BASE, "")


def test_the_error_names_the_other_host_and_nothing_else() -> None:
    with pytest.raises(RequestFailedException) as caught:
        next_link(BASE, "https://me:pw@evil.example:81/secret?token=hidden")
    assert "it has a user name" in str(caught.value)
    with pytest.raises(RequestFailedException) as caught:
        next_link(BASE, "https://evil.example:81/secret?token=hidden")
    assert str(caught.value).endswith("is not followed: it leads to another origin (evil.example:81).")


@pytest.mark.parametrize(
    ("base", "link", "same"),
    [
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/y", True),
        ("http://127.0.0.1:8080/x", "https://127.0.0.1:8080/y", False),
        ("http://127.0.0.1/x", "http://127.0.0.1:80/y", True),
        ("http://[::1]:8080/x", "http://[::1]:8080/y", True),
        ("http://[::1]:8080/x", "http://[::2]:8080/y", False),
        ("https://[::1]/x", "https://[::1]:443/y", True),
        ("https://api.example.com", "https://api.example.com/", True),
        ("api.example.com", "api.example.com", False),
        ("ftp://api.example.com", "ftp://api.example.com", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(base: str, link: str, same: bool) -> None:
    assert same_origin(link, base) is same


HOSTS = st.sampled_from(["api.example.com", "evil.example", "API.EXAMPLE.COM", "api.example.com.", "[::1]", "", "x"])
PARTS = st.lists(
    st.one_of(
        HOSTS,
        st.sampled_from(
            ["https:", "http:", "//", "/", "\\", "@", ":", ":443", ":80", "?", "#", "%2f", "%40", "..", ";"]
        ),
        st.text(max_size=3),
    ),
    max_size=8,
).map("".join)


@given(PARTS)
def test_whatever_is_followed_is_at_home(link: str) -> None:
    follows_only_home(link)


@pytest.mark.long
@settings(max_examples=100_000, deadline=None, database=None)
@given(PARTS)
def test_whatever_is_followed_is_at_home_always(link: str) -> None:
    follows_only_home(link)


def follows_only_home(link: str) -> None:
    """Whatever is followed is on the base's origin, as `urlsplit` sees it."""
    try:
        target = next_link(BASE, link)
    except RequestFailedException:
        return
    parts = urlsplit(target)
    assert (parts.scheme, parts.netloc.lower()) in {
        ("https", "api.example.com"),
        ("https", "api.example.com:443"),
        ("https", "api.example.com:"),
    }
    assert target.isascii()
    assert target.isprintable()


# --- at the receiving server ---

TOKEN = "abcdefghij"


def redirect(location: str, status: int = 302) -> Sent:
    return reply(b"", status, {"Location": location})


def assert_unasked(server: Server) -> None:
    assert server.connections == 0
    assert server.bytes_received == b""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_is_not_followed(serve: Serve, status: int) -> None:
    other = serve(reply())
    server = serve(redirect(f"{other.url}/events", status))
    with pytest.raises(RequestFailedException, match="it leads to another origin"):
        Client(server.url, Bearer(TOKEN)).get("/events")
    assert_unasked(other)


def test_another_name_for_the_same_server_is_another_origin(serve: Serve) -> None:
    server = serve(lambda request: redirect(f"http://localhost:{server.port}/events"))
    with pytest.raises(RequestFailedException, match="it leads to another origin"):
        Client(server.url, Bearer(TOKEN)).get("/")
    assert len(server.received) == 1


def test_a_chain_of_redirects_may_not_leave(serve: Serve) -> None:
    other = serve(reply())
    server = serve(redirect("/second"), redirect("third"), redirect(f"//127.0.0.1:{other.port}/x"))
    with pytest.raises(RequestFailedException, match="it leads to another origin"):
        Client(server.url, Bearer(TOKEN)).get("/first")
    assert [request.target for request in server.received] == ["/first", "/second", "/third"]
    assert_unasked(other)


def test_redirects_at_home_are_followed(serve: Serve) -> None:
    server = serve(redirect("/v2/events?a=%2B"), redirect("events/"), reply(b'{"ok":true}'))
    answer = Client(server.url, Bearer(TOKEN)).get("/v1/events")
    assert answer.url == f"{server.url}/v2/events/"
    assert [request.target for request in server.received] == ["/v1/events", "/v2/events?a=%2B", "/v2/events/"]
    assert {request.headers["authorization"] for request in server.received} == {f"Bearer {TOKEN}"}


def test_redirects_are_bounded(serve: Serve) -> None:
    server = serve(redirect("/again"))
    with pytest.raises(RequestFailedException, match="redirect number 6 in a row"):
        Client(server.url).get("/")
    assert len(server.received) == 6


def test_only_a_get_follows_a_redirect(serve: Serve) -> None:
    server = serve(redirect("/elsewhere", 307))
    with pytest.raises(RequestFailedException, match="a redirect, which only a GET may follow") as caught:
        Client(server.url).post("/", json={})
    assert caught.value.status == 307
    assert len(server.received) == 1


def test_a_redirect_to_nowhere(serve: Serve) -> None:
    with pytest.raises(RequestFailedException, match="a redirect without an address"):
        Client(serve(reply(b"", 302)).url).get("/")


def test_a_redirect_may_be_what_the_caller_wants(serve: Serve) -> None:
    server = serve(redirect("/elsewhere"))
    assert Client(server.url).get("/", accept=[302]).headers["location"] == "/elsewhere"


@pytest.mark.parametrize("way", ["redirect", "link", "body"])
@pytest.mark.parametrize("link", ELSEWHERE)
def test_nothing_arrives_elsewhere(serve: Serve, monkeypatch: pytest.MonkeyPatch, link: str, way: str) -> None:
    # Through a proxy that every request passes, whichever host it is for; without TLS, so that it sees the host.
    link = link.replace("https:", "http:") if not link.startswith("http:") else link.replace("http:", "https:")

    def answer(request: Received) -> Sent:
        if way == "redirect":
            return redirect(link)
        if way == "link":
            return reply(headers={"Link": f'<{link}>; rel="next"'})
        return reply(json.dumps({"next": link}).encode())

    proxy = serve(answer)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    client = Client("http://api.example.com", Bearer(TOKEN), attempts=1)
    with contextlib.suppress(RequestFailedException, KeyError):
        page = client.get("/v1/events")
        client.get(next_link(page.url, page.json().get("next") or page.links()["next"]))
    assert proxy.received != []
    for request in proxy.received:
        assert request.target.startswith(("http://api.example.com/", "http://api.example.com:80/"))
        assert request.headers["host"].removesuffix(":80") == "api.example.com"


@pytest.mark.parametrize("link", ["http://127.0.0.1:{port}/x", "//127.0.0.1:{port}/x", "//a@127.0.0.1:{port}/x"])
def test_a_next_link_to_another_server(serve: Serve, link: str) -> None:
    other = serve(reply())

    def answer(request: Received) -> Sent:
        return reply(headers={"Link": f'<{link.format(port=other.port)}>; rel="next"'})

    server = serve(answer)
    page = Client(server.url, Bearer(TOKEN)).get("/")
    with pytest.raises(RequestFailedException):
        next_link(page.url, page.links()["next"])
    assert_unasked(other)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://api.example.com/a/b?token=hidden#x", "api.example.com/a/b"),
        ("https://me:pw@api.example.com:81/a", "api.example.com:81/a"),
        ("https://api.example.com/\n\x1b[31m", r"api.example.com/\x1b[31m"),
        ("/events?x=1", "/events"),
        ("https://[::1", "(no address)"),
        ("https://api.example.com/" + "a" * 500, "api.example.com/" + "a" * 184),
    ],
)
def test_what_messages_show_of_an_address(url: str, text: str) -> None:
    assert shown(url) == text
