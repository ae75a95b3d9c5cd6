"""Secrets of whole runs: fetched for each, one that fails costs its own stream, and none is seen anywhere."""

import base64
import json
import os
import subprocess
import sys
import urllib.parse
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grove.models import ConnectorConfig
from grove.runtime import Handlers, Settings
from tests.http.server import Server
from tests.secrets.conftest import Serve
from tests.secrets.vault import Vault

MAIN = "from grove.cli import main; main()"
CANARIES = {name: f"canary/{name}+5a1e=" for name in ("okta", "wrong", "inline", "broken", "vault")}

Put = Callable[[str, str], str]


@pytest.fixture
def in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    def put(name: str, value: str) -> str:
        (tmp_path / name).write_text(value)
        return str(tmp_path / name)

    monkeypatch.setenv("GROVE_SECRET_HANDLER", "local_file")
    return put


@pytest.fixture
def in_ssm(ssm: Any, monkeypatch: pytest.MonkeyPatch) -> Put:
    prefix = f"/grove/{uuid.uuid4().hex}"

    def put(name: str, value: str) -> str:
        ssm.put_parameter(Name=f"{prefix}/{name}", Value=value, Type="SecureString", Overwrite=True)
        return f"{prefix}/{name}"

    monkeypatch.setenv("GROVE_SECRET_HANDLER", "aws_ssm")
    return put


@pytest.fixture
def vault() -> Vault:
    return Vault(tokens={CANARIES["vault"]})


@pytest.fixture
def in_vault(vault: Vault, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Put:
    def put(name: str, value: str) -> str:
        vault.secrets[f"secret/data/{name}"] = {"data": {"value": value}}
        return f"secret/data/{name}?field=value"

    server: Server = serve(vault)
    monkeypatch.setenv("GROVE_SECRET_HANDLER", "hashicorp_vault")
    monkeypatch.setenv("GROVE_SECRET_HASHICORP_VAULT_ADDR", server.url)
    monkeypatch.setenv("GROVE_SECRET_HASHICORP_VAULT_TOKEN", CANARIES["vault"])
    return put


@pytest.mark.parametrize("kind", ["in_files", "in_ssm", "in_vault"])
def test_a_rotated_secret_is_used_by_the_next_run(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: Put = request.getfixturevalue(kind)
    monkeypatch.setenv("GROVE_CACHE_HANDLER", "local_memory")
    handlers = Handlers(Settings.read())
    config = ConnectorConfig.model_validate(document("okta", {"key": put("okta", "before")}))
    first = handlers.resolve(config)
    put("okta", "after")
    second = handlers.resolve(config)
    assert (config.key, first.key, second.key) == ("", "before", "after")


@pytest.mark.parametrize("kind", ["in_ssm", "in_vault"])
def test_one_that_fails_costs_its_own_stream_and_nothing_shows_a_secret(
    kind: str, request: pytest.FixtureRequest, ssm: Any, moto: Any, tmp_path: Path
) -> None:
    put: Put = request.getfixturevalue(kind)
    prefix = f"/grove/{uuid.uuid4().hex}"
    documents = {
        "good": document("good", {"key": put("okta", CANARIES["okta"])}),
        "missing": document("missing", {"key": put("gone", "x").replace("gone", "nowhere")}),
        "undecodable": document("undecodable", {"key": put("wrong", CANARIES["wrong"])}, encoding={"key": "base64"}),
        "inline": document("inline", {}, key=CANARIES["inline"], api_token=CANARIES["inline"]),
        "broken": document("broken", {}, key=CANARIES["broken"], frequency=CANARIES["broken"]),
    }
    for name, content in documents.items():
        ssm.put_parameter(Name=f"{prefix}/{name}", Value=json.dumps(content), Type="SecureString")
    settings = {
        "GROVE_CONFIG_HANDLER": "aws_ssm",
        "GROVE_CONFIG_AWS_SSM_PREFIX": prefix,
        "GROVE_CACHE_LOCAL_LMDB_PATH": str(tmp_path / "state"),
        "GROVE_OUTPUT_HANDLER": "local_file",
        "GROVE_OUTPUT_LOCAL_FILE_PATH": str(tmp_path / "out"),
        "LOG_LEVEL": "DEBUG",
    }
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "--debug"], capture_output=True, env={**os.environ, **settings}, timeout=120
    )
    assert done.returncode == 78, done.stderr.decode()[-3000:]
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    delivered = {path.parts[-5] for path in written if path.name.endswith(".json.gz")}
    assert delivered == {"identity-good", "identity-inline"}
    told = done.stdout + done.stderr
    for failed in ("missing", "undecodable"):
        assert f"'{failed}'".encode() in told
    assert f"SSM parameter {prefix}/broken".encode() in told
    seen = told + b"".join(written.values())
    for canary in (*CANARIES.values(), "no-secret"):
        assert [form for form in forms(canary) if form in seen] == [], canary


def document(name: str, secrets: dict[str, str], **fields: Any) -> dict[str, Any]:
    common = {"name": name, "identity": f"identity-{name}", "connector": "local_heartbeat"}
    return {**common, "secrets": secrets, "interval": 0, "count": 1, **fields}


def forms(secret: str) -> list[bytes]:
    data = secret.encode()
    return [
        data,
        base64.b64encode(data).rstrip(b"="),
        base64.urlsafe_b64encode(data).rstrip(b"="),
        urllib.parse.quote(secret, safe="").encode(),
        urllib.parse.quote(secret).encode(),
        json.dumps(secret).replace("/", "\\/").encode()[1:-1],
        data.hex().encode(),
    ]
