"""What the README says is true: its Python examples run, and every setting and plugin is in it."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from grove.models import ConnectorConfig

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
CORE = next(block for block in BLOCKS if "from grove import" in block)


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_examples_run(number: int) -> None:
    done = run(BLOCKS[number])
    assert done.returncode == 0, done.stderr


def test_the_core_does_what_the_example_says() -> None:
    done = run(f"{CORE}\nassert hash_entry(page[0]) == hash_entry(dict(reversed(page[0].items())))\nprint(list(fresh))")
    assert done.stdout == "[{'who': 'Ada', 'id': 3}]\n", done.stderr


def test_every_plugin_is_listed() -> None:
    for group in ("connectors", "caches", "outputs", "configs", "secrets", "processors", "entrypoints"):
        for entry in entry_points(group=f"grove.{group}"):
            if entry.value.startswith("grove."):
                assert f"`{entry.name}`" in README, entry.name


def test_every_setting_in_the_code_is_listed() -> None:
    found: set[str] = set()
    for path in (ROOT / "grove").rglob("*.py"):
        found.update(re.findall(r'"(GROVE_[A-Z_]+[A-Z])"', path.read_text(encoding="utf-8")))
    reserved = {"GROVE_TELEMETRY_URI", "GROVE_METADATA_KEY"}
    missing = {name for name in found - reserved if f"`{name}`" not in README}
    assert missing == set()


def test_every_field_of_a_document_is_listed() -> None:
    for name, field in ConnectorConfig.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if field.is_required():
            shown = "required"
        else:
            shown = f"`{json.dumps(default, default=lambda part: part.model_dump(exclude_none=True))}`"
        assert f"| `{name}` | {shown} |" in README, name


def test_what_validate_is_said_to_say_it_says(tmp_path: Path) -> None:
    section = README.split("\n## Documents\n")[1]
    document, shown = (section.split(f"```{kind}\n")[1].split("```")[0] for kind in ("yaml", "text"))
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "okta.yaml").write_text(document)
    done = subprocess.run(
        [sys.executable, "-c", "from grove.cli import main; main()", "validate", "--offline", "conf"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (78, shown), done.stderr


def test_the_first_configuration_works(tmp_path: Path) -> None:
    script = README.split("### A first configuration")[1].split("```sh\n")[1].split("```")[0]
    script = script.replace(".venv/bin/grove", f"{sys.executable} -c 'from grove.cli import main; main()'")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GROVE_", "XDG_", "LOG_"))}
    environment["XDG_STATE_HOME"] = str(tmp_path / "state")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"type":"heartbeat"') == 5
