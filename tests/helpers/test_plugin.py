import contextlib
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from grove.constants import PLUGIN_GROUP_CACHE, PLUGIN_GROUP_CONNECTOR, PLUGIN_GROUP_PROCESSOR
from grove.exceptions import ConfigurationException
from grove.helpers import plugin
from grove.models import ProcessorConfig


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory whose distributions are found, as if they were installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    plugin.refresh()
    for name in [name for name in sys.modules if name.startswith("probe_")]:
        del sys.modules[name]


def install(root: Path, group: str, name: str, value: str, code: str) -> None:
    info = root / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    (root / f"{value.partition(':')[0]}.py").write_text(code)
    plugin.refresh()


def test_lookup() -> None:
    found = plugin.lookup_handler("local_heartbeat", PLUGIN_GROUP_CONNECTOR)
    assert isinstance(found, EntryPoint)
    assert found.value == "grove.connectors.local.heartbeat:Connector"


@pytest.mark.parametrize(
    ("name", "group", "hint"),
    [
        ("local_hartbeat", PLUGIN_GROUP_CONNECTOR, "Did you mean 'local_heartbeat'"),
        ("zzz", PLUGIN_GROUP_PROCESSOR, "Installed are .*'filter_entries'"),
        ("zzz", "grove.nothing", "No plugin of this kind"),
    ],
)
def test_an_unknown_name_says_what_is_there(name: str, group: str, hint: str) -> None:
    with pytest.raises(ConfigurationException, match=hint) as error:
        plugin.lookup_handler(name, group)
    assert repr(name) in str(error.value)


def test_load_passes_arguments() -> None:
    config = ProcessorConfig.model_validate({"name": "p", "processor": "filter_entries", "filters": ["a"]})
    handler = plugin.load_handler("filter_entries", PLUGIN_GROUP_PROCESSOR, config)
    assert handler.configuration.name == "p"


def test_metadata_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = plugin.entry_points
    crowd = threading.Barrier(2)

    def counting(group: str) -> object:
        calls.append(group)
        # Room for a second thread, which must not come.
        with contextlib.suppress(threading.BrokenBarrierError):
            crowd.wait(0.2)
        return real(group=group)

    plugin.refresh()
    monkeypatch.setattr(plugin, "entry_points", counting)
    threads = [
        threading.Thread(target=plugin.lookup_handler, args=("local_memory", PLUGIN_GROUP_CACHE)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [PLUGIN_GROUP_CACHE]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import rich_but_missing", "needs the package 'rich_but_missing', which is not installed"),
        ("raise ModuleNotFoundError('no', name='rich.table')", r"pip install 'grove\[cli\]'"),
        ("from json import no_such_name", "no_such_name"),
        ("from pydantic import BaseSettings", "BaseSettings"),
        ("raise TypeError('built for another release')", "TypeError: built for another release"),
        ("x = ", "SyntaxError"),
        ("", "Handler"),
    ],
)
def test_a_plugin_that_cannot_be_imported_says_why(installed: Path, code: str, words: str) -> None:
    install(installed, PLUGIN_GROUP_CACHE, "probe_cache", "probe_cache:Handler", code)
    with pytest.raises(ConfigurationException, match=words) as error:
        plugin.load_handler("probe_cache", PLUGIN_GROUP_CACHE)
    assert "'probe_cache' of grove.caches" in str(error.value)
    assert error.value.__cause__ is not None


OLD = """
import pydantic
from typing import Optional
from pydantic import BaseSettings, Field, root_validator

class Handler(BaseSettings):
    token: Optional[str]
    region: "str" = "x"
    address: str | None
    given: Optional[str] = None

    @root_validator
    def check(cls, values): ...

    @pydantic.root_validator()
    def also(cls, values): ...

    @root_validator(pre=True)
    def early(cls, values): ...
"""


def test_every_line_for_pydantic_1_is_named(installed: Path) -> None:
    install(installed, PLUGIN_GROUP_CACHE, "probe_cache", "probe_cache:Handler", OLD)
    with pytest.raises(ConfigurationException) as error:
        plugin.load_handler("probe_cache", PLUGIN_GROUP_CACHE)
    assert str(error.value) == (
        "The plugin 'probe_cache' of grove.caches cannot be loaded: it was written for pydantic 1, this is pydantic 2. "
        "probe_cache.py:4: import BaseSettings from pydantic_settings. "
        "probe_cache.py:7: an Optional field needs its default, `= None`. "
        "probe_cache.py:9: an Optional field needs its default, `= None`. "
        "probe_cache.py:12: write @root_validator(skip_on_failure=True), or use model_validator. "
        "probe_cache.py:15: write @root_validator(skip_on_failure=True), or use model_validator."
    )


def test_what_a_plugin_raises_itself_goes_through(installed: Path) -> None:
    code = "def Handler():\n    raise KeyError('mine')\n"
    install(installed, PLUGIN_GROUP_CACHE, "probe_cache", "probe_cache:Handler", code)
    with pytest.raises(KeyError, match="mine"):
        plugin.load_handler("probe_cache", PLUGIN_GROUP_CACHE)
