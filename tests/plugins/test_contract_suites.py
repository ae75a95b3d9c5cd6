"""The contract suites: every built-in keeps to its own, the README says so, and other people's tests can use them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from grove import testing
from grove.constants import (
    PLUGIN_GROUP_CACHE,
    PLUGIN_GROUP_CONFIG,
    PLUGIN_GROUP_OUTPUT,
    PLUGIN_GROUP_PROCESSOR,
    PLUGIN_GROUP_SECRET,
)

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SUITES = {
    "CacheContract": PLUGIN_GROUP_CACHE,
    "OutputContract": PLUGIN_GROUP_OUTPUT,
    "StagingOutputContract": PLUGIN_GROUP_OUTPUT,
    "ProcessorContract": PLUGIN_GROUP_PROCESSOR,
    "ConfigContract": PLUGIN_GROUP_CONFIG,
    "SecretContract": PLUGIN_GROUP_SECRET,
}

# Imported by every test class that inherits a suite: its module, and what that calls the handler.
IMPORT = re.compile(r"^from grove\.\w+(?:\.(\w+))? import ([\w, ]+)", re.MULTILINE)


def _kept_by() -> dict[str, set[str]]:
    """Of each suite, the built-in handlers that a test class of their group inherits it for."""
    found: dict[str, set[str]] = {suite: set() for suite in SUITES}
    for suite, group in SUITES.items():
        names = {entry.name for entry in entry_points(group=group) if entry.value.startswith("grove.")}
        for path in (ROOT / "tests" / group.removeprefix("grove.")).glob("test_*.py"):
            text = path.read_text(encoding="utf-8")
            if re.search(rf"class \w+\({suite}\)", text):
                mentioned = {name for match in IMPORT.finditer(text) for name in re.findall(r"\w+", match[0])}
                found[suite] |= names & mentioned
    return found


def test_every_built_in_keeps_to_its_suite_and_the_readme_says_so() -> None:
    kept = _kept_by()
    for group in set(SUITES.values()):
        names = {entry.name for entry in entry_points(group=group) if entry.value.startswith("grove.")}
        said: set[str] = set()
        for suite in (suite for suite in SUITES if SUITES[suite] == group):
            (row,) = re.findall(rf"(?m)^\| `{suite}` \|.*\| ([^|]*) \|$", README)
            listed = names & set(re.findall(r"`(\w+)`", row))
            assert listed <= kept[suite], suite
            said |= listed
        assert said == names, group
    suites = set(re.findall(r"(?m)^\| `(\w+Contract)` \|", README))
    assert suites == {name for name in testing.__all__ if name.endswith("Contract")}


def test_the_example_of_the_readme_is_a_suite_of_its_own(tmp_path: Path) -> None:
    example = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "CacheContract" in block)
    (tmp_path / "test_example.py").write_text(example)
    done = _pytest(tmp_path, "test_example.py", "-k", "one_value or batch_replaces or constraint")
    assert done.returncode == 0, done.stdout


def test_a_plugin_s_own_tests_pass(source: Path, installed: Path) -> None:
    done = _pytest(source, "contract_suites.py", "-k", "not Lines", path=installed)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) >= 120


def test_a_plugin_that_is_careless_is_told(source: Path, installed: Path) -> None:
    """That output adds the metadata by itself, and has not thought of everything."""
    done = _pytest(source, "contract_suites.py", "-k", "Lines", path=installed)
    assert done.returncode == 1
    assert set(re.findall(r"FAILED contract_suites\.py::TestLines::(\w+)", done.stdout)) == {
        "test_metadata_is_added_and_wins",
        "test_serialize_leaves_out_null",
        "test_serialize_refuses_what_is_no_object",
    }


def _pytest(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A plugin's own test run, without anything of ours but the package."""
    environment = {**os.environ, "PYTHONPATH": str(path) if path else ""}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
    ]
    return subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
