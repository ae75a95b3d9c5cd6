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


# --- several documents in one file ---


def several(*documents: str) -> str:
    return "\n---\n".join(documents)


@pytest.fixture
def many(tmp_path: Path) -> Handler:
    (tmp_path / "m.yaml").write_text(several(*map(document, "xyz")))
    return Handler([tmp_path / "m.yaml"])


def test_of_several_documents_each_keeps_its_own_last_usable_version(many: Handler, tmp_path: Path) -> None:
    before = many.get()
    changed = several(document("new"), document("z", frequency=7), document("x", frequency="x"), document("y"))
    (tmp_path / "m.yaml").write_text(changed)
    after = many.get()
    assert [(config.name, config.frequency) for config in after] == [("new", 600), ("z", 7), ("x", 600), ("y", 600)]
    assert after[2] is before[0]
    assert after[3] is before[1]
    assert [problem.document for problem in many.problems] == ["x"]
    assert after[3]._origin.place("frequency") == f"{tmp_path}/m.yaml:7:1"


def test_a_document_that_loses_its_name_is_known_by_its_number(many: Handler, tmp_path: Path) -> None:
    before = many.get()
    (tmp_path / "m.yaml").write_text(several(document("x"), '{"identity": "one"}', document("z")))
    assert many.get() == before
    # A document of that number whose name has moved is another one.
    (tmp_path / "m.yaml").write_text(several(document("z"), document("y"), '{"identity": "one"}'))
    assert names(many.get()) == ["z", "y"]


def test_a_file_that_breaks_keeps_all_of_its_documents(many: Handler, tmp_path: Path) -> None:
    before = many.get()
    (tmp_path / "m.yaml").write_text(several(document("x"), "name: b: c", document("z")))
    for _ in range(2):
        assert many.get() == before
        assert [problem.code for problem in many.problems] == ["bad-yaml"]


def test_a_document_that_is_taken_out_is_gone(many: Handler, tmp_path: Path) -> None:
    many.get()
    (tmp_path / "m.yaml").write_text(several(document("x"), document("z")))
    assert names(many.get()) == ["x", "z"]
    assert many.count == 2


def test_documents_of_one_name_are_told_apart(many: Handler, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(several(document("x"), document("x", identity="two")))
    assert [config.identity for config in many.get()] == ["one", "two"]
