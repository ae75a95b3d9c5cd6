"""What the tests of the command line share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from grove.testing.practice import PracticeAPI
from tests.cli.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A place with no documents in it yet."""
    return Shell(tmp_path)


@pytest.fixture
def api() -> Iterator[PracticeAPI]:
    """A source with 250 entries, oldest first, in pages of 100."""
    with PracticeAPI(250) as served:
        yield served
