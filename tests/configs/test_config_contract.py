"""The built-in backends keep the contract that plugins are tested with."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from grove.configs import BaseConfig
from grove.configs.aws_ssm import Handler as SsmConfig
from grove.configs.local_file import Handler as FileConfig
from grove.testing.config_contract import ConfigContract


class TestLocalFile(ConfigContract):
    @pytest.fixture
    def backend(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseConfig:
        monkeypatch.setenv("GROVE_CONFIG_LOCAL_FILE_PATH", str(tmp_path))
        self.folder = tmp_path
        return FileConfig()

    def put(self, name: str, text: str) -> None:
        (self.folder / f"{name}.json").write_text(text, encoding="utf-8")

    def remove(self, name: str) -> None:
        (self.folder / f"{name}.json").unlink()


class TestAwsSsm(ConfigContract):
    @pytest.fixture
    def backend(self, ssm: Any, monkeypatch: pytest.MonkeyPatch) -> BaseConfig:
        self.ssm = ssm
        self.prefix = f"/grove/{uuid.uuid4().hex}"
        monkeypatch.setenv("GROVE_CONFIG_AWS_SSM_PREFIX", f"{self.prefix}/")
        return SsmConfig()

    def put(self, name: str, text: str) -> None:
        self.ssm.put_parameter(Name=f"{self.prefix}/{name}", Value=text, Type="SecureString", Overwrite=True)

    def remove(self, name: str) -> None:
        self.ssm.delete_parameter(Name=f"{self.prefix}/{name}")
