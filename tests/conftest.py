"""What all tests share: an environment without the developer's own settings."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.endpoint
import botocore.session
import hypothesis
import pytest

from grove import _core, lease
from grove.caches import _lmdb_environment
from grove.helpers import aws
from tests.servers import Server, free_port, make_aws_server, running
from tests.ssm_link import Link

# No deadlines: a busy machine is no defect. A failing example can be repeated from what is printed.
hypothesis.settings.register_profile("grove", deadline=None, print_blob=True)
hypothesis.settings.load_profile("grove")

# Every client would read what botocore knows of its service again, and the tests make hundreds.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        # Two variables belong to the build, and so to the test run itself.
        if name in ("GROVE_SANITIZE", "GROVE_CYTHON_TRACE"):
            continue
        if name.startswith(("GROVE_", "NOMAD_")) or name in ("LOG_LEVEL", "STATE_DIRECTORY"):
            del os.environ[name]


def pytest_report_header(config: pytest.Config) -> str:
    return f"grove core: {_core.__file__}"


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Caches and lock files stay open as long as the process: after a thousand tests that is a thousand of each."""
    yield
    for environment in list(_lmdb_environment._open.values()):
        _lmdb_environment.close(environment)
    held = lease._owner._files if lease._owner is not None else {}
    while held:
        os.close(held.popitem()[1])


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


@pytest.fixture
def ssm_link(ssm: Any, moto: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    """What lies between the handlers of this test and the parameter store; nobody waits between two attempts."""
    waits: list[float] = []
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=waits.append))
    with Link(moto, waits) as link:
        monkeypatch.setenv("AWS_ENDPOINT_URL", link.url)
        yield link


@pytest.fixture
def unused_port() -> int:
    """A port of loopback that nobody listens at."""
    return free_port()
