"""Secrets in variables of the environment."""

import os

import pytest

from grove.exceptions import DataFormatException, NotFoundException
from grove.helpers import plugin
from grove.secrets.environment import Handler


def test_it_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", "canary-5a1e")
    assert plugin.load_handler("environment", "grove.secrets").get("ACME_TOKEN") == "canary-5a1e"


def test_trailing_white_space_is_not_part_of_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", " canary-5a1e \r\n")
    assert Handler().get("ACME_TOKEN") == " canary-5a1e"


def test_a_prefix_keeps_documents_from_other_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_SECRET_ENVIRONMENT_PREFIX", "ACME_")
    monkeypatch.setenv("ACME_TOKEN", "canary-5a1e")
    monkeypatch.setenv("OTHER", "canary-6b2f")
    handler = Handler()
    assert handler.get("TOKEN") == "canary-5a1e"
    with pytest.raises(NotFoundException, match="no variable 'ACME_OTHER'"):
        handler.get("OTHER")


@pytest.mark.parametrize("value", ["", " \n"])
def test_an_empty_variable_is_no_secret(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ACME_TOKEN", value)
    with pytest.raises(DataFormatException, match="'ACME_TOKEN' is empty"):
        Handler().get("ACME_TOKEN")


def test_what_is_not_utf_8_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ACME_TOKEN", "canary\udcff")
    with pytest.raises(DataFormatException, match="'ACME_TOKEN' is not UTF-8") as failed:
        Handler().get("ACME_TOKEN")
    assert "canary" not in str(failed.value)


@pytest.mark.parametrize("name", ["", "a=b", "a\0b"])
def test_an_impossible_name_leads_nowhere(name: str) -> None:
    with pytest.raises(NotFoundException):
        Handler().get(name)
