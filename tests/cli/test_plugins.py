"""`grove plugins`: every handler says of itself what it can be told, and none that is broken hides another."""

import json
import re
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from grove.constants import (
    PLUGIN_GROUP_CACHE,
    PLUGIN_GROUP_CONNECTOR,
    PLUGIN_GROUP_OUTPUT,
    PLUGIN_GROUP_PROCESSOR,
    PLUGIN_GROUP_SECRET,
)
from tests.cli.shell import Shell
from tests.distributions import offer

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
GROUPS = ("outputs", "caches", "configs", "secrets", "processors", "connectors", "entrypoints")
SDKS = ("boto3", "botocore", "redis", "confluent_kafka", "hvac")

MINE = """
    from pydantic import Field, SecretStr
    from pydantic_settings import BaseSettings, SettingsConfigDict
    from grove.caches import BaseCache
    from grove.models import ProcessorConfig
    from grove.outputs import BaseOutput
    from grove.processors import BaseProcessor

    class Output(BaseOutput):
        '''Writes to a pipe. As others do.'''

        class Configuration(BaseOutput.Configuration):
            pipe: str = Field(str(), description="Where to write.")
            depth: int
            token: SecretStr = SecretStr("shibboleth")
            parts: list = Field(default_factory=list)
            renamed: str = Field(default="r", validation_alias="MINE_OTHER")
            model_config = SettingsConfigDict(env_prefix="MINE_")

        def submit(self, *args, **kwargs):
            pass

    class CacheSettings(BaseSettings):
        mine_url: str

    class Cache(BaseCache):
        EXTRA = "fast"

    class Processor(BaseProcessor):
        class Configuration(BaseProcessor.Configuration):
            field: str
"""


