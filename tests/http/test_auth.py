"""Credentials: where they go, how long tokens are kept, and what becomes of refused ones."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from grove.exceptions import ConfigurationException, RequestFailedException, StoppedError
from grove.http import Auth, Basic, Bearer, Client, Header, OAuth2, SignedJwt, _tokens
from grove.logging import redact
from tests.http.certificates import key, pem
from tests.http.conftest import START, Clock, Serve
from tests.http.server import Received, Sent, reply


def applied(auth: Auth) -> dict[str, str]:
    headers: dict[str, str] = {}
    auth.apply(headers)
    return headers


# --- what stands in the document ---


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (Bearer("abc-123"), "Authorization", "Bearer abc-123"),
        (Header("Authorization", "00abc", "SSWS"), "Authorization", "SSWS 00abc"),
        (Header("Authorization2", "raw key"), "Authorization2", "raw key"),
        (Header("Authorization", "k" * 8, "Token token="), "Authorization", "Token token= kkkkkkkk"),
        (Basic("me", "pässword:x"), "Authorization", "Basic " + base64.b64encode("me:pässword:x".encode()).decode()),
    ],
)
def test_headers(auth: Auth, name: str, value: str) -> None:
    assert applied(auth) == {name: value}
    assert auth.renew({name: value}) is False


@pytest.mark.parametrize("make", [lambda: Bearer(""), lambda: Header("X-Key", ""), lambda: Basic("a:b", "pw")])
def test_credentials_that_cannot_work(make: Any) -> None:
    with pytest.raises(ConfigurationException):
        make()


def test_credentials_are_kept_out_of_logs() -> None:
    Bearer("bearer-token")
    Header("X-Key", "header-value")
    Basic("me", "basic-password")
    pair = base64.b64encode(b"me:basic-password").decode()
    text = redact(f"bearer-token header-value basic-password {pair} me")
    assert text == "[redacted] [redacted] [redacted] [redacted] me"


# --- OAuth 2.0 ---


class Vendor:
    """An API and its token endpoint; accepts the tokens of `valid`, by default all that it issued."""

    def __init__(self, serve: Serve, **answer: Any) -> None:
        self.issued: list[str] = []
        self.revoked: set[str] = set()
        self.answer: dict[str, Any] = {"expires_in": 3600, "token_type": "bearer", **answer}
        self.tokens = serve(self._issue)
        self.api = serve(self._api)

    def _issue(self, request: Received) -> Sent:
        self.issued.append(f"token-{len(self.issued) + 1}")
        return reply(json.dumps({"access_token": self.issued[-1], **self.answer}).encode())

    def _api(self, request: Received) -> Sent:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.issued or token in self.revoked:
            return reply(b'{"error":"invalid_token"}', 401)
        return reply(json.dumps({"token": token}).encode())

    def auth(self, **options: Any) -> OAuth2:
        return OAuth2(f"{self.tokens.url}/token", **{"client_id": "me", "client_secret": "s3cr3t", **options})

    def client(self, **options: Any) -> Client:
        return Client(self.api.url, self.auth(**options))


@pytest.fixture
def vendor(serve: Serve) -> Vendor:
    return Vendor(serve)


def form_of(request: Received) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode()))


def test_client_credentials_in_a_form(vendor: Vendor) -> None:
    assert vendor.client(scope="logs.read").get("/").json() == {"token": "token-1"}
    [request] = vendor.tokens.received
    assert (request.method, request.target) == ("POST", "/token")
    assert "authorization" not in request.headers
    assert form_of(request) == {
        "grant_type": "client_credentials",
        "scope": "logs.read",
        "client_id": "me",
        "client_secret": "s3cr3t",
    }


def test_client_credentials_in_a_header(vendor: Vendor) -> None:
    auth = vendor.auth(grant="account_credentials", fields={"account_id": "a1"}, style="basic")
    Client(vendor.api.url, auth).get("/")
    [request] = vendor.tokens.received
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"me:s3cr3t").decode()
    assert form_of(request) == {"grant_type": "account_credentials", "account_id": "a1"}


def test_client_credentials_in_json(vendor: Vendor) -> None:
    vendor.client(style="json", fields={"account_id": "7"}).get("/")
    [request] = vendor.tokens.received
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "grant_type": "client_credentials",
        "client_id": "me",
        "client_secret": "s3cr3t",
        "account_id": "7",
    }


def test_a_refresh_token_that_is_replaced(serve: Serve, still: Clock) -> None:
    vendor = Vendor(serve, refresh_token="refresh-2")
    offered: list[str] = []
    client = vendor.client(grant="refresh_token", refresh_token="refresh-1", on_refresh_token=offered.append)
    client.get("/")
    still.elapsed += 4_000
    client.get("/")
    assert [form_of(request)["refresh_token"] for request in vendor.tokens.received] == ["refresh-1", "refresh-2"]
    assert offered == ["refresh-2"]
    # Another run, with the document as it still is, goes on with the new one.
    still.elapsed += 4_000
    vendor.client(grant="refresh_token", refresh_token="refresh-1").get("/")
    assert form_of(vendor.tokens.received[-1])["refresh_token"] == "refresh-2"
    assert redact("refresh-1 refresh-2") == "[redacted] [redacted]"


def test_a_new_refresh_token_that_cannot_be_kept_is_offered_again(serve: Serve) -> None:
    vendor = Vendor(serve, refresh_token="refresh-2")
    offered: list[str] = []

    def keep(token: str) -> None:
        offered.append(token)
        if len(offered) == 1:
            vendor.answer["refresh_token"] = "refresh-3"
            raise OSError("disk full")

    client = vendor.client(grant="refresh_token", refresh_token="refresh-1", on_refresh_token=keep)
    with pytest.raises(OSError, match="disk full"):
        client.get("/")
    client.get("/")
    assert offered == ["refresh-2", "refresh-3"]
    assert form_of(vendor.tokens.received[-1])["refresh_token"] == "refresh-2"


def test_a_token_is_kept_for_all_who_have_the_same_credentials(vendor: Vendor) -> None:
    for _ in range(3):
        vendor.client().get("/")
    assert vendor.issued == ["token-1"]
    for options in ({"client_secret": "other"}, {"client_id": "you"}, {"scope": "x"}, {"fields": {"account_id": "2"}}):
        vendor.client(**options).get("/")
    assert len(vendor.issued) == 5


@pytest.mark.parametrize(
    ("stated", "good_for"),
    [(3600, 3_540), ("3600", 3_540), (60, 54), (3600.0, 3_540), (None, 840), ("soon", 840), (0, 840), (-5, 840)],
)
def test_a_token_is_used_until_shortly_before_its_end(serve: Serve, still: Clock, stated: Any, good_for: float) -> None:
    vendor = Vendor(serve, expires_in=stated)
    client = vendor.client()
    client.get("/")
    still.elapsed = good_for - 1
    client.get("/")
    assert len(vendor.issued) == 1
    still.elapsed = good_for + 1
    client.get("/")
    assert len(vendor.issued) == 2


def test_a_refused_token_is_renewed_once(vendor: Vendor) -> None:
    client = vendor.client()
    client.get("/")
    vendor.revoked.add("token-1")
    assert client.get("/").json() == {"token": "token-2"}
    assert len(vendor.api.received) == 3


def test_a_token_that_is_always_refused(serve: Serve, vendor: Vendor) -> None:
    api = serve(reply(b'{"error":"invalid_token"}', 401))
    with pytest.raises(RequestFailedException, match=r"status 401.*Check that the credentials are complete") as caught:
        Client(api.url, vendor.auth()).get("/events")
    assert caught.value.status == 401
    assert len(api.received) == 2
    assert len(vendor.issued) == 2


def test_concurrent_streams_fetch_one_token(vendor: Vendor) -> None:
    begin = threading.Barrier(16)
    tokens: list[str] = []

    def ask() -> None:
        client = vendor.client()
        begin.wait(10)
        tokens.append(client.get("/").json()["token"])

    run_all([threading.Thread(target=ask) for _ in range(16)])
    assert tokens == ["token-1"] * 16
    assert len(vendor.tokens.received) == 1


def test_concurrent_streams_renew_one_token(vendor: Vendor) -> None:
    clients = [vendor.client() for _ in range(16)]
    for client in clients:
        client.get("/")
    vendor.revoked.add("token-1")
    begin = threading.Barrier(16)
    tokens: list[str] = []

    def ask(client: Client) -> None:
        begin.wait(10)
        tokens.append(client.get("/").json()["token"])

    run_all([threading.Thread(target=ask, args=(client,)) for client in clients])
    assert tokens == ["token-2"] * 16
    assert vendor.issued == ["token-1", "token-2"]


def test_a_token_that_came_meanwhile_is_not_dropped(vendor: Vendor) -> None:
    auth = vendor.auth()
    auth.apply({})
    newer = _tokens._Token("newer", float("inf"), {})

    class Lock:
        def __enter__(self) -> None:
            auth._slot.token = newer

        def __exit__(self, *_: object) -> None: ...

    auth._slot.lock = Lock()  # type: ignore[assignment]
    assert auth.renew({"Authorization": "Bearer token-1"})
    assert auth._slot.token is newer


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_token_request_is_retried_like_any_other(serve: Serve, still: Clock) -> None:
    tokens = serve(
        reply(status=503),
        Sent(b"", "reset"),
        reply(status=429, headers={"Retry-After": "9"}),
        reply(b'{"access_token":"abcdef"}'),
    )
    auth = OAuth2(tokens.url, client_id="me", client_secret="s3cr3t")
    headers: dict[str, str] = {}
    auth.apply(headers, still.stop)
    assert headers == {"Authorization": "Bearer abcdef"}
    assert len(still.waits) == 3


def test_waiting_for_another_streams_token_ends_when_the_process_is_to_stop(serve: Serve) -> None:
    stop, asked = threading.Event(), threading.Event()

    def answer(request: Received) -> Sent:
        asked.set()
        return Sent(b"", "hang")

    auth = OAuth2(serve(answer).url, client_id="me", client_secret="s3cr3t")
    ended: list[type[BaseException]] = []

    def ask() -> None:
        try:
            auth.apply({}, stop)
        except Exception as err:
            ended.append(type(err))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert asked.wait(10)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert ended == [StoppedError] * 4


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            reply(b'{"error":"invalid_client","error_description":"unknown me"}', 401),
            'answered status 401, saying: {"error":"invalid_client","error_description":"unknown me"}',
        ),
        (reply(b'{"error":"invalid_grant"}', 400), 'answered status 400, saying: {"error":"invalid_grant"}'),
        (reply(b'{"ok":false,"error":"bad"}'), "answered without an access token, saying: bad"),
        (reply(b'{"access_token":""}'), "answered without an access token."),
        (reply(b'{"access_token":7}'), "answered without an access token."),
        (reply(b"[]"), "answered without an access token."),
        (reply(b"<html>", content_type="text/html"), "answered with an HTML page"),
        (reply(b"nothing"), "with no JSON"),
    ],
)
def test_a_token_that_cannot_be_had(serve: Serve, answer: Sent, text: str) -> None:
    tokens, api = serve(answer), serve(reply())
    auth = OAuth2(f"{tokens.url}/oauth/token", client_id="me", client_secret="s3cr3t-value")
    with pytest.raises(RequestFailedException) as caught:
        Client(api.url, auth).get("/")
    assert text in str(caught.value)
    assert f"127.0.0.1:{tokens.port}/oauth/token" in str(caught.value)
    assert "Check the client id, the client secret" in str(caught.value)
    assert api.connections == 0


def test_the_address_of_the_api_comes_with_the_token(serve: Serve) -> None:
    vendor = Vendor(serve)
    vendor.answer["instance_url"] = f"{vendor.api.url}/tenant"
    client = Client(None, vendor.auth(base_url_field="instance_url"))
    client.get("/services/data")
    assert client.base_url == f"{vendor.api.url}/tenant"
    assert vendor.api.received[0].target == "/tenant/services/data"
    assert len(vendor.issued) == 1


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("instance_url", None, "came without 'instance_url'"),
        ("instance_url", "not an address", "cannot be used"),
        ("instance_url", "https://user@evil.example", "it has a user name"),
    ],
)
def test_an_address_that_is_none(serve: Serve, field: str, value: Any, error: str) -> None:
    vendor = Vendor(serve, **{field: value})
    with pytest.raises((RequestFailedException, ConfigurationException), match=error):
        Client(None, vendor.auth(base_url_field="instance_url")).get("/x")


@pytest.mark.parametrize(
    "missing",
    [
        {"client_id": ""},
        {"client_secret": ""},
        {"grant": "refresh_token"},
        {"grant": "refresh_token", "refresh_token": ""},
    ],
)
def test_what_a_token_needs(missing: dict[str, str]) -> None:
    with pytest.raises(ConfigurationException, match=r"There is no (client_id|client_secret|refresh_token) to ask"):
        OAuth2("https://auth.example.com/token", **{"client_id": "me", "client_secret": "s3cr3t", **missing})


@pytest.mark.parametrize("url", ["http://auth.example.com/token", "http://10.0.0.1/token"])
def test_secrets_are_not_sent_without_tls(url: str) -> None:
    with pytest.raises(ConfigurationException, match="without TLS; use an https address"):
        OAuth2(url, client_id="me", client_secret="s3cr3t")
    with pytest.raises(ConfigurationException, match="without TLS"):
        SignedJwt.google(account(url), ["s"])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_shares_no_locks(vendor: Vendor) -> None:
    vendor.client().get("/")
    with _tokens._slots_lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if not _tokens._slots and not _tokens._slots_lock.locked() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_tokens_of_rotated_credentials_are_dropped_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tokens, "_MOST", 3)
    for number in range(10):
        OAuth2("https://auth.example.com/token", client_id="me", client_secret=f"secret-{number}")
    assert len(_tokens._slots) == 3
    assert "secret" not in "".join(_tokens._slots)


# --- signed tokens ---


def decoded(jwt: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Head and claims of a JWT whose signature `key(2)` made."""
    head, claims, signature = jwt.split(".")
    key(2).public_key().verify(unpadded(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
    return json.loads(unpadded(head)), json.loads(unpadded(claims))


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def account(url: str) -> str:
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "robot@example.iam.gserviceaccount.com",
            "private_key": pem(key(2)),
            "private_key_id": "key-7",
            "token_uri": url,
        }
    )


