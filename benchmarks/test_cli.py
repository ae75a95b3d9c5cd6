"""What `grove --help` costs, beside the start of Python itself."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.benchmark(group="cli")


@pytest.mark.parametrize("code", ["pass", "from grove.cli import main; main(['--help'])"], ids=["python", "help"])
def test_start(benchmark, code):
    command = [sys.executable, "-P", "-c", code]
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=10, warmup_rounds=1)
