"""Help and shell completion: quick, complete, and the same as what the README prints."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

import grove.cli
import grove.oneshot
from grove import constants
from grove.cli.plugins import described
from grove.testing.practice import PracticeAPI
from tests.cli.shell import GROVE, Shell

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = list(grove.cli._COMMANDS)


def command_of(name: str) -> click.Command:
    command = grove.cli.cli.get_command(click.Context(grove.cli.cli), name)
    assert command is not None
    return command


# --- help ---


def test_help_loads_nothing_but_click(shell: Shell) -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from grove.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "import json; print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, env=shell.environment)
    loaded = json.loads(done.stderr)
    assert "Collect audit logs" in done.stdout
    foreign = {name for name in loaded if name.partition(".")[0] not in (*sys.stdlib_module_names, "click")}
    assert foreign == {"grove", "grove.__about__", "grove.cli"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example_of_its_options(name: str) -> None:
    command = command_of(name)
    assert command.help, name
    for one in [command, *(command.commands.values() if isinstance(command, click.Group) else ())]:
        for param in one.params:
            if isinstance(param, click.Option) and not isinstance(param.type, click.Choice):
                assert param.help, f"{name} {one.name} {param.opts[0]}"
        # What is for people to read on a terminal fits on it.
        assert all(len(line) <= 80 for line in one.get_help(click.Context(one)).splitlines()), one.name


@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_every_help_is_shown(shell: Shell, name: str) -> None:
    done = shell.run(*filter(None, [name]), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: grove {name}".rstrip())


def test_a_misspelt_command_is_wrong_usage(shell: Shell) -> None:
    done = shell.run("chekc")
    assert done.code == 2
    assert "No such command 'chekc'" in done.err


# --- what the README prints ---


def test_the_readme_has_every_command_and_what_it_does() -> None:
    section = README.split("## Commands\n")[1].split("\n## ")[0]
    listed = dict(re.findall(r"^\| `grove ([a-z]+)` \| (.*?) \|$", section, re.MULTILINE))
    assert listed == {name: summary for name, (_, summary) in grove.cli._COMMANDS.items()}


def test_the_readme_names_the_options_of_run() -> None:
    section = README.split("## Commands\n")[1].split("\n## ")[0]
    for name in ("run", "check", "tail", "backfill"):
        for param in command_of(name).params:
            if isinstance(param, click.Option) and param.opts[-1] != "--json":
                assert f"`{param.opts[-1]}" in section or f"{param.opts[-1]} " in section, (name, param.opts)


def test_settings_and_their_defaults_are_those_of_the_code() -> None:
    printed: dict[str, str] = {}
    for names, default in re.findall(r"^\| (`GROVE_.*?`) \| (.*?) \| .*? \|$", README, re.MULTILINE):
        first, *others = re.findall(r"`(.*?)`", names)
        printed |= {name: default for name in (first, *others)}
    groups = ("configs", "caches", "outputs", "secrets")
    declared = {
        setting["name"]: setting
        for group in groups
        for about in described(f"grove.{group}")
        if about["value"].startswith("grove.")
        for setting in about["settings"]
    }
    for name, setting in declared.items():
        # Those that belong together are in one line, which begins with the whole name of the first.
        default = printed.get(name) or next(
            (text for part, text in printed.items() if part.startswith("…") and name.endswith(part[1:])), None
        )
        assert default is not None, f"{name} is not in the README"
        assert (default == "required") == setting["required"], name
        if setting["default"] and not isinstance(setting["default"], dict):
            stated = setting["default"]
            assert default == f"`{stated:g}`" if isinstance(stated, float) else f"`{stated}`", name
    known = {value for name, value in vars(constants).items() if name.startswith("ENV_GROVE_")}
    assert {name for name in printed if not name.startswith("…")} <= {*declared, *known}


def test_exit_codes_are_those_of_the_code() -> None:
    section = README.split("## Commands\n")[1].split("\n## ")[0]
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    used = {
        grove.oneshot.EXIT_OK,
        grove.oneshot.EXIT_FAILED,
        click.UsageError.exit_code,
        grove.oneshot.EXIT_LOCKED,
        grove.oneshot.EXIT_CONFIGURATION,
        130,
    }
    assert table == used
    epilog = grove.cli.cli.epilog or ""
    assert {int(code) for code in re.findall(r"\b(\d+) ", epilog)} == used


# --- completion ---


def completed(shell: Shell, *words: str) -> list[str]:
    """What is offered for the last of `words`, as bash asks for it."""
    done = subprocess.run(
        GROVE,
        env={
            **shell.environment,
            "_GROVE_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["grove", *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        cwd=shell.root,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_are_completed_without_being_imported(shell: Shell) -> None:
    assert completed(shell, "ch") == ["check"]
    assert set(completed(shell, "")) == set(COMMANDS)
    assert completed(shell, "--ver") == ["--version"]


@pytest.mark.parametrize("command", ["run", "check", "tail", "backfill"])
def test_names_of_documents_are_completed(shell: Shell, command: str) -> None:
    for name in ("okta-prod", "okta-test", "zoom"):
        shell.document(name)
    shell.document("okta-off", disabled=True)
    (shell.root / "conf" / "okta-broken.json").write_text("{")
    assert completed(shell, command, "okta") == ["okta-prod", "okta-test"]
    assert completed(shell, command, "zoom", "zo") == (["zoom"] if command != "backfill" else [])


def test_completion_never_complains_and_asks_no_network(shell: Shell) -> None:
    for variable, value in (("GROVE_CONFIG_LOCAL_FILE_PATH", "/nowhere"), ("GROVE_CONFIG_HANDLER", "aws_ssm")):
        before = shell.environment.get(variable)
        shell.environment[variable] = value
        assert completed(shell, "run", "") == []
        shell.environment.pop(variable) if before is None else shell.environment.__setitem__(variable, before)
    shell.environment["GROVE_WORKER_COUNT"] = "none"
    assert completed(shell, "run", "") == []


def test_names_of_connectors_are_completed(shell: Shell) -> None:
    assert completed(shell, "connectors", "show", "okta") == ["okta_system_log", "okta_users"]


def test_bash_completes_with_what_the_readme_says(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    folder = shell.root / "bin"
    folder.mkdir()
    script = folder / "grove"
    script.write_text(f'#!/bin/sh\nexec {subprocess.list2cmdline(GROVE)} "$@"\n')
    script.chmod(0o755)
    line = next(line for line in README.splitlines() if "bash_source" in line)
    setup = re.search(r"`([^`]*bash_source[^`]*)`", line)
    assert setup is not None
    code = f'{setup[1]}\nCOMP_WORDS=(grove run pr) COMP_CWORD=2\n_grove_completion grove\necho "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "-c", code],
        env={**shell.environment, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        cwd=shell.root,
    )
    assert (done.stdout, done.stderr) == ("practice\n", "")


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_take_the_script(shell: Shell, name: str) -> None:
    done = shell.run(_GROVE_COMPLETE=f"{name}_source")
    assert (done.code, "_GROVE_COMPLETE" in done.out) == (0, True)
    assert f"{name}_source" in README
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    assert subprocess.run([name, "-n", "-c", done.out], capture_output=True).returncode == 0


def test_no_module_takes_the_name_of_a_function_of_its_package() -> None:
    # To import `grove.cli._report` sets `_report` in `grove.cli`, whatever that was before.
    folder = Path(grove.cli.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")}
    defined = set(re.findall(r"^(?:def|class) (\w+)", (folder / "__init__.py").read_text(), re.MULTILINE))
    assert modules & defined == set()