def test_a_service_account_acts_for_a_user(serve: Serve, still: Clock) -> None:
    vendor = Vendor(serve)
    auth = SignedJwt.google(account(vendor.tokens.url), ["https://scope/a", "https://scope/b"], "admin@example.com")
    client = Client(vendor.api.url, auth)
    assert client.get("/").json() == {"token": "token-1"}
    client.get("/")
    [request] = vendor.tokens.received
    form = form_of(request)
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, claims = decoded(form["assertion"])
    assert head == {"alg": "RS256", "typ": "JWT", "kid": "key-7"}
    issued = int(START.timestamp()) - 10
    assert claims == {
        "iss": "robot@example.iam.gserviceaccount.com",
        "sub": "admin@example.com",
        "scope": "https://scope/a https://scope/b",
        "aud": vendor.tokens.url,
        "iat": issued,
        "exp": issued + 3600,
    }


def test_a_service_account_for_itself(vendor: Vendor) -> None:
    Client(vendor.api.url, SignedJwt.google(account(vendor.tokens.url), ["s"])).get("/")
    assert "sub" not in decoded(form_of(vendor.tokens.received[0])["assertion"])[1]


def test_subjects_have_tokens_of_their_own(vendor: Vendor) -> None:
    for subject in ("a@example.com", "b@example.com", "a@example.com"):
        Client(vendor.api.url, SignedJwt.google(account(vendor.tokens.url), ["s"], subject)).get("/")
    assert len(vendor.issued) == 2


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("xy12345", "XY12345.ADA"),
        ("xy12345.us-east-1", "XY12345.ADA"),
        ("myorg-account", "MYORG-ACCOUNT.ADA"),
        ("acme-ext1.global", "ACME.ADA"),
    ],
)
def test_snowflakes_key_pair(serve: Serve, still: Clock, name: str, subject: str) -> None:
    secret = key(2).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open-sesame")).decode()
    auth = SignedJwt.snowflake(name, "ada", secret, "open-sesame")
    public = key(2).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    fingerprint = base64.b64encode(hashlib.sha256(public).digest()).decode()
    token = applied(auth)["Authorization"].removeprefix("Bearer ")
    _, claims = decoded(token)
    assert (claims["sub"], claims["iss"]) == (subject, f"{subject}.SHA256:{fingerprint}")
    assert claims["exp"] - claims["iat"] == 3600
    still.elapsed = 3_000
    assert applied(auth)["Authorization"] == f"Bearer {token}"
    still.elapsed = 3_550
    assert applied(auth)["Authorization"] != f"Bearer {token}"
    assert redact(f"{token} {secret}") == "[redacted] [redacted]"


