"""The first hour of the README: every command of it, in a terminal, in this order, says what is printed there."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.shell import GROVE, run_in_terminal

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
HOUR = README.split("### A first hour\n")[1].split("\n### ")[0]
# What is different every time: moments, numbers, how a number is counted, and the blanks that align a column.
VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "<moment>"),
    (re.compile(r"\d[\d,.]*"), "<n>"),
    (re.compile(r"<n> (s|min|h|ms)\b"), "<span>"),
    (re.compile(r"\b[ei]-<n>|user-<n>|action=\S+"), "<text>"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True)
class Step:
    """A command, and what the README says that it prints."""

    command: str
    printed: str


def steps() -> Iterator[Step]:
    for block in re.findall(r"```console\n(.*?)```", HOUR, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield Step(command, printed)


def plain(text: str) -> list[str]:
    """The lines of `text` without what is different every time."""
    lines = []
    for line in text.strip().splitlines():
        for pattern, stand_in in VOLATILE:
            line = pattern.sub(stand_in, line)
        lines.append(line.strip())
    return lines


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has just installed it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "grove"
    script.write_text(f'#!/bin/sh\nexec {subprocess.list2cmdline(GROVE)} "$@"\n')
    script.chmod(0o755)
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(tmp_path),
        "TERM": "xterm",
    }


def test_every_command_says_what_is_printed(home: dict[str, str], tmp_path: Path, unused_port: int) -> None:
    place = tmp_path / "place"
    place.mkdir()
    first, *rest = steps()
    assert first.command == "grove practice > /dev/null"
    command = first.command.replace("practice", f"practice --port {unused_port}").replace("grove", "exec grove")
    with subprocess.Popen(["sh", "-c", command], env=home, cwd=place, stderr=subprocess.PIPE, text=True) as practice:
        try:
            assert practice.stderr is not None
            said = "".join(practice.stderr.readline() for _ in first.printed.splitlines())
            assert plain(said) == plain(first.printed)
            for step in rest:
                command = step.command.replace("8765", str(unused_port))
                if command.startswith("export "):
                    name, _, value = command.removeprefix("export ").partition("=")
                    home[name] = value
                    continue
                done = run_in_terminal(["bash", "-c", command], home, place)
                assert done.code == 0, f"{command}\n{done.plain}"
                assert plain(done.plain) == plain(step.printed), command
        finally:
            practice.send_signal(signal.SIGTERM)
            practice.communicate(timeout=30)
    assert practice.returncode == 0


def test_it_shows_what_a_first_hour_needs() -> None:
    commands = [step.command.split()[1] for step in steps() if step.command.startswith("grove ")]
    assert commands == ["practice", "init", "validate", "check", "run", "run", "status", "tail", "run"]
