"""What all tests share: an environment without the developer's own settings."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pytest

from grove import _core
from grove.helpers import aws
from tests.servers import Server, make_aws_server, running

# No deadlines: a busy machine is no defect. A failing example can be repeated from what is printed.
hypothesis.settings.register_profile("grove", deadline=None, print_blob=True)
hypothesis.settings.load_profile("grove")


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        # Two variables belong to the build, and so to the test run itself.
        if name in ("GROVE_SANITIZE", "GROVE_CYTHON_TRACE"):
            continue
        if name.startswith(("GROVE_", "NOMAD_")) or name in ("LOG_LEVEL", "STATE_DIRECTORY"):
            del os.environ[name]


def pytest_report_header(config: pytest.Config) -> str:
    return f"grove core: {_core.__file__}"


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running stand-in for AWS, shared by the whole session: tests keep apart by the names that they use."""
    with running(make_aws_server(tmp_path_factory.mktemp("aws"))) as server:
        yield server


@pytest.fixture
def ssm(moto: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A client of the stand-in's parameter store, which is also the one that handlers find in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{moto.port}")
    aws._forget_clients()
    client = boto3.client("ssm", region_name="us-east-1")
    yield client
    client.close()
    aws._forget_clients()
