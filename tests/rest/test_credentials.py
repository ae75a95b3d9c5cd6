"""R19, credentials that change while streams run: refresh tokens that are replaced, secrets rotated in their store."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from grove.cli._rehearsal import rehearsal
from grove.connectors.http_json import Connector as HttpJson
from grove.connectors.rest.refresh_tokens import RefreshTokens
from grove.exceptions import AccessException
from grove.http import _tokens
from grove.logging import forget_secrets
from grove.runtime import Handlers, Settings, open_cache, prepare
from grove.testing.practice import read_delivered
from tests.http.server import Received, Server, reply

from .conftest import Streams


@pytest.fixture(autouse=True)
def _new_process() -> Iterator[None]:
    _tokens._slots.clear()
    yield
    forget_secrets()


class Vendor:
    """An API of one page, and a token endpoint which takes each refresh token once and gives another."""

    def __init__(self) -> None:
        self.current = "refresh-token-1"
        self.used: list[str] = []
        self.revoked = False
        self._server = Server(self._answer)
        self.url = self._server.url

    def _answer(self, request: Received) -> Any:
        if request.target != "/token":
            if request.headers.get("authorization") != f"Bearer access-{len(self.used)}":
                return reply(b"{}", 401)
            number = len(self.used)
            return reply(json.dumps([{"id": number, "at": f"2026-11-20T00:00:{number:02d}Z"}]).encode())
        offered = parse_qs(request.body.decode())["refresh_token"][0]
        if offered != self.current:
            return reply(b'{"error":"invalid_grant"}', 400)
        self.used.append(offered)
        self.current = f"refresh-token-{len(self.used) + 1}"
        answer = {"access_token": f"access-{len(self.used)}", "refresh_token": self.current}
        return reply(json.dumps(answer).encode())

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    made = Vendor()
    yield made
    made.close()


def document(vendor: Vendor, **fields: Any) -> dict[str, Any]:
    return {
        "name": "test",
        "identity": "corp",
        "connector": "http_json",
        "key": "refresh-token-1",
        "client_id": "me",
        "client_secret": "client-secret",
        "outputs": {"logs": "raw"},
        "url": f"{vendor.url}/logs",
        "auth": {
            "type": "oauth2",
            "token_url": f"{vendor.url}/token",
            "grant": "refresh_token",
            "refresh_token": "{key}",
        },
        "pointer_path": "at",
        "order": "oldest_first",
        **fields,
    }


def run(streams: Streams, vendor: Vendor, **fields: Any) -> Any:
    """One run in a process of its own, as far as tokens go."""
    _tokens._slots.clear()
    return streams.run(document(vendor, **fields))


def kept(streams: Streams) -> list[str]:
    return [value for key, value in streams.cache.scan("refresh_token.")]


def test_a_replaced_refresh_token_is_there_for_the_next_process(streams: Streams, vendor: Vendor) -> None:
    for number in (1, 2, 3):
        assert run(streams, vendor).outcome == "succeeded"
        assert kept(streams) == [f"refresh-token-{number + 1}"]
    assert vendor.used == ["refresh-token-1", "refresh-token-2", "refresh-token-3"]
    assert sorted(entry["id"] for entry in streams.delivered()) == [1, 2, 3]


def test_streams_with_the_same_credentials_go_on_with_the_same_token(streams: Streams, vendor: Vendor) -> None:
    assert run(streams, vendor).outcome == "succeeded"
    assert run(streams, vendor, operation="logins").outcome == "succeeded"
    assert run(streams, vendor, identity="other").outcome == "succeeded"
    assert len(kept(streams)) == 1


def test_another_process_may_have_replaced_it_meanwhile(streams: Streams, vendor: Vendor) -> None:
    assert run(streams, vendor).outcome == "succeeded"
    here = dict(_tokens._slots)
    assert run(streams, vendor).outcome == "succeeded"
    # Back in the first process, whose access token is over.
    _tokens._slots.update(here)
    for slot in _tokens._slots.values():
        slot.token = None
    assert streams.run(document(vendor)).outcome == "succeeded"
    assert vendor.used[-1] == "refresh-token-3"


def test_another_token_in_the_document_counts_again(streams: Streams, vendor: Vendor) -> None:
    for _ in range(2):
        assert run(streams, vendor).outcome == "succeeded"
    vendor.current = "given-by-hand"
    assert "invalid_grant" in str(run(streams, vendor).failure)
    assert run(streams, vendor, key="given-by-hand").outcome == "succeeded"
    assert vendor.used[-1] == "given-by-hand"
    assert run(streams, vendor, key="given-by-hand").outcome == "succeeded"
    # The other way round, what was kept for the first one is still there.
    vendor.current = "refresh-token-3"
    assert run(streams, vendor).outcome == "succeeded"


def test_a_kept_token_is_found_by_a_hash_and_never_logged(
    streams: Streams, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert run(streams, vendor).outcome == "succeeded"
        forget_secrets()
        vendor.current = "no longer"
        failed = run(streams, vendor)
    (key, _), *others = streams.cache.scan("refresh_token.")
    assert others == []
    assert "refresh-token" not in f"{key.pk.removeprefix('refresh_token')}{key.sk}{failed.failure}{caplog.text}"
    assert "refresh-token" not in str([vars(record) for record in caplog.records])
    assert "refresh-token" not in str(streams.delivered())


def test_a_token_that_cannot_be_kept_is_not_used(streams: Streams, vendor: Vendor) -> None:
    def refuse(*args: Any) -> None:
        raise AccessException("no room")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RefreshTokens, "keep", refuse)
        failed = streams.run(document(vendor))
    assert "no room" in str(failed.failure)
    assert streams.delivered() == []
    # The process still has it, and keeps the one that follows.
    assert streams.run(document(vendor)).outcome == "succeeded"
    assert kept(streams) == ["refresh-token-3"]


@pytest.mark.parametrize("opened", [False, True])
def test_a_rehearsal_keeps_it_too(
    vendor: Vendor, opened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROVE_CACHE_LOCAL_LMDB_PATH", str(tmp_path / "cache"))
    settings = Settings(cache="local_lmdb", output="local_stdout")
    if opened:
        open_cache(settings)
    for number in (1, 2):
        handlers, nowhere = rehearsal(settings)
        _tokens._slots.clear()
        fields = HttpJson.Configuration(**document(vendor))
        connector = prepare(fields, {}, handlers, lambda connector: True)
        assert connector is not None
        connector.run()
        assert connector.outcome == "succeeded"
        assert nowhere.tally("test", "logs").entries == 1
        assert [key.pk.partition(".")[0] for key, _ in open_cache(settings).scan("")] == ["refresh_token"]
        assert vendor.used[-1] == f"refresh-token-{number}"


# --- secrets in a store ---


class Paged:
    """An API of three pages that takes one key; `before` is called with the number of each request."""

    def __init__(self) -> None:
        self.key = "key-1"
        self.before: Callable[[int], None] = lambda number: None
        self.asked: list[tuple[str, str]] = []
        self._server = Server(self._answer)
        self.url = self._server.url

    def _answer(self, request: Received) -> Any:
        self.before(len(self.asked) + 1)
        self.asked.append((request.target, request.headers["authorization"]))
        if request.headers["authorization"] != f"Bearer {self.key}":
            return reply(b'{"error":"bad key"}', 401)
        page = int(request.target.partition("page=")[2] or "1")
        entries = [{"id": page, "at": f"2026-11-20T00:00:{page:02d}Z"}] if page < 4 else []
        return reply(json.dumps(entries).encode())

    def close(self) -> None:
        self._server.close()


class Rotated:
    """A stream whose key lies in a file."""

    def __init__(self, api: Paged, folder: Path) -> None:
        self.api = api
        self.secret = folder / "secret"
        self.secret.write_text("key-1")
        self.secret.chmod(0o600)
        self.out = folder / "out"
        self.out.mkdir()
        self.fields = {
            "name": "test",
            "identity": "corp",
            "connector": "http_json",
            "secrets": {"key": str(self.secret)},
            "outputs": {"logs": "raw"},
            "url": f"{api.url}/logs",
            "auth": {"type": "header"},
            "paging": {"type": "page", "size": 1},
            "pointer_path": "at",
            "order": "oldest_first",
            "frequency": 1,
        }

    def run(self) -> Any:
        handlers = Handlers(Settings(cache="local_memory", output="local_file", secret="local_file"))
        connector = prepare(HttpJson.Configuration(**self.fields), {}, handlers, lambda connector: True)
        assert connector is not None
        connector.run()
        return connector

    def delivered(self) -> list[int]:
        return sorted(entry["id"] for entry in read_delivered(self.out))


@pytest.fixture
def rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rotated]:
    api = Paged()
    made = Rotated(api, tmp_path)
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(made.out))
    yield made
    api.close()


def test_a_secret_that_is_rotated_during_a_run(rotated: Rotated) -> None:
    def rotate(number: int) -> None:
        if number == 3:
            rotated.api.key = "key-2"
            rotated.secret.write_text("key-2")

    rotated.api.before = rotate
    assert rotated.run().outcome == "succeeded"
    assert rotated.delivered() == [1, 2, 3]
    keys = [key.removeprefix("Bearer ") for _, key in rotated.api.asked]
    assert keys == ["key-1", "key-1", "key-1", "key-2", "key-2"]


def test_a_secret_is_fetched_again_once(rotated: Rotated, caplog: pytest.LogCaptureFixture) -> None:
    rotated.api.key = "key-9"
    rotated.secret.write_text("key-2")
    stored: list[str] = []

    def rotate(number: int) -> None:
        stored.append(rotated.secret.read_text())
        rotated.secret.write_text(f"key-{number + 2}")

    rotated.api.before = rotate
    failed = rotated.run()
    assert "answered status 401" in str(failed.failure)
    assert "Check that the credentials are complete" in str(failed.failure)
    # The store was asked for the run, and once more.
    assert [key for _, key in rotated.api.asked] == ["Bearer key-2", "Bearer key-3"]


def test_a_refusal_of_what_the_store_still_has(rotated: Rotated, caplog: pytest.LogCaptureFixture) -> None:
    rotated.api.key = "key-9"
    with caplog.at_level(logging.INFO):
        failed = rotated.run()
    assert "answered status 401" in str(failed.failure)
    assert len(rotated.api.asked) == 1
    told = [record for record in caplog.records if getattr(record, "event", "") == "auth_failed"]
    assert [record.fields for record in told] == [["key"]]
    assert "key-1" not in caplog.text


def test_a_store_that_does_not_answer_when_it_is_asked_again(
    rotated: Rotated, caplog: pytest.LogCaptureFixture
) -> None:
    rotated.api.before = lambda number: rotated.secret.unlink(missing_ok=True)
    rotated.api.key = "key-9"
    failed = rotated.run()
    assert "answered status 401" in str(failed.failure)
    told = [record for record in caplog.records if getattr(record, "event", "") == "auth_failed"]
    assert "could not be fetched" in told[0].message


def test_a_client_secret_that_is_rotated_before_the_token_is_asked_for(
    rotated: Rotated, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.current = "refresh-token-9"
    rotated.secret.write_text("refresh-token-8")
    fields = {**document(vendor), "secrets": {"key": str(rotated.secret)}}
    del fields["key"]
    rotated.fields = fields
    resolve = Handlers.resolve

    def rotate(self: Handlers, config: Any) -> Any:
        found = resolve(self, config)
        rotated.secret.write_text("refresh-token-9")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handlers, "resolve", rotate)
        assert rotated.run().outcome == "succeeded"
    assert vendor.used == ["refresh-token-9"]