@pytest.mark.parametrize(
    "document", ["", "not json", "[]", '{"client_email":"x"}', '{"private_key":"x"}', base64.b64encode(b"{}").decode()]
)
def test_a_key_file_that_is_none(document: str) -> None:
    with pytest.raises(ConfigurationException, match="no service account's key file") as caught:
        SignedJwt.google(document, ["s"])
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def elliptic() -> str:
    secret = ec.generate_private_key(ec.SECP256R1())
    return secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize("secret", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_cannot_be_read(secret: str) -> None:
    with pytest.raises(ConfigurationException, match="The private key cannot be read") as caught:
        SignedJwt(secret, {})
    assert "AAAA" not in str(caught.value)


def test_a_key_of_another_kind() -> None:
    with pytest.raises(ConfigurationException, match="give an RSA key in PEM"):
        SignedJwt(elliptic(), {})


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_key_with_another_password(password: str) -> None:
    secret = key(2).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open-sesame")).decode()
    with pytest.raises(ConfigurationException, match="with its password"):
        SignedJwt(secret, {}, password=password)


def test_without_the_signer_the_error_names_the_extra() -> None:
    code = """
        import sys
        sys.modules["cryptography"] = None
        from grove.http import SignedJwt
        try:
            SignedJwt("x", {})
        except Exception as err:
            print(type(err).__name__, err)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("ConfigurationException")
    assert "pip install 'grove[google]'" in result.stdout
    assert "'grove[snowflake]'" in result.stdout


def test_the_signer_is_loaded_where_it_is_used() -> None:
    code = "import sys, grove.http.auth; print('cryptography' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_the_package_loads_no_http_library() -> None:
    code = "import sys, grove.http; print(sorted({'requests', 'urllib3', 'http.client'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_announced_name_is_there() -> None:
    import grove.http

    assert all(hasattr(grove.http, name) for name in grove.http.__all__)
    with pytest.raises(AttributeError, match="no_such_thing"):
        grove.http.no_such_thing  # noqa: B018
