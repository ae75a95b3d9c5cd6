"""Clients without any state, and a folder to collect into."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from grove.caches.local_memory import Handler as MemoryCache
from grove.outputs.local_file import Handler as FileOutput
from grove.testing.practice import TOKEN, PracticeAPI, read_delivered


def over_http(api: PracticeAPI, **query: str) -> list[dict[str, Any]]:
    """Every entry that a naive client gets, which follows whatever the answer says."""
    found = []
    address: str | None = api.url
    with requests.Session() as session:
        session.trust_env = False
        while address:
            answer = session.get(address, params=query, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
            answer.raise_for_status()
            body = answer.json()
            found.extend(body["entries"])
            if body.get("next"):
                assert answer.links["next"]["url"] == body["next"]
                assert urlsplit(body["next"])[:3] == urlsplit(api.url)[:3]
                address, query = body["next"], {}
            elif body.get("next_cursor"):
                query["cursor"] = body["next_cursor"]
            elif body.get("next_offset") is not None:
                query["offset"] = body["next_offset"]
            elif body.get("has_more"):
                query["after"] = body["entries"][-1]["id"]
            else:
                address = None
    return found


def in_process(api: PracticeAPI, **query: str) -> list[dict[str, Any]]:
    """The same, without HTTP."""
    found = []
    following: dict[str, str] | None = query
    while following is not None:
        page = api.page(following)
        found.extend(page.entries)
        following = page.next
    return found


class Folder:
    """A memory cache and a file output of one stream, and what has arrived."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cache = MemoryCache()
        self.cache.setup()
        self.cache.reset()
        self.output = FileOutput()
        self.output.setup()

    def collect(self, api: PracticeAPI, **fields: Any) -> str:
        """One run, and how it ended."""
        connector = api.connector(cache=self.cache, output=self.output, **fields)
        connector.run()
        return connector.outcome

    def delivered(self) -> list[dict[str, Any]]:
        return read_delivered(self.path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    path = tmp_path / "out"
    path.mkdir()
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(path))
    folder = Folder(path)
    yield folder
    folder.cache.reset()


Client = Callable[..., list[dict[str, Any]]]


@pytest.fixture(params=[over_http, in_process])
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    return found
