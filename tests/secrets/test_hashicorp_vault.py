"""Vault as a reader sees it, by a stand-in on loopback: tokens, logins, and what becomes of the answers."""

import json
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grove.exceptions import AccessException, ConfigurationException, DataFormatException, NotFoundException
from grove.helpers import clock, plugin
from grove.http import client
from grove.logging import redact
from grove.models import ConnectorConfig
from grove.secrets.hashicorp_vault import Handler
from tests.http.server import Received, Sent, Server, reply
from tests.secrets.conftest import Serve
from tests.secrets.vault import PROOFS, Vault, answer, refused

PREFIX = "GROVE_SECRET_HASHICORP_VAULT_"
PLACE = "secret/data/okta"
LOCATOR = f"{PLACE}?field=token"

Configure = Callable[..., None]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Configure:
    def configure(**fields: str) -> None:
        for name, value in fields.items():
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)

    return configure


@pytest.fixture
def vault() -> Vault:
    return Vault(secrets={PLACE: {"data": {"token": "okta-canary"}}})


@pytest.fixture
def server(vault: Vault, serve: Serve, configure: Configure) -> Server:
    """A Vault whose root token is configured."""
    server = serve(vault)
    configure(addr=server.url, token="root-canary")
    return server


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two attempts."""
    monkeypatch.setattr(client, "backoff", lambda attempt: 0.0)


# --- a token ---


def test_it_is_found_by_its_name(server: Server) -> None:
    assert plugin.load_handler("hashicorp_vault", "grove.secrets").get(LOCATOR) == "okta-canary"


def test_the_token_is_tried_at_once(server: Server, configure: Configure) -> None:
    Handler()
    assert [(each.method, each.target) for each in server.received] == [("GET", "/v1/auth/token/lookup-self")]
    configure(token="old-canary")
    with pytest.raises(AccessException, match=r"status 403.*token is still good") as failed:
        Handler()
    assert "old-canary" not in told(failed.value)


def test_what_vault_wants_to_see_is_sent(server: Server, vault: Vault, configure: Configure) -> None:
    vault.namespace = "team/a"
    configure(namespace="team/a")
    assert Handler().get(LOCATOR) == "okta-canary"
    for request in server.received:
        headers = request.headers
        assert (headers["x-vault-token"], headers["x-vault-request"]) == ("root-canary", "true")
        assert headers["x-vault-namespace"] == "team/a"
    Handler()


def test_there_is_no_namespace_unless_one_is_set(server: Server) -> None:
    Handler()
    assert "x-vault-namespace" not in server.received[0].headers


def test_another_version_of_the_api(serve: Serve, configure: Configure) -> None:
    server = serve(lambda request: answer({"token": "x"}))
    configure(addr=f"{server.url}/behind/", token="root-canary", api_version="v2")
    assert Handler().get("kv/app?field=token") == "x"
    assert [each.target for each in server.received] == ["/behind/v2/auth/token/lookup-self", "/behind/v2/kv/app"]


def test_a_token_in_a_file_wins_and_may_change(
    server: Server, vault: Vault, configure: Configure, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(" first-canary \nsecond line\n")
    vault.tokens = {"first-canary"}
    configure(token_file=str(path))
    handler = Handler()
    assert handler.get(LOCATOR) == "okta-canary"
    vault.tokens = {"rotated-canary"}
    path.write_text("rotated-canary")
    assert handler.get(LOCATOR) == "okta-canary"
    path.unlink()
    with pytest.raises(AccessException, match=r"nothing to show to Vault.*/token"):
        handler.get(LOCATOR)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"addr": "https://vault"},
            "set GROVE_SECRET_HASHICORP_VAULT_TOKEN or GROVE_SECRET_HASHICORP_VAULT_TOKEN_FILE",
        ),
        ({"addr": "https://vault", "token": "line\nbreak-canary"}, "X-Vault-Token has a line break"),
        ({"token": "x"}, "GROVE_SECRET_HASHICORP_VAULT_ADDR: Field required"),
        ({"addr": "vault:8200", "token": "x"}, "GROVE_SECRET_HASHICORP_VAULT_ADDR: .*cannot be used"),
        ({"addr": "https://u:canary@vault", "token": "x"}, "GROVE_SECRET_HASHICORP_VAULT_ADDR: .*user name"),
        ({"addr": "https://vault", "auth_method": "ldap"}, "GROVE_SECRET_HASHICORP_VAULT_AUTH_METHOD: "),
        ({"addr": "https://vault", "auth_method": "approle", "secret_id": "canary"}, "VAULT_ROLE_ID is not set"),
        ({"addr": "https://vault", "auth_method": "approle", "role_id": "x"}, "VAULT_SECRET_ID is not set"),
        ({"addr": "https://vault", "auth_method": "kubernetes"}, "VAULT_ROLE is not set, which 'kubernetes' needs"),
        ({"addr": "https://vault", "auth_method": "jwt", "role": "x"}, "VAULT_JWT_FILE is not set"),
    ],
)
def test_what_is_missing_is_named(configure: Configure, fields: dict[str, str], words: str) -> None:
    configure(**fields)
    with pytest.raises(ConfigurationException, match=words) as failed:
        Handler()
    assert "canary" not in told(failed.value)


def test_a_vault_that_is_not_there_is_an_error(configure: Configure, unused_port: int, unhurried: None) -> None:
    configure(addr=f"http://127.0.0.1:{unused_port}", token="root-canary")
    with pytest.raises(AccessException, match="gives nothing for 'auth/token/lookup-self'") as failed:
        Handler()
    assert "canary" not in told(failed.value)


def test_the_handler_shows_no_credentials(server: Server, configure: Configure) -> None:
    configure(secret_id="id-canary")
    handler = Handler()
    assert "canary" not in repr(handler) + repr(handler.config) + str(handler.config)
    assert redact("root-canary") == "[redacted]"


# --- logging in ---


def log_in(configure: Configure, folder: Path, method: str) -> None:
    """Configure the proof that the stand-in knows for this method."""
    jwt = folder / "jwt"
    jwt.write_text(f"header.{'pod' if method == 'kubernetes' else 'jwt'}-canary.signature\n")
    fields = {
        "approle": {"role_id": "role-1", "secret_id": "secret-id-canary"},
        "kubernetes": {"role": "grove", "jwt_file": str(jwt)},
        "jwt": {"role": "grove", "jwt_file": str(jwt)},
    }
    configure(auth_method=method, token="", **fields[method])


@pytest.mark.parametrize("method", ["approle", "kubernetes", "jwt"])
@pytest.mark.parametrize("mount", ["", "team/eu", "/team/eu/"])
def test_a_process_logs_in_once(
    server: Server, vault: Vault, configure: Configure, tmp_path: Path, method: str, mount: str
) -> None:
    log_in(configure, tmp_path, method)
    configure(auth_mount=mount)
    if mount:
        vault.proofs = {"auth/team/eu/login": PROOFS[f"auth/{method}/login"]}
    vault.tokens.clear()
    handler = Handler()
    assert [handler.get(LOCATOR) for _ in range(3)] == ["okta-canary"] * 3
    assert vault.logins == 1
    first = server.received[0]
    assert (first.method, first.target) == ("POST", f"/v1/auth/{mount.strip('/') or method}/login")
    assert "x-vault-token" not in first.headers
    proof = json.loads(first.body)
    assert (
        redact(" ".join([proof.get("secret_id", ""), proof.get("jwt", ""), "hvs.issued-canary-1"])).count("canary") == 0
    )


def test_what_stands_for_the_process_is_read_at_each_login(
    server: Server, vault: Vault, configure: Configure, tmp_path: Path
) -> None:
    path = tmp_path / "secret-id"
    path.write_text("secret-id-canary\n")
    log_in(configure, tmp_path, "approle")
    configure(secret_id="wrong", secret_id_file=str(path))
    handler = Handler()
    vault.proofs = {"auth/approle/login": {"role_id": "role-1", "secret_id": "rotated-canary"}}
    vault.tokens.clear()
    path.write_text("rotated-canary\n")
    assert handler.get(LOCATOR) == "okta-canary"
    assert vault.logins == 2


def test_a_token_that_is_revoked_is_replaced_once_for_all_threads(
    server: Server, vault: Vault, configure: Configure, tmp_path: Path
) -> None:
    log_in(configure, tmp_path, "kubernetes")
    handler = Handler()
    vault.tokens.clear()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(handler.get(LOCATOR))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["okta-canary"] * 8
    assert vault.logins == 2


def test_a_token_is_replaced_before_it_expires(
    server: Server, vault: Vault, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    vault.life = 100
    log_in(configure, tmp_path, "jwt")
    handler = Handler()
    logins = []
    for elapsed in (0, 89, 90, 179, 180):
        now[0] = 1000.0 + elapsed
        handler.get(LOCATOR)
        logins.append(vault.logins)
    assert logins == [1, 1, 2, 2, 3]


def test_what_a_policy_forbids_is_asked_twice_and_no_more(
    server: Server, vault: Vault, configure: Configure, tmp_path: Path
) -> None:
    log_in(configure, tmp_path, "approle")
    handler = Handler()
    server.answer = lambda request: refused(403, "permission denied") if request.method == "GET" else vault(request)
    with pytest.raises(AccessException, match="what its policies allow"):
        handler.get(LOCATOR)
    gets = [each for each in server.received if each.method == "GET"]
    assert (len(gets), vault.logins) == (2, 2)


@pytest.mark.parametrize("method", ["approle", "kubernetes", "jwt"])
def test_who_is_not_let_in_is_told(
    server: Server, vault: Vault, configure: Configure, tmp_path: Path, method: str
) -> None:
    log_in(configure, tmp_path, method)
    vault.proofs = {}
    with pytest.raises(AccessException, match=rf"does not let this process in by '{method}' .*invalid role") as failed:
        Handler()
    assert "canary" not in told(failed.value)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"auth": null}', b'{"auth": {"client_token": "canary"}}', b'["canary"]', b'{"auth": {"lease_du']
)
def test_an_answer_without_a_token_is_an_error(serve: Serve, configure: Configure, tmp_path: Path, body: bytes) -> None:
    log_in(configure, tmp_path, "approle")
    configure(addr=serve(lambda request: reply(body)).url)
    with pytest.raises(AccessException, match="'approle'") as failed:
        Handler()
    assert "canary" not in told(failed.value)


def test_a_missing_package_names_the_extra(
    server: Server, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hvac.api.auth_methods", None)
    assert Handler().get(LOCATOR) == "okta-canary"
    log_in(configure, tmp_path, "approle")
    with pytest.raises(ConfigurationException, match=r"pip install 'grove\[vault\]'"):
        Handler()


# --- locators ---


@pytest.mark.parametrize(
    ("locator", "field", "path"),
    [
        ("secret/data/app?field=name", "name", "secret/data/app"),
        ("kv/app?field=name", "name", "kv/app"),
        ("/kv/app/?field=name", "name", "kv/app"),
        ("kv/app?version=2&field=a%20b&x=", "a b", "kv/app?version=2&x="),
        ("https://vault.example.com:8200/kv/app?field=name", "name", "kv/app"),
        ("vault://kv/app?field=name", "name", "app"),
        ("kv/app?field=name&field=other", "name", "kv/app"),
        ("kv/a b/ü?field=name", "name", "kv/a b/ü"),
    ],
)
def test_a_locator_has_a_place_and_a_field(server: Server, locator: str, field: str, path: str) -> None:
    assert Handler().get_field_and_path(locator) == (field, path)


@pytest.mark.parametrize("locator", ["secret/data/app", "secret/data/app?field=", "?field=x", "", "a?version=1"])
def test_a_locator_without_a_field_is_an_error(server: Server, locator: str) -> None:
    handler = Handler()
    with pytest.raises(ValueError, match="names no field"):
        handler.get_field_and_path(locator)
    with pytest.raises(ConfigurationException, match="names no field"):
        handler.get(locator)


def test_an_older_version_can_be_asked_for(server: Server, vault: Vault) -> None:
    vault.secrets[f"{PLACE}@1"] = {"data": {"token": "older"}}
    assert Handler().get(f"{PLACE}?version=1&field=token") == "older"


def test_any_place_can_be_asked_for(server: Server, vault: Vault) -> None:
    vault.secrets["kv/a%20b/%C3%BC%3A%23"] = {"token": "x"}
    assert Handler().get("kv/a b/ü:%23?field=token") == "x"


# --- answers ---


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ({"token": "one"}, "one"),
        ({"data": {"token": "two"}}, "two"),
        ({"token": "one", "data": {"token": "two"}}, "one"),
        ({"token": 1, "data": {"token": "two"}}, "two"),
        ({"token": "", "data": {"token": "two"}}, ""),
        ({"data": {"data": "x", "token": "two"}}, "two"),
    ],
)
def test_the_first_text_counts(server: Server, vault: Vault, data: Any, value: str) -> None:
    vault.secrets[PLACE] = data
    assert Handler().get(LOCATOR) == value


@pytest.mark.parametrize(
    "data", [{"other": "canary"}, {"token": 7}, {"token": None}, {"data": {"token": ["canary"]}}, {"data": "token"}]
)
def test_a_field_that_is_no_text_is_named(server: Server, vault: Vault, data: Any) -> None:
    vault.secrets[PLACE] = data
    with pytest.raises(DataFormatException, match=r"'secret/data/okta' has no field 'token' that is a text") as failed:
        Handler().get(LOCATOR)
    assert "canary" not in told(failed.value)


@pytest.mark.parametrize("data", [[], "canary", 7, ["canary"]])
def test_what_is_no_secret_is_named(server: Server, vault: Vault, data: Any) -> None:
    vault.secrets[PLACE] = data
    with pytest.raises(DataFormatException, match="What Vault has at 'secret/data/okta' is no secret") as failed:
        Handler().get(LOCATOR)
    assert "canary" not in told(failed.value)


@pytest.mark.parametrize("body", [b"", b'{"data": {"token": "canary"', b"null", b"<html>canary</html>"])
def test_a_broken_answer_is_not_quoted(server: Server, vault: Vault, body: bytes) -> None:
    handler = Handler()
    server.answer = lambda request: reply(body)
    with pytest.raises((AccessException, DataFormatException)) as failed:
        handler.get(LOCATOR)
    assert "canary" not in told(failed.value)


def test_a_deleted_version_is_not_there(server: Server) -> None:
    handler = Handler()
    server.answer = lambda request: reply(b'{"data": {"data": null, "metadata": {"deletion_time": "2026"}}}', 404)
    with pytest.raises(NotFoundException, match="'secret/data/okta', or it was deleted"):
        handler.get(LOCATOR)


def test_redirects_are_not_followed(server: Server, serve: Serve) -> None:
    other = serve(lambda request: answer({"token": "stolen"}))
    for target in (f"{other.url}/v1/{PLACE}", f"{server.url}/v1/elsewhere", "/v1/elsewhere"):
        handler = Handler()
        before = len(server.received)

        def standby(request: Received, target: str = target) -> Sent:
            return reply(b"", 307, {"Location": target})

        answered, server.answer = server.answer, standby
        with pytest.raises(AccessException, match=r"redirects .* active node"):
            handler.get(LOCATOR)
        assert (len(server.received) - before, other.received) == (1, [])
        server.answer = answered


def test_a_vault_that_is_sealed_for_a_moment_is_asked_again(server: Server, vault: Vault, unhurried: None) -> None:
    handler = Handler()
    left = [2]

    def sealed(request: Received) -> Sent:
        left[0] -= 1
        return refused(503, "Vault is sealed") if left[0] >= 0 else vault(request)

    server.answer = sealed
    assert handler.get(LOCATOR) == "okta-canary"
    left[0] = 99
    with pytest.raises(AccessException, match="503"):
        handler.get(LOCATOR)


# --- documents ---


def test_what_is_issued_together_stays_together(server: Server, vault: Vault) -> None:
    issued = iter(range(100))

    def credentials() -> dict[str, str]:
        number = next(issued)
        return {"username": f"user-{number}", "password": f"password-{number}"}

    vault.secrets["database/creds/grove"] = credentials
    locators = {name: f"database/creds/grove?field={name}" for name in ("username", "password")}
    handler = Handler()
    for number in range(2):
        document = {"name": "db", "identity": "one", "connector": "x", "secrets": locators}
        loaded: Any = handler.load(ConnectorConfig.model_validate(document))
        assert (loaded.username, loaded.password) == (f"user-{number}", f"password-{number}")


def told(err: BaseException) -> str:
    return "".join(traceback.format_exception(err))
