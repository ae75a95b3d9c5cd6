"""Plugins as others write them, installed by pip and run unmodified: every part of a collection is theirs.

Their output can only submit and their cache has only `get`, `set` and `delete`, so this is what is promised: nothing
is lost, and at most one page is there twice for each process that was killed.
"""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from grove.testing.practice import PracticeAPI, Report
from tests.plugins.conftest import SOURCE, Site, pip_install

PAGE = 10
ORDERS = {"acme_doors": "oldest_first", "acme_badges": "newest_first"}
OUTPUTS = ("acme_spool", "acme_lines")
PLUGINS = {
    "connectors": {"acme_doors", "acme_badges"},
    "outputs": {"acme_spool", "acme_lines"},
    "caches": {"acme_sqlite"},
    "processors": {"acme_mask"},
    "configs": {"acme_inventory"},
    "secrets": {"acme_keyring"},
}


def report(site: Site, api: PracticeAPI) -> Report:
    return api.compare([{key: entry[key] for key in entry if key != "_grove"} for entry in site.delivered()])


# --- installed ---


def test_what_pip_has_installed_is_what_is_written_here(installed: Path) -> None:
    for path in (SOURCE / "acme_grove").rglob("*.py"):
        assert (installed / path.relative_to(SOURCE)).read_bytes() == path.read_bytes()


def test_the_pin_keeps_pip_from_installing_it_and_no_deps_does_not(
    source: Path, installed: Path, tmp_path: Path
) -> None:
    refused = pip_install(source, tmp_path)
    assert refused.returncode != 0
    assert "grove" in refused.stderr and "<2.0" in refused.stderr
    assert (installed / "acme_grove-1.2.0.dist-info" / "METADATA").read_text().count("Requires-Dist: grove<2.0") == 1


def test_every_plugin_is_discovered(site: Site) -> None:
    code, out = site.run("plugins", "--json")
    assert code == 0
    found = [about for about in json.loads(out)["plugins"] if about["distribution"] == "acme-grove"]
    assert {(about["group"], about["name"]) for about in found} == {
        (f"grove.{group}", name) for group, names in PLUGINS.items() for name in names
    }
    assert {about["version"] for about in found} == {"1.2.0"}
    assert [about["error"] for about in found if about["error"]] == []
    settings = {setting["name"]: setting["required"] for about in found for setting in about["settings"]}
    assert settings == {"GROVE_OUTPUT_ACME_LINES_PATH": True, "GROVE_OUTPUT_ACME_LINES_PREFIX": False}
    assert [field["name"] for about in found for field in about["fields"]] == ["fields"]


# --- collecting ---


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("connector", ORDERS)
def test_it_collects(site: Site, api: PracticeAPI, connector: str, output: str) -> None:
    api.order = ORDERS[connector]  # type: ignore[assignment]
    site.environment["GROVE_OUTPUT_HANDLER"] = output
    site.documents(site.document(api, connector))
    assert site.run()[0] == 0, site.log()
    assert report(site, api).exact
    assert "execution_lock" not in site.stored()
    metadata = site.delivered()[0]["_grove"]
    assert (metadata["connector"], metadata["identity"]) == (f"acme_grove.connectors.{connector[5:]}", "acme")


def test_the_daemon_collects_what_is_new_and_ends_when_it_is_asked_to(site: Site, api: PracticeAPI) -> None:
    site.documents(site.document(api, "acme_doors"))
    daemon = site.start("groved")
    site.until(lambda: not report(site, api).lost, daemon)
    api.offer(25)
    site.until(lambda: not report(site, api).lost, daemon)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0, site.log()
    assert report(site, api).exact
    assert "execution_lock" not in site.stored()


def test_an_old_name_is_what_the_output_is_told(site: Site, api: PracticeAPI) -> None:
    api.order = "newest_first"
    site.documents(site.document(api, "acme_badges"))
    assert site.run()[0] == 0, site.log()
    assert {path.name.split("-")[0] for path in site.spool.iterdir()} == {"acme_badges"}


