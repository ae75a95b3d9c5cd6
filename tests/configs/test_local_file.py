import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest

from grove.configs.local_file import Handler
from grove.exceptions import ConfigurationException

CANARY = "canary-5a1e"


def document(**fields: Any) -> str:
    return json.dumps({"name": "acme", "identity": "one", "connector": "local_heartbeat", **fields})


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Handler:
    monkeypatch.setenv("GROVE_CONFIG_LOCAL_FILE_PATH", str(tmp_path))
    (tmp_path / "m.json").write_text(document(name="good"))
    return Handler()


def test_documents_come_in_the_order_of_their_paths(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.json").write_text(document(name="second"))
    (tmp_path / "a.json").write_text(document(name="first"))
    (tmp_path / "c.yaml").write_text("name: third\nidentity: one\nconnector: local_heartbeat\n")
    (tmp_path / "d.yml").write_text(document(name="fourth"))
    (tmp_path / "a.yaml.txt").write_text("no: document")
    (tmp_path / ".hidden.json").write_text("{")
    assert [config.name for config in handler.get()] == ["first", "second", "third", "fourth", "good"]
    assert handler.problems == []


def test_one_document_can_be_asked_for(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(document(name="other"))
    assert [config.name for config in handler.get("other")] == ["other"]


def test_disabled_documents_are_documents(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(document(disabled=True))
    assert [config.disabled for config in handler.get()] == [True]


def test_a_byte_order_mark_is_no_mistake(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(b"\xef\xbb\xbf" + document(name="marked").encode())
    assert [config.name for config in handler.get()] == ["marked"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a.json: The document is empty"),
        (b" \n", "a.json: The document is empty"),
        (b"[]", "a.json: There is no document in it"),
        (b"null", "a.json:1:1: .*has to be an object with fields, not null"),
        (b"7", "a.json:1:1: .*has to be an object with fields, not a number"),
        (b'{\n  "key": "' + CANARY.encode() + b'"\n  "name": 1}', "a.json:3:3: .* not valid JSON.* A comma is missing"),
        (b"\xff\xfe{}", "a.json: Byte 0 is not valid UTF-8"),
        (b"[" * 100_000, "a.json: The document cannot be read: RecursionError"),
        (document(frequency=CANARY).encode(), r"a.json:1:\d+: The field 'frequency' has to be a whole number"),
        (document(identity="").encode(), r"a.json:1:\d+: The field 'identity' is empty"),
        (
            document(key=f"*{CANARY}", encoding={"key": "base64"}).encode(),
            r"a.json:1:\d+: Field 'key' cannot be decoded",
        ),
        (document(key=CANARY, encoding={"key": "rot13"}).encode(), r"a.json:1:\d+: .*'rot13' is unknown"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
def test_a_bad_document_is_named_and_skipped(
    handler: Handler, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, words: str
) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with caplog.at_level(logging.ERROR):
        assert [config.name for config in handler.get()] == ["good"]
    (problem,) = handler.problems
    assert re.search(words, str(problem)), problem
    assert [record.__dict__["exception"] for record in caplog.records] == [str(problem)]
    assert CANARY not in repr(problem)


def test_a_directory_is_no_document(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    (tmp_path / "x.json" / "inside.json").write_text(document(name="inside"))
    assert sorted(config.name for config in handler.get()) == ["good", "inside"]
    assert [problem.message for problem in handler.problems] == ["This is a directory, not a document."]


def test_a_broken_link_is_named(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "x.json").symlink_to(tmp_path / "nowhere")
    assert [config.name for config in handler.get()] == ["good"]
    assert "x.json: The document cannot be read: No such file" in str(handler.problems[0])


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_an_unreadable_document_is_named(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(document())
    (tmp_path / "x.json").chmod(0)
    assert [config.name for config in handler.get()] == ["good"]
    assert "x.json: The document cannot be read: Permission denied" in str(handler.problems[0])


def test_problems_are_those_of_the_last_reading(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    handler.get()
    (tmp_path / "x.json").unlink()
    handler.get()
    assert handler.problems == []


def test_a_mounted_volume_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As container platforms lay it out: links to a hidden, versioned directory.
    version = tmp_path / "..2026_11_24"
    version.mkdir()
    (version / "a.json").write_text(document())
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "a.json").symlink_to("..data/a.json")
    monkeypatch.setenv("GROVE_CONFIG_LOCAL_FILE_PATH", str(tmp_path))
    assert len(Handler().get()) == 1


def test_a_circle_of_links_ends(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    assert [config.name for config in handler.get()] == ["good"]


def test_a_document_that_others_may_change_is_warned_about(
    handler: Handler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "m.json").chmod(0o666)
    assert len(handler.get()) == 1
    assert ["Others may change" in record.message for record in caplog.records] == [True]


def test_a_missing_directory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_CONFIG_LOCAL_FILE_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationException, match=r"GROVE_CONFIG_LOCAL_FILE_PATH is .*nowhere"):
        Handler().get()


def test_a_directory_that_was_away_makes_nothing_be_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, away = tmp_path / "documents", tmp_path / "away"
    folder.mkdir()
    monkeypatch.setenv("GROVE_CONFIG_LOCAL_FILE_PATH", str(folder))
    (folder / "m.json").write_text(document(name="good"))
    handler = Handler()
    handler.get()
    (folder / "m.json").write_text("{")
    for _ in range(2):
        assert [config.name for config in handler.get()] == ["good"]
        folder.rename(away)
        with pytest.raises(ConfigurationException):
            handler.get()
        away.rename(folder)
    assert [config.name for config in handler.get()] == ["good"]


def test_the_directory_has_to_be_set() -> None:
    with pytest.raises(ConfigurationException, match="Set GROVE_CONFIG_LOCAL_FILE_PATH to the directory"):
        Handler()
