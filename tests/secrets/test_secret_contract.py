"""The built-in stores keep the contract that plugins are tested with."""

import uuid
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from grove.secrets import BaseSecret
from grove.secrets.aws_ssm import Handler as SsmSecret
from grove.secrets.environment import Handler as EnvironmentSecret
from grove.secrets.hashicorp_vault import Handler as VaultSecret
from grove.secrets.local_file import Handler as FileSecret
from grove.secrets.systemd import Handler as SystemdSecret
from grove.testing.secret_contract import SecretContract
from tests.secrets.conftest import Serve
from tests.secrets.vault import Vault


class TestLocalFile(SecretContract):
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseSecret:
        monkeypatch.setenv("GROVE_SECRET_LOCAL_FILE_PATH_PREFIX", str(tmp_path))
        self.folder = tmp_path
        return FileSecret()

    def put(self, name: str, value: str) -> str:
        (self.folder / name).write_text(value, encoding="utf-8")
        return name

    def missing(self, name: str) -> str:
        return name


class TestSystemd(TestLocalFile):
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseSecret:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        self.folder = tmp_path
        return SystemdSecret()


class TestEnvironment(SecretContract):
    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> BaseSecret:
        monkeypatch.setenv("GROVE_SECRET_ENVIRONMENT_PREFIX", "ACME_")
        self.monkeypatch = monkeypatch
        return EnvironmentSecret()

    def put(self, name: str, value: str) -> str:
        self.monkeypatch.setenv(f"ACME_{name}", value)
        return name

    def missing(self, name: str) -> str:
        return name


class TestAwsSsm(SecretContract):
    @pytest.fixture
    def store(self, ssm: Any) -> BaseSecret:
        self.ssm = ssm
        self.prefix = f"/grove/{uuid.uuid4().hex}"
        return SsmSecret()

    def put(self, name: str, value: str) -> str:
        locator = self.missing(name)
        self.ssm.put_parameter(Name=locator, Value=value, Type="SecureString", Overwrite=True)
        return locator

    def missing(self, name: str) -> str:
        return f"{self.prefix}/{name}"


class TestVaultVersion2(SecretContract):
    @pytest.fixture
    def store(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> BaseSecret:
        self.vault = Vault()
        monkeypatch.setenv("GROVE_SECRET_HASHICORP_VAULT_ADDR", serve(self.vault).url)
        monkeypatch.setenv("GROVE_SECRET_HASHICORP_VAULT_TOKEN", "root-canary")
        return VaultSecret()

    def put(self, name: str, value: str) -> str:
        self.vault.secrets[f"secret/data/{name}"] = {"data": {"token": value, "other": "x"}, "metadata": {"version": 1}}
        return f"secret/data/{name}?field=token"

    def missing(self, name: str) -> str:
        return f"secret/data/{name}?field=token"


class TestVaultVersion1(TestVaultVersion2):
    def put(self, name: str, value: str) -> str:
        self.vault.secrets[f"kv/{name}"] = {"other": "x", "token": value}
        return f"kv/{name}?field=token"

    def missing(self, name: str) -> str:
        return f"kv/{name}?field=token"


def test_every_built_in_store_keeps_the_contract() -> None:
    tested = {FileSecret, SystemdSecret, EnvironmentSecret, SsmSecret, VaultSecret}
    built_in = [point for point in entry_points(group="grove.secrets") if point.value.startswith("grove.secrets.")]
    assert {point.load() for point in built_in} == tested