def test_its_processor_and_its_own_serialize_are_used(site: Site, api: PracticeAPI) -> None:
    site.environment["GROVE_OUTPUT_HANDLER"] = "acme_lines"
    mask = {"name": "mask", "processor": "acme_mask", "fields": ["actor"]}
    outputs = {"logs": "raw", "masked": "processed"}
    site.documents(site.document(api, "acme_doors", processors=[mask], outputs=outputs))
    assert site.run()[0] == 0, site.log()
    assert report(site, api).exact
    masked = site.processed()
    assert {entry["actor"] for entry in masked} == {"***"}
    assert {entry["id"] for entry in masked} == {entry["id"] for entry in site.delivered()}
    assert len(masked) == 100
    names = {path.name.split(".")[0] for path in (site.lines / "masked").iterdir()}
    assert names == {"acme_doors"}


def test_a_document_of_a_plugin_that_is_wrong_is_an_error_of_configuration(site: Site, api: PracticeAPI) -> None:
    mask = {"name": "mask", "processor": "acme_mask", "feilds": ["actor"]}
    site.documents(site.document(api, "acme_doors", processors=[mask]))
    assert site.run()[0] == 78
    assert "feilds" in site.log()


def test_a_secret_that_is_missing_stops_its_stream_alone_and_one_that_changes_is_used(
    site: Site, api: PracticeAPI
) -> None:
    missing = site.document(api, "acme_badges", secrets={"key": "nobody"})
    site.documents(site.document(api, "acme_doors"), missing)
    assert site.run()[0] == 1
    assert report(site, api).exact
    assert "The keyring has no nobody." in site.log()
    (site.root / "keyring").write_text("door-token=another\n")
    api.offer(5)
    api.token = "another"
    site.documents(site.document(api, "acme_doors"))
    site.let_time_pass()
    assert site.run()[0] == 0, site.log()
    assert report(site, api).exact


# --- what its parts allow ---


@pytest.mark.parametrize("program", ["grove", "groved"])
@pytest.mark.parametrize("connector", ORDERS)
def test_killed_in_the_middle_and_resumed(site: Site, api: PracticeAPI, connector: str, program: str) -> None:
    api.order = ORDERS[connector]  # type: ignore[assignment]
    site.documents(site.document(api, connector))
    requests = (5, 2, 3)
    for request in requests:
        started: list[subprocess.Popen[str]] = []
        api.before(request, lambda started=started: started[0].kill())  # type: ignore[misc]
        started.append(site.start(program))
        assert started[0].wait() == -signal.SIGKILL, site.log()
        api.heal()
        site.let_time_pass()
    assert site.run()[0] == 0, site.log()
    found = report(site, api)
    assert found.lost == found.foreign == []
    assert len(found.twice) <= len(requests) * PAGE, found


def test_a_second_process_is_kept_out(site: Site, api: PracticeAPI) -> None:
    site.documents(site.document(api, "acme_doors"))
    codes: list[int] = []
    api.before(3, lambda: codes.append(site.run()[0]))
    assert site.run()[0] == 0, site.log()
    assert codes == [75]
    assert report(site, api).exact


def test_a_paused_holder_that_comes_back_is_refused(site: Site, api: PracticeAPI) -> None:
    """Its cache has conditions, so it is fenced by them."""
    site.documents(site.document(api, "acme_doors"))
    paused: list[subprocess.Popen[str]] = []

    def pause() -> None:
        paused[0].send_signal(signal.SIGSTOP)

    api.before(4, pause)
    paused.append(site.start())
    site.until(lambda: len(site.delivered()) >= 2 * PAGE, paused[0])
    _wait_until_stopped(paused[0])
    while site.is_locked():
        # It was stopped in the middle of a change, where nobody could take its place.
        paused[0].send_signal(signal.SIGCONT)
        paused[0].send_signal(signal.SIGSTOP)
        _wait_until_stopped(paused[0])
    site.let_time_pass()
    assert site.run()[0] == 0, site.log()
    assert report(site, api).exact
    pointer = site.stored()["pointer"]
    paused[0].send_signal(signal.SIGCONT)
    assert paused[0].wait() == 1
    found = report(site, api)
    assert found.lost == [] and len(found.twice) <= PAGE
    assert site.stored()["pointer"] == pointer


def _wait_until_stopped(process: subprocess.Popen[Any]) -> None:
    stat = Path(f"/proc/{process.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "T":
        pass
