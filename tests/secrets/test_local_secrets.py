import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from grove.exceptions import AccessException, DataFormatException, GroveException, NotFoundException
from grove.logging import forget_secrets, redact
from grove.models import ConnectorConfig
from grove.secrets import BaseSecret
from grove.secrets.local_file import Handler

CANARY = "canary-5a1e"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    forget_secrets()


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Handler:
    monkeypatch.setenv("GROVE_SECRET_LOCAL_FILE_PATH_PREFIX", str(tmp_path))
    return Handler()


def config(secrets: dict[str, str], **fields: object) -> ConnectorConfig:
    return ConnectorConfig.model_validate(
        {"name": "acme", "identity": "one", "connector": "x", "secrets": secrets, **fields}
    )


def test_trailing_white_space_is_not_part_of_a_secret(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f" {CANARY}\n \n")
    assert handler.get("token") == f" {CANARY}"


def test_an_absolute_path_ignores_the_prefix(handler: Handler, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "token"
    path.write_text(CANARY)
    assert handler.get(str(path)) == CANARY


def test_fields_are_filled_and_decoded(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(CANARY)
    (tmp_path / "pem").write_bytes(base64.b64encode(b"another-canary") + b"\n")
    (tmp_path / "schema").write_text("some-schema")
    document = config({"key": "key", "private_key": "pem", "schema": "schema"}, encoding={"private_key": "base64"})
    loaded = handler.load(document)
    assert loaded is document
    assert (loaded.key, loaded.private_key, loaded.schema_) == (CANARY, "another-canary", "some-schema")


def test_what_was_fetched_is_kept_out_of_the_logs(handler: Handler, tmp_path: Path) -> None:
    encoded = base64.b64encode(CANARY.encode()).decode()
    (tmp_path / "key").write_text(encoded)
    handler.load(config({"key": "key"}, encoding={"key": "base64"}))
    assert redact(f"{CANARY} {encoded}") == "[redacted] [redacted]"


@pytest.mark.parametrize(
    ("content", "kind"),
    [(None, NotFoundException), (b"", DataFormatException), (b"\xff\xfe", DataFormatException)],
)
def test_what_cannot_be_used_is_named(
    handler: Handler, tmp_path: Path, content: bytes | None, kind: type[GroveException]
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(kind, match=r"field 'key' of 'acme' .*/key'"):
        handler.load(config({"key": "key"}))


def test_a_directory_is_no_secret(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(AccessException, match="cannot be read: Is a directory"):
        handler.get("key")


def test_an_impossible_name_is_an_error(handler: Handler) -> None:
    with pytest.raises(AccessException, match="cannot be read"):
        handler.get("a\0b")


def test_a_secret_that_is_not_what_it_says_is_not_quoted(handler: Handler, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"*{CANARY}*")
    with pytest.raises(DataFormatException, match="field 'key' of 'acme' is unusable") as error:
        handler.load(config({"key": "key"}, encoding={"key": "base64"}))
    assert CANARY not in str(error.value)


def test_a_secret_that_others_may_change_is_warned_about(
    handler: Handler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "key").write_text(CANARY)
    (tmp_path / "key").chmod(0o666)
    assert handler.get("key") == CANARY
    assert ["Others may change" in record.message for record in caplog.records] == [True]


class _Broken(BaseSecret):
    def get(self, id: str) -> str:
        raise KeyError(CANARY)


def test_what_a_store_did_not_expect_becomes_our_error() -> None:
    with pytest.raises(AccessException, match=r"field 'key' of 'acme' .*KeyError") as error:
        _Broken().load(config({"key": "key"}))
    assert CANARY not in str(error.value)


class _TwoArguments(GroveException):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")


class _Odd(BaseSecret):
    def get(self, id: str) -> str:
        raise _TwoArguments(403, "forbidden")


def test_an_error_of_the_stores_own_is_told() -> None:
    with pytest.raises(AccessException, match="403 forbidden"):
        _Odd().load(config({"key": "key"}))


class _Bytes(BaseSecret):
    def get(self, id: str) -> str:
        return b"bytes"  # type: ignore[return-value]


def test_only_text_can_be_a_secret() -> None:
    with pytest.raises(DataFormatException, match="is no text"):
        _Bytes().load(config({"key": "key"}))
