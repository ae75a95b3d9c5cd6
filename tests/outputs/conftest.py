"""Handlers over a folder of their own, and what a reader sees in it."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

pytest.register_assert_rewrite("grove.testing.output_contract")

from grove.outputs.local_file import Handler  # noqa: E402


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def memory():
    """A folder in memory, where there is one: for tests that sync thousands of times."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make(root, monkeypatch):
    """A file output, set up; `make(mode="0640")` sets GROVE_OUTPUT_LOCAL_FILE_MODE."""

    def build(path=root, **settings):
        monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(path))
        for name, value in settings.items():
            monkeypatch.setenv(f"GROVE_OUTPUT_LOCAL_FILE_{name.upper()}", value)
        handler = Handler()
        handler.setup()
        return handler

    return build
