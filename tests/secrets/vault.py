"""A stand-in for Vault: its tokens, its logins and its key-value stores, as far as a reader sees them.

It answers like the API that is described at https://developer.hashicorp.com/vault/api-docs.
"""

import json
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.http.server import Received, Sent, reply

PROOFS: dict[str, dict[str, str]] = {
    "auth/approle/login": {"role_id": "role-1", "secret_id": "secret-id-canary"},
    "auth/kubernetes/login": {"role": "grove", "jwt": "header.pod-canary.signature"},
    "auth/jwt/login": {"role": "grove", "jwt": "header.jwt-canary.signature"},
}


@dataclass
class Vault:
    """What Vault knows. `secrets` are the whole `data` of an answer, by path; `life` is that of a token, in seconds."""

    tokens: set[str] = field(default_factory=lambda: {"root-canary"})
    secrets: dict[str, Any] = field(default_factory=dict)
    namespace: str = ""
    life: int = 0
    logins: int = 0
    proofs: dict[str, dict[str, str]] = field(default_factory=lambda: dict(PROOFS))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Received) -> Sent:
        parts = urlsplit(request.target)
        path = parts.path.removeprefix("/v1/")
        if request.headers.get("x-vault-request") != "true":
            return refused(400, "required request header is missing")
        if request.headers.get("x-vault-namespace", "") != self.namespace:
            return refused(404, "no handler for route")
        if request.method == "POST":
            return self._login(path, json.loads(request.body))
        if request.headers.get("x-vault-token") not in self.tokens:
            return refused(403, "permission denied", "invalid token")
        if path == "auth/token/lookup-self":
            return answer({"id": request.headers["x-vault-token"]})
        version = parse_qs(parts.query).get("version", [""])[0]
        data = self.secrets.get(f"{path}@{version}" if version else path)
        if callable(data):
            data = data()
        return refused(404) if data is None else answer(data)

    def _login(self, path: str, proof: dict[str, str]) -> Sent:
        if proof != self.proofs.get(path):
            return refused(400, "invalid role or secret ID")
        with self.lock:
            self.logins += 1
            token = f"hvs.issued-canary-{self.logins}"
            self.tokens.add(token)
        return reply(json.dumps({"auth": {"client_token": token, "lease_duration": self.life}}).encode())


def answer(data: Any) -> Sent:
    return reply(json.dumps({"request_id": "1", "lease_duration": 0, "data": data}).encode())


def refused(status: int, *errors: str) -> Sent:
    return reply(json.dumps({"errors": errors}).encode(), status)