@pytest.fixture
def listed(shell: Shell) -> Any:
    """What `grove plugins --json` says, by group and name, with these modules and entry points in the way."""

    def run(modules: dict[str, str], plugins: dict[str, dict[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
        for name, text in modules.items():
            (shell.root / f"{name}.py").write_text(textwrap.dedent(text))
        for group, found in plugins.items():
            offer(shell.root, group, found, name=f"mine-{group.removeprefix('grove.')}")
        shell.environment["PYTHONPATH"] = str(shell.root)
        done = shell.run("plugins", "--json")
        assert (done.code, done.err) == (0, "")
        return {(about["group"], about["name"]): about for about in done.json["plugins"]}

    return run


def test_every_plugin_and_every_setting_is_there_and_in_the_readme(shell: Shell) -> None:
    found = shell.run("plugins", "--json").json["plugins"]
    installed = {(f"grove.{group}", entry.name) for group in GROUPS for entry in entry_points(group=f"grove.{group}")}
    assert {(about["group"], about["name"]) for about in found} == installed
    assert [about["name"] for about in found if about["error"]] == []
    assert [about["name"] for about in found if not about["summary"]] == []
    settings = {setting["name"]: setting for about in found for setting in about["settings"]}
    documented = set(re.findall(r"`((?:GROVE_(?:OUTPUT|CACHE|SECRET|CONFIG)_[A-Z0-9_]+))`", README))
    # A few rows name several variables, of which the later ones are cut.
    short = {name for name in settings if any(f"`…{name[cut:]}`" in README for cut in range(len(name)))}
    assert settings.keys() - documented - short == set()
    handlers = {name for name in documented if not name.endswith("_HANDLER")}
    assert handlers - settings.keys() <= {"GROVE_CONFIG_REFRESH", "GROVE_CONFIG_INTERPOLATE"}
    required = {name for name, setting in settings.items() if setting["required"]}
    assert required == set(re.findall(r"`(GROVE_[A-Z0-9_]+)` \| required", README))


def test_a_setting_says_what_it_is_for(shell: Shell) -> None:
    found = shell.run("plugins", "caches", "redis", "--json").json["plugins"]
    (about,) = found
    assert (about["extra"], about["distribution"], about["used"]) == ("redis", "grove", True)
    assert about["settings"][2] == {
        "name": "GROVE_CACHE_REDIS_PREFIX",
        "required": False,
        "default": "grove",
        "description": "What the keys begin with: one per deployment.",
    }
    for group in ("outputs", "caches", "configs", "secrets"):
        for about in shell.run("plugins", group, "--json").json["plugins"]:
            assert all(setting["description"] for setting in about["settings"]), about["name"]


def test_for_people(shell: Shell) -> None:
    done = shell.run("plugins", "caches", "redis")
    assert done.out.splitlines() == [
        "grove.caches",
        "  redis  (pip install 'grove[redis]')",
        "      Strings `{prefix}:pk:sk`, all in one hash slot, so that a Redis Cluster keeps a batch together.",
        "      GROVE_CACHE_REDIS_URL       required  The server: redis://, rediss:// (TLS) or unix://.",
        "      GROVE_CACHE_REDIS_PASSWORD  none      The password, in place of one in the URL.",
        "      GROVE_CACHE_REDIS_PREFIX    grove     What the keys begin with: one per deployment.",
        "      GROVE_CACHE_REDIS_TIMEOUT   5.0       Seconds to connect, and for each answer.",
    ]
    everything = shell.run("plugins").out
    assert re.findall(r"(?m)^grove\.\w+$", everything) == [f"grove.{group}" for group in GROUPS]
    assert "  local_stdout\n" in everything
    assert re.search(r"(?m)^      filters +required$", everything)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("nothing",), "nothing"), (("caches", "reddis"), "Did you mean 'redis'"), (("caches", "aws_s3"), "aws_dynamodb")],
)
def test_an_unknown_name_says_what_is_there(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    done = shell.run("plugins", *arguments)
    assert done.code == 2
    assert said in done.err


def test_somebody_else_s_plugin_is_read_like_ours(listed: Any) -> None:
    found = listed(
        {"mine": MINE},
        {
            PLUGIN_GROUP_OUTPUT: {"pipe": "mine:Output"},
            PLUGIN_GROUP_CACHE: {"mine": "mine:Cache"},
            PLUGIN_GROUP_PROCESSOR: {"mine": "mine:Processor"},
        },
    )
    pipe = found[PLUGIN_GROUP_OUTPUT, "pipe"]
    assert (pipe["distribution"], pipe["version"], pipe["value"]) == ("mine-outputs", "1.0", "mine:Output")
    assert pipe["summary"] == "Writes to a pipe. As others do."
    assert [tuple(setting.values()) for setting in pipe["settings"]] == [
        ("MINE_PIPE", False, None, "Where to write."),
        ("MINE_DEPTH", True, None, ""),
        ("MINE_TOKEN", False, "**********", ""),
        ("MINE_PARTS", False, [], ""),
        ("MINE_OTHER", False, "r", ""),
    ]
    cache = found[PLUGIN_GROUP_CACHE, "mine"]
    assert (cache["extra"], [setting["name"] for setting in cache["settings"]]) == ("fast", ["MINE_URL"])
    fields = found[PLUGIN_GROUP_PROCESSOR, "mine"]["fields"]
    assert fields == [{"name": "field", "required": True, "default": None, "description": ""}]


def test_what_is_broken_is_shown_with_its_error_and_hides_nothing(shell: Shell, listed: Any) -> None:
    odd = "class Meta(type):\n    Configuration = property(lambda cls: 1 // 0)\nclass Odd(metaclass=Meta):\n    pass\n"
    found = listed(
        {
            "raises": "raise RuntimeError('no such luck')",
            "first": "from pydantic import BaseSettings",
            "needs": "import sdk_that_is_not_there",
            "odd": odd,
            "plain": "plugin = 5",
        },
        {
            PLUGIN_GROUP_OUTPUT: {"raises": "raises:Output", "first": "first:Output"},
            PLUGIN_GROUP_CACHE: {"needs": "needs:Cache", "missing": "not_there:Cache"},
            PLUGIN_GROUP_SECRET: {"odd": "odd:Odd", "plain": "plain:plugin"},
            PLUGIN_GROUP_CONNECTOR: {"nameless": "needs:"},
        },
    )
    errors = {name: about["error"] for (_, name), about in found.items() if about["error"]}
    assert errors.keys() >= {"raises", "first", "needs", "missing", "odd", "nameless"}
    assert "RuntimeError: no such luck" in errors["raises"]
    assert "pydantic_settings" in errors["first"]
    assert "'sdk_that_is_not_there', which is not installed" in errors["needs"]
    assert "ZeroDivisionError" in errors["odd"]
    assert "GROVE_OUTPUT_AWS_S3_BUCKET" in [each["name"] for each in found[PLUGIN_GROUP_OUTPUT, "aws_s3"]["settings"]]
    shown = shell.run("plugins", "outputs")
    assert shown.code == 0
    assert "  raises  (from mine-outputs 1.0)\n      cannot be used: The plugin 'raises'" in shown.out
    assert "GROVE_OUTPUT_REMOTE_HTTP_URL" in shown.out


def test_two_plugins_of_one_name_are_told_apart(shell: Shell) -> None:
    (shell.root / "mine.py").write_text(textwrap.dedent(MINE))
    offer(shell.root, PLUGIN_GROUP_OUTPUT, {"local_stdout": "mine:Output"}, name="mine")
    shell.environment["PYTHONPATH"] = str(shell.root)
    found = shell.run("plugins", "outputs", "local_stdout", "--json").json["plugins"]
    assert sorted((about["distribution"], about["used"]) for about in found) == [("grove", True), ("mine", False)]
    (unused,) = [about for about in found if not about["used"]]
    assert "another distribution" in unused["error"]


def test_without_the_extras_it_says_which_to_install(shell: Shell) -> None:
    """What a class says of its extra is what is missing without it."""
    whole = {(about["group"], about["name"]): about for about in shell.run("plugins", "--json").json["plugins"]}
    blocked = f"import sys; sys.modules.update(dict.fromkeys({SDKS!r}))"
    command = [sys.executable, "-c", f"{blocked}; from grove.cli import main; main()", "plugins", "--json"]
    done = subprocess.run(command, env=shell.environment, capture_output=True, text=True, check=True)
    for about in json.loads(done.stdout)["plugins"]:
        extra = whole[about["group"], about["name"]]["extra"]
        if about["error"]:
            assert f"pip install 'grove[{extra}]'" in about["error"], about
        else:
            # Vault and sources need theirs only to log in.
            late = about["name"] == "hashicorp_vault" or about["group"] == PLUGIN_GROUP_CONNECTOR
            assert extra is None or late, about
