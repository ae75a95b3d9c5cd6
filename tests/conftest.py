"""What all tests share: an environment without the developer's own settings."""

import os
from collections.abc import Iterator

import hypothesis
import pytest

from grove import _core
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
