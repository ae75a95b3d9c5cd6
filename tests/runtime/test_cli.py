"""The command line itself, without collecting anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import grove.cli
from grove import __version__


def run(*arguments: str, expected: int = 0) -> "subprocess.CompletedProcess[str]":
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from grove.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "LOG_LEVEL"},
    )
    assert result.returncode == expected, result.stderr
    return result


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str) -> None:
    assert run(option).stdout == f"grove {__version__}\n"


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(option: str) -> None:
    text = run(option).stdout
    assert "GROVE_CONFIG_LOCAL_FILE_PATH" in text
    assert "Exit codes" in text
    for command in ("run", "demo"):
        assert f"  {command}  " in text


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["no-such-command"], ["run", "--surplus"]])
def test_wrong_usage(arguments: list[str]) -> None:
    result = run(*arguments, expected=2)
    assert "Usage: grove" in result.stderr
    assert "Traceback" not in result.stderr


def test_every_command_is_there() -> None:
    for name, (place, _) in grove.cli._COMMANDS.items():
        module = Path(grove.cli.__file__).parent.parent.parent / f"{place.partition(':')[0].replace('.', '/')}.py"
        assert module.exists(), name


def test_a_defect_is_reported_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("broken")

    monkeypatch.setattr(grove.cli.cli, "main", broken)
    with pytest.raises(SystemExit) as end:
        grove.cli.main([])
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        "grove: KeyError: 'broken'\nThis is a defect; `grove --debug` shows where it is.\n"
    )
    with pytest.raises(KeyError):
        grove.cli.main(["--debug"])
