"""Sources are asked, asked again and waited for in `grove.http` only, by what connectors import and by what they do."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from grove.testing.practice import TOKEN, PracticeAPI

PACKAGE = Path(__file__).parent.parent.parent / "grove"
CONNECTORS = sorted(PACKAGE.joinpath("connectors").rglob("*.py"))

# What computes. Whatever is not here may open a connection or wait, or load what does.
HARMLESS = {
    *("__future__", "abc", "base64", "binascii", "bisect", "blake3", "calendar", "collections", "collections.abc"),
    *("contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib", "email.utils", "enum", "functools"),
    *("hashlib", "heapq", "html", "io", "itertools", "jmespath", "jmespath.exceptions", "json", "logging", "math"),
    *("operator", "orjson", "pydantic", "queue", "random", "re", "string", "struct", "textwrap", "threading", "types"),
    *("typing", "unicodedata", "urllib.parse", "uuid", "xml.etree", "xml.etree.ElementTree", "xml.sax.saxutils"),
    *("zlib", "zoneinfo"),
}
# Layers that connect to something are for `BaseConnector` alone; of the toolkit, what is public is for all.
GROVE = ("_core", "caches", "connectors", "constants", "exceptions", "helpers", "http", "logging", "models", "state")
PACKAGES = ("grove", "http", "urllib", "xml")
# The face of the engine, which no connector resembles.
BASE = "connectors/__init__.py"
BASE_MAY = {
    "os",
    "grove.__about__",
    "grove.collection",
    "grove.coverage",
    "grove.history",
    "grove.lookback",
    "grove.window",
    "grove.outputs",
}
BASE_MAY |= {"grove.outputs._adapter", "grove.outputs._several", "grove.processors"}
# Both end when the process is asked to stop.
WAITS = ("self.wait", "self.stopping.wait")
NAMES = {"__builtins__", "__import__", "eval", "exec"}
ATTRIBUTES = {"__builtins__", "import_module", "load_module", "modules", "sleep", "urlopen"}


def violations(text: str) -> list[str]:
    """What a connector with that source must not do."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if not _may_import(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            source = "." if node.level else node.module or ""
            if source in PACKAGES:
                found += [name for alias in node.names if not _may_import(name := f"{source}.{alias.name}")]
            elif not _may_import(source):
                found.append(source)
            elif source.startswith("grove.http") and any(alias.name.startswith("_") for alias in node.names):
                found.append(f"a private part of {source}")
        elif isinstance(node, ast.Name) and node.id in NAMES:
            found.append(node.id)
        elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            found.append(node.attr)
        elif isinstance(node, ast.Attribute) and node.attr == "wait" and ast.unparse(node) not in WAITS:
            found.append("a wait that nobody can end")
    return found


def _may_import(name: str) -> bool:
    parts = name.split(".")
    if parts[0] == "grove" and len(parts) > 1:
        return parts[1] in GROVE and not (parts[1] == "http" and any(part.startswith("_") for part in parts))
    return name in HARMLESS


def test_every_connector_is_looked_at() -> None:
    assert len(CONNECTORS) > 40


@pytest.mark.parametrize("path", CONNECTORS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_connectors_neither_connect_nor_wait(path: Path) -> None:
    allowed = BASE_MAY if path.relative_to(PACKAGE).as_posix() == BASE else set()
    assert set(violations(path.read_text())) - allowed == set()


@pytest.mark.parametrize(
    "text",
    [
        "import requests",
        "import requests as r",
        "def f():\n    import urllib3",
        "if True:\n    from urllib3.util import Retry",
        "import socket",
        "import http.client",
        "from http import client",
        "from urllib import request",
        "import urllib.request as anything",
        "import httpx, json",
        "import asyncio",
        "import subprocess",
        "import os",
        "import time",
        "import time as t\nt.sleep(1)",
        "from time import sleep as rest",
        "from time import *",
        "import importlib",
        "__import__('requests')",
        "import functools\nfunctools.partial(exec, 'import time')\nexec('import time')",
        "from grove.http import _transport",
        "from grove.http._transport import send",
        "import grove.http._transport",
        "from grove.outputs.remote_http import requests",
        "from grove import outputs",
        "from . import api",
        "import threading\nthreading.Event().wait(5)",
        "import pydantic\npydantic.main.sys.modules['requests']",
        "import concurrent.futures",
        "import boto3",
    ],
)
def test_ways_around_it_are_seen(text: str) -> None:
    assert violations(text) != []


@pytest.mark.parametrize(
    "text",
    [
        "from grove.http import Client, next_link",
        "from grove.connectors.rest import RestConnector",
        "from grove import _core",
        "import re\nre.compile('x')",
        "from xml.etree import ElementTree",
        "class C:\n    def collect(self):\n        self.wait(5)",
    ],
)
def test_what_connectors_need_is_not_refused(text: str) -> None:
    assert violations(text) == []


WATCHED = """
    import os, sys, traceback

    seen = []

    def watch(event, arguments):
        if event.startswith("socket.") or event in ("time.sleep", "urllib.Request", "subprocess.Popen"):
            frames = [frame.filename for frame in traceback.extract_stack()]
            seen.append((event, any("/grove/http/" in name for name in frames)))

    sys.addaudithook(watch)

    from grove.caches.local_memory import Handler as Cache
    from grove.connectors.http_json import Connector
    from grove.models import ConnectorConfig
    from grove.outputs.local_file import Handler as Output

    cache, output = Cache(), Output()
    cache.setup(), output.setup()
    document = {
        "name": "watched", "identity": "corp", "connector": "http_json", "key": sys.argv[2],
        "outputs": {"logs": "raw"}, "pointer_path": "at", "order": "oldest_first", "url": sys.argv[1],
        "auth": {"type": "header"}, "params": {"since": "{since}", "limit": 10}, "entries": "entries",
        "first_run": 1e9, "paging": {"type": "token", "path": "next_cursor", "param": "cursor"}, "pause": 0.01,
    }
    connector = Connector(ConnectorConfig(**document), {}, cache=cache, output=output)
    connector.run()
    assert connector.outcome == "succeeded", connector.failure
    print(*sorted({f"{event} {inside}" for event, inside in seen}), sep="\\n")
"""


def test_every_connection_is_opened_by_the_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(tmp_path))
    with PracticeAPI(35, order="oldest_first", paging="cursor", page_size=10) as api:
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(WATCHED), api.url, TOKEN], capture_output=True, text=True
        )
    assert result.returncode == 0, result.stderr
    events = result.stdout.split("\n")
    # The look-up of the name, on a thread of the toolkit's own, and the connection.
    assert "socket.connect True" in events
    assert [event for event in events if event.endswith("False")] == []
    assert [event for event in events if event.startswith("time.sleep")] == []
