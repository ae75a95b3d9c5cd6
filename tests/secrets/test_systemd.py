"""Credentials that systemd hands to a service."""

from pathlib import Path

import pytest

from grove.exceptions import AccessException, ConfigurationException, DataFormatException, NotFoundException
from grove.helpers import plugin
from grove.secrets.systemd import Handler


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_it_is_found_by_its_name(folder: Path) -> None:
    (folder / "okta.token").write_text("canary-5a1e\n")
    (folder / "okta.token").chmod(0o400)
    assert plugin.load_handler("systemd", "grove.secrets").get("okta.token") == "canary-5a1e"


@pytest.mark.parametrize("value", [None, ""])
def test_a_process_without_credentials_is_told(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    else:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", value)
    with pytest.raises(ConfigurationException, match=r"CREDENTIALS_DIRECTORY is not set.*LoadCredential=NAME:PATH"):
        Handler()


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/b", "..", ".", ""])
def test_a_name_leads_nowhere_else(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_text("canary-5a1e")
    with pytest.raises(NotFoundException, match="is no name of a systemd credential"):
        Handler().get(name)


def test_what_cannot_be_used_is_named(folder: Path) -> None:
    (folder / "binary").write_bytes(b"canary\xff")
    (folder / "empty").write_bytes(b"\n")
    (folder / "folder").mkdir()
    handler = Handler()
    with pytest.raises(NotFoundException, match=r"There is no file .*/nowhere"):
        handler.get("nowhere")
    with pytest.raises(DataFormatException, match="/binary' is not UTF-8") as failed:
        handler.get("binary")
    assert "canary" not in str(failed.value)
    with pytest.raises(DataFormatException, match="/empty' is empty"):
        handler.get("empty")
    with pytest.raises(AccessException, match="cannot be read: Is a directory"):
        handler.get("folder")
