"""R14: whatever a source answers, no credential of a built-in connector is in a log, an error, the cache or an output.

How each credential and each answer is handled by the toolkit is tested there (`tests/http/test_secrets.py`); here the
connectors themselves fail, with all that their documents hold.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import pickle
import re
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from grove import logging as grove_logging
from grove.connectors.rest import RestConnector
from grove.http import _tokens, client
from grove.http._breaker import Breaker
from grove.models import ConnectorConfig
from tests.http.server import Received, Sent, Server, reply
from tests.http.test_secrets import ANSWERS, echo, forms
from tests.http.test_secrets import _logging_as_it_was as _logging_as_it_was
from tests.sources.conftest import VENDORS
from tests.sources.vendor import relocated

from .conftest import CONTEXT, Streams

CREDENTIAL = re.compile(r"(?:^|_)(?:key|secret|token|password|passphrase)$")
ACCESS_TOKEN = "canary-access-token/+=&%x"
NAMES = sorted(name for name, kind in VENDORS.items() if issubclass(kind.connector, RestConnector))
FAILURES: dict[str, Sent | Callable[[Received], Sent]] = {
    **ANSWERS,
    "echo": echo,
    "echo under a good status": lambda request: reply(json.dumps({"error": request.raw.decode("latin-1")}).encode()),
    "nothing in it": reply(b"{}"),
}
QUICK = ("refused", "echo", "echo under a good status", "limited", "redirect")


class Impatient(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def with_canaries(document: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A document with a credential of its own in every field that is for one, and those; keys stay what they are."""
    changed, secrets = {}, []
    for field, value in document.items():
        if isinstance(value, str) and CREDENTIAL.search(field):
            if "PRIVATE KEY" in value:
                secrets += [line for line in value.replace("\\n", "\n").splitlines() if len(line) > 30]
            else:
                value = f"canary-{field}/+=&%x"
                secrets.append(value)
        changed[field] = value
    return changed, secrets


def everything_said(streams: Streams, kind: type[RestConnector], document: dict[str, Any]) -> str:
    """What one run leaves behind for others to read."""
    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        grove_logging.configure({}, "DEBUG")
        config = ConnectorConfig(**{"name": "test", "identity": "corp", "outputs": {"logs": "raw"}, **document})
        connector = kind(config, CONTEXT, cache=streams.cache, output=streams.output)
        connector.stopping = Impatient()
        connector.run()
        logging.getLogger("grove").error("It failed.", exc_info=connector.failure)
    assert "It failed." in log.getvalue()
    told = [repr(connector), repr(config), str(config), repr(connector.fields)]
    if (failure := connector.failure) is not None:
        told += ["".join(traceback.format_exception(failure)), repr(vars(failure)), repr(pickle.dumps(failure))]
    told += [f"{key} {value}" for key, value in streams.cache.scan("")]
    told += [f"{path} {path.read_bytes()!r}" for path in streams.path.rglob("*") if path.is_file()]
    return "\n".join([log.getvalue(), *told])


def at_home(document: dict[str, Any], url: str) -> dict[str, Any]:
    """The same with `url` in the place of every other server of this host."""
    moved = {}
    for field, value in document.items():
        moved[field] = re.sub(r"http://127\.0\.0\.1:\d+", url, value) if isinstance(value, str) else value
    return moved


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    """A document for each connector."""
    found = {}
    for name in NAMES:
        vendor = VENDORS[name]()
        vendor.close()
        found[name] = {"connector": vendor.connector.CONNECTOR, **vendor.document}
    return found


def test_there_are_enough_of_them(documents: dict[str, dict[str, Any]]) -> None:
    assert len({(name, secret) for name in NAMES for secret in with_canaries(documents[name])[1]}) >= 12


@pytest.mark.parametrize("tokens", ["tokens fail", "tokens work"])
@pytest.mark.parametrize(
    "answer", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in FAILURES]
)
def test_no_connector_tells(
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
    documents: dict[str, dict[str, Any]],
    answer: str,
    tokens: str,
) -> None:
    failing = FAILURES[answer]

    def answered(request: Received) -> Sent:
        if tokens == "tokens work" and b"grant_type" in request.body:
            return reply(json.dumps({"access_token": ACCESS_TOKEN, "expires_in": 3600}).encode())
        return failing(request) if callable(failing) else failing

    server = Server(answered)
    try:
        for name in NAMES:
            monkeypatch.setattr(client, "_breaker", Breaker())
            _tokens._slots.clear()
            grove_logging.forget_secrets()
            streams.cache.reset()
            fields, secrets = with_canaries(at_home(documents[name], server.url))
            asked = len(server.received)
            text = everything_said(streams, relocated(VENDORS[name].connector, server.url), fields)
            assert len(server.received) > asked, name
            found = [form for secret in [*secrets, ACCESS_TOKEN] for form in forms(secret) if form in text]
            assert found == [], f"{name}: {found}"
    finally:
        server.close()
        grove_logging.forget_secrets()
