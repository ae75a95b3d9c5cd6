"""What every secret store has to do, as tests that the author of a handler inherits.

    class TestMySecrets(SecretContract):
        @pytest.fixture
        def store(self, monkeypatch):
            monkeypatch.setenv("MY_SECRETS_URL", ...)
            return my_package.Handler()

        def put(self, name, value):
            ...  # keep `value`, and return the locator that leads to it

What a store cannot do is overridden with a `pytest.skip` that says why.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from grove.exceptions import DataFormatException, GroveException, NotFoundException
from grove.logging import forget_secrets, redact
from grove.models import ConnectorConfig
from grove.secrets import BaseSecret

__all__ = ["SecretContract"]

CANARY = "canary-5a1e-of-the-contract"

VALUES = {
    "plain": CANARY,
    "unicode": "Zürich-東京-\U0001f333",
    "inner-space": "two words",
    "quotes": "a'b\"c\\d",
    "json": '{"token": "x", "list": [1, null]}',
    "key": "-----BEGIN PRIVATE KEY-----\nMIIB\nAA==\n-----END PRIVATE KEY-----",
    "percent": "%2F%00${HOME}$(id)",
    "long": "0123456789abcdef" * 200,
}


class SecretContract:
    """For every secret store: give the fixture `store`, and `put`."""

    @pytest.fixture
    def store(self) -> BaseSecret:
        """The handler under test, over a store of its own."""
        raise NotImplementedError("Override the fixture `store` to give the handler that is to be tested.")

    def put(self, name: str, value: str) -> str:
        """Keep `value` under `name` (ASCII letters) in place of what was there; the locator that leads to it."""
        raise NotImplementedError("Override `put` to keep a secret and return its locator.")

    def missing(self, name: str) -> str:
        """A locator that leads nowhere."""
        raise NotImplementedError("Override `missing` to return a locator under which there is nothing.")

    @pytest.fixture(autouse=True)
    def _forgotten(self) -> Iterator[None]:
        forget_secrets()
        yield
        forget_secrets()

    # --- one secret ---

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    def test_a_secret_comes_back_unchanged(self, store: BaseSecret, value: str) -> None:
        assert store.get(self.put("token", value)) == value

    def test_two_secrets_are_told_apart(self, store: BaseSecret) -> None:
        first, second = self.put("first", "one"), self.put("second", "two")
        assert (store.get(first), store.get(second)) == ("one", "two")

    def test_a_rotated_secret_is_seen_at_once(self, store: BaseSecret) -> None:
        locator = self.put("token", "old")
        before = store.get(locator)
        assert (before, store.get(self.put("token", "new"))) == ("old", "new")
        assert store.get(locator) == "new"

    def test_a_missing_secret_is_named(self, store: BaseSecret) -> None:
        locator = self.missing("nowhere")
        with pytest.raises(NotFoundException, match="nowhere"):
            store.get(locator)

    def test_it_goes_on_after_an_error(self, store: BaseSecret) -> None:
        locator = self.put("token", "one")
        with pytest.raises(GroveException):
            store.get(self.missing("nowhere"))
        assert store.get(locator) == "one"

    def test_it_does_not_show_secrets(self, store: BaseSecret, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", logger="grove")
        store.get(self.put("token", CANARY))
        assert CANARY not in repr(store) + caplog.text
        assert all(CANARY not in repr(vars(record)) for record in caplog.records)

    def test_many_threads_may_ask(self, store: BaseSecret) -> None:
        locators = [self.put(f"thread{letter}", letter) for letter in "abcdefgh"]
        found: dict[str, list[str]] = {}

        def ask(locator: str) -> None:
            found[locator] = [store.get(locator) for _ in range(5)]

        threads = [threading.Thread(target=ask, args=(locator,)) for locator in locators]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {locator: [letter] * 5 for locator, letter in zip(locators, "abcdefgh", strict=True)}

    # --- those of a document ---

    def test_a_document_is_filled_and_decoded(self, store: BaseSecret) -> None:
        encoded = base64.b64encode(CANARY.encode()).decode()
        secrets = {"key": self.put("token", "one"), "private_key": self.put("encoded", encoded)}
        loaded = store.load(_document(secrets, encoding={"private_key": "base64"}))
        assert (loaded.key, loaded.private_key) == ("one", CANARY)  # type: ignore[attr-defined]

    def test_what_a_document_is_filled_with_is_kept_out_of_the_logs(self, store: BaseSecret) -> None:
        encoded = base64.b64encode(CANARY.encode()).decode()
        store.load(_document({"key": self.put("token", encoded)}, encoding={"key": "base64"}))
        assert redact(f"{CANARY} {encoded}") == "[redacted] [redacted]"

    def test_a_missing_secret_fails_its_own_document_only(self, store: BaseSecret) -> None:
        good = {"key": self.put("token", CANARY)}
        with pytest.raises(NotFoundException, match=r"field 'other' of 'contract'.*nowhere") as failed:
            store.load(_document({**good, "other": self.missing("nowhere")}))
        assert _told(failed.value).count(CANARY) == 0
        assert store.load(_document(good)).key == CANARY

    def test_what_cannot_be_decoded_is_not_quoted(self, store: BaseSecret) -> None:
        document = _document({"key": self.put("token", f"*{CANARY}*")}, encoding={"key": "base64"})
        with pytest.raises(DataFormatException, match="field 'key' of 'contract'") as failed:
            store.load(document)
        assert _told(failed.value).count(CANARY) == 0

    def test_an_empty_locator_is_an_error_of_ours(self, store: BaseSecret) -> None:
        # `load` would make one of any error.
        with pytest.raises(GroveException):
            store.reading()("")


def _document(secrets: dict[str, str], **fields: Any) -> ConnectorConfig:
    return ConnectorConfig.model_validate(
        {"name": "contract", "identity": "one", "connector": "contract", "secrets": secrets, **fields}
    )


def _told(err: BaseException | None) -> str:
    """Everything that a traceback would tell of an error."""
    told = ""
    while err is not None:
        told += f"{err!r} {vars(err)} "
        err = err.__cause__ or (None if err.__suppress_context__ else err.__context__)
    return told
