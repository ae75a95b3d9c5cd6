"""A handler that is asked again: what has not changed is the same object, what is broken stays as it was."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grove.configs import BaseConfig
from grove.configs.local_file import Handler
from grove.models import ConnectorConfig


def document(name: str, **fields: Any) -> str:
    return json.dumps({"name": name, "identity": "one", "connector": "local_heartbeat", **fields})


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Handler:
    monkeypatch.setenv("GROVE_CONFIG_LOCAL_FILE_PATH", str(tmp_path))
    (tmp_path / "a.json").write_text(document("a"))
    (tmp_path / "b.json").write_text(document("b"))
    return Handler()


def names(found: list[ConnectorConfig]) -> list[str]:
    return [config.name for config in found]


def reported(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["exception"] for record in caplog.records if record.levelno == logging.ERROR]


def test_what_has_not_changed_is_the_same_object(handler: Handler, tmp_path: Path) -> None:
    before = handler.get()
    (tmp_path / "b.json").write_text(document("b", frequency=5))
    after = handler.get()
    assert after[0] is before[0]
    assert (before[1].frequency, after[1].frequency) == (600, 5)


def test_a_broken_document_keeps_its_last_usable_version(
    handler: Handler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handler.get()
    (tmp_path / "a.json").write_text("{")
    assert names(handler.get()) == ["a", "b"]
    assert "a.json" in str(handler.problems[0])
    (tmp_path / "a.json").write_text(document("a", frequency=7))
    assert [config.frequency for config in handler.get()] == [7, 600]
    assert handler.problems == []
    assert [record.message for record in caplog.records] == [
        "A configuration document is unusable; its last usable version is kept."
    ]


def test_each_broken_content_is_reported_once(
    handler: Handler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for content in ("{", "{", "[]", "[]", "{"):
        (tmp_path / "a.json").write_text(content)
        assert names(handler.get()) == ["b"]
        assert len(handler.problems) == 1
    assert ["not valid JSON" in problem for problem in reported(caplog)] == [True, False, True]


def test_a_document_that_was_good_breaks_and_is_the_same_good_again_is_read(handler: Handler, tmp_path: Path) -> None:
    handler.get()
    for content in ("{", document("a")):
        (tmp_path / "a.json").write_text(content)
        assert names(handler.get()) == ["a", "b"]
    assert handler.problems == []


def test_a_removed_document_does_not_come_back_broken(handler: Handler, tmp_path: Path) -> None:
    handler.get()
    (tmp_path / "a.json").unlink()
    assert names(handler.get()) == ["b"]
    (tmp_path / "a.json").write_text("{")
    assert names(handler.get()) == ["b"]


def test_a_document_that_cannot_be_read_any_more_is_kept(
    handler: Handler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handler.get()
    (tmp_path / "a.json").unlink()
    (tmp_path / "a.json").mkdir()
    assert names(handler.get()) == ["a", "b"]
    assert names(handler.get()) == ["a", "b"]
    assert ["This is a directory" in problem for problem in reported(caplog)] == [True]


def test_what_lies_in_a_directory_that_cannot_be_read_is_kept(
    handler: Handler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "c.json").write_text(document("c"))
    handler.get()
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("team"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        for _ in range(2):
            assert names(handler.get()) == ["a", "b", "c"]
        assert "team: The directory cannot be read" in str(handler.problems[0])
    (tmp_path / "team" / "c.json").unlink()
    assert names(handler.get()) == ["a", "b"]


def test_others_permission_is_warned_about_once(
    handler: Handler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for mode in (0o666, 0o666, 0o600, 0o666):
        (tmp_path / "a.json").chmod(mode)
        handler.get()
    assert len(caplog.records) == 2


def test_another_source_is_kept_in_the_same_way(caplog: pytest.LogCaptureFixture) -> None:
    class Store(BaseConfig):
        read_all: Callable[[], dict[str, bytes]]

        def get(self, id: str | None = None) -> list[ConnectorConfig]:
            self.begin()
            return [config for source, data in self.read_all().items() for config in self.read(data, source)]

    store = Store()
    store.read_all = lambda: {"/x": document("x").encode()}
    (first,) = store.get()
    store.read_all = lambda: {"/x": b"{"}
    assert store.get() == [first]
    assert len(reported(caplog)) == 1
