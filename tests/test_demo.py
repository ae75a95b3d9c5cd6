"""`grove demo`, as a newcomer runs it."""

import json
import subprocess
import sys

from grove.testing.practice import read_delivered

COMMAND = [sys.executable, "-c", "from grove.cli import main; main()", "demo", "--entries", "3000"]


def test_the_demo_loses_and_repeats_nothing(tmp_path):
    done = subprocess.run(
        [*COMMAND, "--json", "--directory", str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["offered"], summary["delivered"]) == (3000, 3000)
    assert (summary["lost"], summary["twice"]) == (0, 0)
    assert summary["dropped_as_seen"] > 0
    assert len(read_delivered(tmp_path / "out")) == 3000


def test_the_demo_says_what_it_does(tmp_path):
    done = subprocess.run([*COMMAND, "--directory", str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "killed" in done.stderr
    assert "Nothing lost, nothing twice." in done.stdout
    assert str(tmp_path / "out") in done.stdout


def test_the_demo_fails_when_something_is_missing(tmp_path):
    (tmp_path / "out" / "logs").mkdir(parents=True)
    code = (
        "import grove.cli.demo as demo, sys\n"
        "read = demo.read_delivered\n"
        "demo.read_delivered = lambda folder: read(folder)[1:]\n"
        "from grove.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--entries", "3000", "--directory", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "defect" in done.stdout
