"""Streams that differ in a field of their own have a state of their own, and find what was kept before it had one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from grove.connectors.rest import CHRONOLOGICAL, RestConnector, Source
from grove.exceptions import ConfigurationException, NotFoundException
from grove.helpers import plugin
from grove.models import ConnectorConfig
from grove.runtime import load_documents, state_key

from .conftest import Streams

FIELDS = {"name": "one", "identity": "corp", "connector": "scoped", "key": "k", "outputs": {"logs": "raw"}}


class Scoped(RestConnector):
    CONNECTOR = "scoped"
    POINTER_PATH = "at"
    LOG_ORDER = CHRONOLOGICAL
    STREAM_FIELDS = ("scope",)
    SOURCE = Source(url="http://127.0.0.1:9/never")

    class Configuration(RestConnector.Configuration):
        """What it may have of its own."""

        scope: str = Field("orgs", pattern="^[a-z]+$")

    def collect(self) -> None:
        self.save([{"at": "2026-01-01T00:00:00Z", "scope": self.fields.scope}])


def pointer(streams: Streams, **fields: Any) -> str:
    return streams.connector({**FIELDS, **fields}, Scoped).pointer


def test_each_value_has_its_own_state(streams: Streams) -> None:
    assert streams.run({**FIELDS, "scope": "enterprises"}, Scoped).outcome == "succeeded"
    with pytest.raises(NotFoundException):
        pointer(streams)
    assert streams.run(FIELDS, Scoped).outcome == "succeeded"
    # The default, said or not, is one stream.
    assert pointer(streams) == pointer(streams, scope="orgs") == "2026-01-01T00:00:00Z"
    assert [found["scope"] for found in streams.delivered()].count("orgs") == 1


def test_state_from_before_is_moved_once(streams: Streams) -> None:
    plain = f"pointer.{ConnectorConfig(**FIELDS).reference()}"
    streams.cache.set(plain, "all", "2025-05-05T00:00:00Z")
    assert pointer(streams, scope="enterprises") == "2025-05-05T00:00:00Z"
    assert streams.run({**FIELDS, "scope": "enterprises"}, Scoped).outcome == "succeeded"
    assert pointer(streams, scope="enterprises") == "2026-01-01T00:00:00Z"
    with pytest.raises(NotFoundException):
        streams.cache.get(plain, "all")
    # A second one finds nothing left to inherit.
    with pytest.raises(NotFoundException):
        pointer(streams)


def test_nobody_inherits_what_may_belong_to_another(streams: Streams) -> None:
    plain = f"pointer.{ConnectorConfig(**FIELDS).reference()}"
    streams.cache.set(plain, "all", "2025-05-05T00:00:00Z")
    config = ConnectorConfig(**FIELDS)
    config._has_namesakes = True
    connector = Scoped(config, {}, cache=streams.cache, output=streams.output)
    with pytest.raises(NotFoundException):
        _ = connector.pointer
    connector.run()
    assert streams.cache.get(plain, "all") == "2025-05-05T00:00:00Z"


@pytest.mark.parametrize("scopes", [("orgs", "enterprises"), ("orgs", None)])
def test_documents_that_differ_only_there(
    scopes: tuple[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROVE_CONFIG_LOCAL_FILE_PATH", str(tmp_path))
    load_class = plugin.load_class
    monkeypatch.setattr(
        plugin, "load_class", lambda name, group: Scoped if name == "scoped" else load_class(name, group)
    )
    for number, scope in enumerate(scopes):
        fields = {**FIELDS, "name": f"n{number}", **({"scope": scope} if scope else {})}
        (tmp_path / f"{number}.json").write_text(json.dumps(fields))
    documents = load_documents()
    assert len(documents.streams) == 2
    assert all(config._has_namesakes for config in documents.streams)
    assert all(config.model_copy()._has_namesakes for config in documents.streams)
    clash = scopes[1] is None
    assert len({state_key(config) for config in documents.streams}) == (1 if clash else 2)
    assert bool(documents.problems) == clash


def test_a_value_that_is_wrong_is_named(streams: Streams) -> None:
    config = ConnectorConfig(**{**FIELDS, "scope": "Not Here"})
    with pytest.raises(ConfigurationException, match=r"'one' .*scope: String should match"):
        Scoped.stream_reference(config)
    assert state_key(config) == (config.reference(), "all")
