"""What every configuration backend has to do, as tests that the author of a handler inherits.

    class TestMyConfig(ConfigContract):
        @pytest.fixture
        def backend(self, monkeypatch):
            monkeypatch.setenv("MY_CONFIG_URL", ...)
            return my_package.Handler()

        def put(self, name, text):
            ...  # keep the document `text` under `name`

        def remove(self, name):
            ...

What a backend cannot do is overridden with a `pytest.skip` that says why.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from grove.configs import BaseConfig
from grove.models import ConnectorConfig

__all__ = ["ConfigContract"]

CANARY = "canary-5a1e-of-the-contract"

STREAM = f'"name": "a", "identity": "one", "connector": "local_heartbeat", "key": "{CANARY}"'

BROKEN = {
    "blank": " ",
    "no-json": f'{{"name": "a", "key": "{CANARY}" ',
    "list": "[]",
    "text": f'"{CANARY}"',
    "no-name": '{"identity": "one", "connector": "local_heartbeat"}',
    "no-number": f'{{{STREAM}, "frequency": "{CANARY}"}}',
    "no-object": f'{{{STREAM}, "secrets": "{CANARY}"}}',
    "no-base64": f'{{{STREAM}, "encoding": {{"key": "base64"}}}}',
    "no-encoding": f'{{{STREAM}, "encoding": {{"key": "rot13"}}}}',
    "nested": "[" * 4000,
}


class ConfigContract:
    """For every configuration backend: give the fixture `backend`, `put` and `remove`."""

    MANY = 25
    """More documents than one answer of the backend holds."""

    @pytest.fixture
    def backend(self) -> BaseConfig:
        """The handler under test, over a place of its own in which there is nothing."""
        raise NotImplementedError("Override the fixture `backend` to give the handler that is to be tested.")

    def put(self, name: str, text: str) -> None:
        """Keep the document `text` (JSON, or what somebody took for it) under `name`, in place of what was there."""
        raise NotImplementedError("Override `put` to keep a document.")

    def remove(self, name: str) -> None:
        """Remove the document `name`."""
        raise NotImplementedError("Override `remove` to remove a document.")

    # --- documents ---

    def test_a_document_comes_back_whole(self, backend: BaseConfig) -> None:
        fields = {
            "key": "pässword 東京",
            "operation": "all",
            "frequency": 60,
            "secrets": {"token": "/some/where"},
            "processors": [{"name": "p", "processor": "filter_entries", "filters": ["a.b"]}],
            "outputs": {"logs": "raw"},
            "schema": "kept",
            "list": [1, None, {"a": "b"}],
        }
        self.put("okta", _text("okta", **fields))
        (found,) = backend.get()
        expected = ConnectorConfig.model_validate(json.loads(_text("okta", **fields)))
        assert found.model_dump() == expected.model_dump()
        assert backend.problems == []

    def test_every_document_is_found_in_the_order_of_names(self, backend: BaseConfig) -> None:
        names = [f"stream{number:03d}" for number in range(self.MANY)]
        for name in reversed(names):
            self.put(name, _text(name))
        assert _names(backend.get()) == names

    def test_nothing_is_found_where_nothing_is(self, backend: BaseConfig) -> None:
        assert backend.get() == []
        assert backend.problems == []

    def test_disabled_documents_are_documents(self, backend: BaseConfig) -> None:
        self.put("okta", _text("okta", disabled=True))
        assert [config.disabled for config in backend.get()] == [True]

    def test_one_document_can_be_asked_for(self, backend: BaseConfig) -> None:
        self.put("one", _text("one"))
        self.put("two", _text("two"))
        assert _names(backend.get("two")) == ["two"]
        assert backend.get("three") == []

    def test_a_list_is_several_documents(self, backend: BaseConfig) -> None:
        self.put("many", f"[{_text('one')}, {_text('two')}]")
        assert _names(backend.get()) == ["one", "two"]
        self.put("many", f"[{_text('one')}, {_text('two', frequency=0)}, {_text('three')}]")
        assert _names(backend.get()) == ["one", "two", "three"]
        assert len(backend.problems) == 1

    # --- those that are unusable ---

    @pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
    def test_a_bad_document_is_named_and_left_out(
        self, backend: BaseConfig, caplog: pytest.LogCaptureFixture, text: str
    ) -> None:
        self.put("broken", text)
        self.put("good", _text("good"))
        assert _names(backend.get()) == ["good"]
        (problem,) = backend.problems
        assert "broken" in str(problem)
        assert [vars(record)["exception"] for record in caplog.records if record.levelname == "ERROR"] == [str(problem)]
        assert CANARY not in repr(problem) + caplog.text

    def test_a_document_that_breaks_keeps_its_last_usable_version(self, backend: BaseConfig) -> None:
        self.put("okta", _text("okta", frequency=60))
        self.put("good", _text("good"))
        backend.get()
        self.put("okta", "{")
        for _ in range(3):
            assert [(config.name, config.frequency) for config in backend.get()] == [("good", 600), ("okta", 60)]
            assert len(backend.problems) == 1

    def test_a_broken_document_is_logged_once(self, backend: BaseConfig, caplog: pytest.LogCaptureFixture) -> None:
        self.put("okta", "{")
        for _ in range(3):
            backend.get()
        assert [record.levelname for record in caplog.records].count("ERROR") == 1
        self.put("okta", "[")
        backend.get()
        assert [record.levelname for record in caplog.records].count("ERROR") == 2

    def test_a_document_that_is_mended_is_a_document_again(self, backend: BaseConfig) -> None:
        self.put("okta", "{")
        assert backend.get() == []
        self.put("okta", _text("okta"))
        assert _names(backend.get()) == ["okta"]
        assert backend.problems == []

    # --- asked again and again ---

    def test_what_has_not_changed_is_the_same_object(self, backend: BaseConfig) -> None:
        self.put("one", _text("one"))
        self.put("two", _text("two"))
        before = backend.get()
        self.put("two", _text("two", frequency=60))
        after = backend.get()
        assert after[0] is before[0]
        assert (before[1].frequency, after[1].frequency) == (600, 60)

    def test_what_is_removed_is_gone(self, backend: BaseConfig) -> None:
        self.put("one", _text("one"))
        self.put("two", "{")
        backend.get()
        self.remove("one")
        self.remove("two")
        assert backend.get() == []
        assert backend.problems == []

    def test_any_thread_may_ask(self, backend: BaseConfig) -> None:
        self.put("okta", _text("okta"))
        found = [backend.get()]
        for _ in range(3):
            thread = threading.Thread(target=lambda: found.append(backend.get()))
            thread.start()
            thread.join()
        assert [_names(each) for each in found] == [["okta"]] * 4

    def test_two_handlers_find_the_same(self, backend: BaseConfig) -> None:
        self.put("okta", _text("okta"))
        assert _names(type(backend)().get()) == _names(backend.get()) == ["okta"]


def _text(name: str, **fields: Any) -> str:
    return json.dumps({"name": name, "identity": "one", "connector": "local_heartbeat", **fields}, ensure_ascii=False)


def _names(found: list[ConnectorConfig]) -> list[str]:
    return [config.name for config in found]
