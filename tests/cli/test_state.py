"""`grove state`: looking at what is remembered, changing it, saving and restoring it."""

import json
import os
import pty
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grove.backup import Backup
from grove.caches import BaseCache, Batch, Key
from grove.caches.local_lmdb import Handler as LmdbCache
from grove.cli import cli
from grove.connectors.rest.refresh_tokens import RefreshTokens
from grove.exceptions import ConcurrencyException
from grove.models import ConnectorConfig
from grove.runtime import state_key
from grove.state import StreamState
from grove.testing.practice import PracticeAPI
from tests.cli.here import run_here
from tests.cli.shell import GROVE, Done, Shell
from tests.servers import make_redis_server, running


class Here(Shell):
    """A shell whose commands run in the tests' own process."""

    def run(self, *arguments: str, **environment: str) -> Done:
        return run_here(cli, *arguments, **{**self.environment, **environment})


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path)


def key(shell: Shell, kind: str, name: str) -> Key:
    config = ConnectorConfig(**json.loads((shell.root / "conf" / f"{name}.json").read_text()))
    reference, operation = state_key(config)
    return Key(f"{kind}.{reference}", operation)


def cache(shell: Shell) -> BaseCache:
    return LmdbCache(shell.root / "state")


def stored(shell: Shell, kind: str, name: str = "practice") -> str | None:
    return cache(shell).read([key(shell, kind, name)])[0]


def store(shell: Shell, kind: str, name: str, value: str) -> None:
    cache(shell).apply(Batch().set(key(shell, kind, name), value))


def everything(shell: Shell) -> dict[Key, str]:
    return dict(cache(shell).scan(""))


def facts(shell: Shell, name: str = "practice") -> dict[str, Any]:
    return dict(shell.run("state", "show", name, "--json").json["facts"])


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in which 250 entries were collected, of a source that is still there."""
    with PracticeAPI(250) as api:
        shell = Shell(tmp_path_factory.mktemp("once"))
        shell.collects(api, frequency=1)
        assert shell.run("run", "practice").code == 0
        assert len(shell.delivered) == 250
        yield shell.root


@pytest.fixture
def collected(shell: Shell, once: Path) -> Shell:
    """A shell in which that has happened."""
    for folder in ("conf", "out", "state"):
        shutil.copytree(once / folder, shell.root / folder, dirs_exist_ok=True)
    return shell


def again(shell: Shell) -> int:
    """How many entries there are after one more run."""
    assert shell.run("run", "practice").code == 0
    return len(shell.delivered)


# --- to look at ---


def test_the_group_lists_its_commands(shell: Shell) -> None:
    text = shell.run("state", "--help").out
    for name in ("list", "show", "set", "reset", "export", "import"):
        assert f"\n  {name} " in text


def test_list(collected: Shell) -> None:
    found = collected.run("state", "list", "--json").json
    (stream,) = found["streams"]
    assert (stream["name"], stream["configured"], stream["holder"]) == ("practice", True, None)
    assert stream["pointer"] == stored(collected, "pointer")
    assert stream["commits"] == int(stored(collected, "sequence") or 0) > 0
    assert found["store"] == cache(collected).get("store", "id")
    lines = collected.run("state", "list").out.splitlines()
    assert lines[0].split() == ["stream", "pointer", "age", "commits", "held", "by"]
    assert lines[1].startswith(f"practice  {stream['pointer']}")


def test_streams_without_a_document_are_listed_and_can_be_shown(collected: Shell) -> None:
    place = key(collected, "pointer", "practice")
    (collected.root / "conf" / "practice.json").unlink()
    (stream,) = collected.run("state", "list", "--json").json["streams"]
    assert stream["configured"] is False
    assert stream["name"] == f"{place.pk.removeprefix('pointer.')}/{place.sk}"
    assert collected.run("state", "show", stream["name"]).code == 0
    assert collected.run("state", "set", stream["name"], "1", "--yes").code == 2
    assert collected.run("state", "reset", stream["name"], "--yes").code == 0
    assert cache(collected).read([place]) == [None]


def test_show(collected: Shell) -> None:
    text = collected.run("state", "show", "practice").out
    assert f"pointer           {stored(collected, 'pointer')}" in text
    assert "boundary          1 entries at" in text
    assert "`grove status` says more" in text
    assert facts(collected)["pointer"] == stored(collected, "pointer")
    assert facts(collected)["history"]["outcome"] == "succeeded"


def test_a_stream_that_is_not_there(collected: Shell) -> None:
    found = collected.run("state", "show", "practise")
    assert found.code == 2
    assert "Did you mean 'practice'" in found.err


def test_nothing_is_remembered(shell: Shell) -> None:
    assert shell.run("state", "list").out == "Nothing is remembered, and there is nothing to collect.\n"
    shell.document("quiet")
    assert "Nothing is remembered of it." in shell.run("state", "show", "quiet").out


# --- set ---


def test_set(collected: Shell) -> None:
    old, sequence = stored(collected, "pointer"), int(stored(collected, "sequence") or 0)
    middle = sorted(entry["at"] for entry in collected.delivered)[100]
    found = collected.run("state", "set", "practice", middle, "--yes", "--json")
    assert found.code == 0, found.err
    assert found.json["pointer"] == {"old": old, "new": middle}
    assert found.err.splitlines()[0] == f"practice: pointer {old} -> {middle}"
    assert stored(collected, "pointer") == middle
    assert stored(collected, "pointer_previous") == old
    assert stored(collected, "boundary") is None
    assert int(stored(collected, "sequence") or 0) == sequence + 1
    assert stored(collected, "execution_lock") is None
    assert again(collected) > 250


def test_what_was_set_can_be_undone(collected: Shell) -> None:
    old = facts(collected)
    found = collected.run("state", "set", "practice", "2020-01-01T00:00:00Z", "--yes", "--json")
    backup = Path(found.json["backup"])
    assert backup.parent == collected.root / "state" / "backups"
    assert (backup.stat().st_mode & 0o777, backup.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert collected.run("state", "import", str(backup), "--yes").code == 0
    new = facts(collected)
    changing = ("epoch", "sequence")
    assert {k: v for k, v in new.items() if k not in changing} == {k: v for k, v in old.items() if k not in changing}
    assert int(new["sequence"]) > int(old["sequence"])
    assert again(collected) == 250


def test_the_pointer_that_is_there(collected: Shell) -> None:
    before = everything(collected)
    found = collected.run("state", "set", "practice", str(stored(collected, "pointer")), "--yes")
    assert (found.code, found.out) == (0, "practice: The pointer is that already. Nothing was changed.\n")
    assert {k: v for k, v in everything(collected).items() if not k.pk.startswith("epoch")} == {
        k: v for k, v in before.items() if not k.pk.startswith("epoch")
    }


def test_a_pointer_that_is_no_time_where_there_was_one(collected: Shell) -> None:
    assert "will the source understand it?" in collected.run("state", "set", "practice", "yesterday", "--yes").err


def test_an_empty_pointer(collected: Shell) -> None:
    assert collected.run("state", "set", "practice", "", "--yes").code == 2


def test_where_nobody_can_be_asked(collected: Shell) -> None:
    before = stored(collected, "pointer")
    for arguments in (["set", "practice", "1"], ["reset", "practice"]):
        found = Shell.run(collected, "state", *arguments)
        assert found.code == 2
        assert "--yes" in found.err
    assert stored(collected, "pointer") == before
    assert stored(collected, "execution_lock") is None


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 130)])
def test_it_asks(collected: Shell, answer: str, code: int) -> None:
    ours, theirs = pty.openpty()
    old = stored(collected, "pointer")
    process = subprocess.Popen(
        [*GROVE, "state", "set", "practice", "2020-01-01T00:00:00Z"],
        env=collected.environment,
        cwd=collected.root,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, f"{answer}\n".encode())
    _, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code
    assert "Go on? [y/N]" in err
    assert stored(collected, "pointer") == ("2020-01-01T00:00:00Z" if answer == "y" else old)


def hold(shell: Shell) -> None:
    store(shell, "execution_lock", "practice", "2999-01-01T00:00:00.000000Z")
    store(shell, "lease", "practice", json.dumps({"owner": "77-abc", "nonce": "n", "since": "2026-01-01"}))


@pytest.mark.parametrize("command", [["set", "practice", "1"], ["reset", "practice"]])
def test_a_stream_that_is_being_collected_is_left_alone(collected: Shell, command: list[str]) -> None:
    hold(collected)
    before = everything(collected)
    found = collected.run("state", *command, "--yes")
    assert found.code == 75
    assert "being collected" in found.err
    assert everything(collected) == before


# --- reset ---


def test_reset(collected: Shell) -> None:
    found = collected.run("state", "reset", "practice", "--yes", "--json")
    assert (found.code, found.json["pointer"]["new"]) == (0, None)
    left = {place.pk.partition(".")[0] for place in everything(collected)}
    assert left <= {"epoch", "sequence", "coverage", "history", "store", "manifest"}
    assert again(collected) == 500


def test_reset_forgets_the_lookback(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, lookback=86_400)
    assert shell.run("run", "practice").code == 0
    assert any(place.pk.startswith("lookback-") for place in everything(shell))
    found = shell.run("state", "reset", "practice", "--yes", "--json")
    assert "lookback" in found.json["forgotten"]
    assert not any(place.pk.startswith("lookback") for place in everything(shell))
    assert shell.run("state", "import", found.json["backup"], "--yes").code == 0
    assert any(place.pk.startswith("lookback-") for place in everything(shell))
    assert again(shell) == 250


UNREADABLE = [
    ("pointer", ""),
    ("epoch", "one"),
    ("sequence", "1.5"),
    ("loose", "7"),
    ("lookback", "[]"),
    ("pending", "broken"),
    ("manifest", "broken"),
]


@pytest.mark.parametrize(("kind", "text"), UNREADABLE)
def test_reset_by_force_of_what_cannot_be_read(collected: Shell, kind: str, text: str) -> None:
    document = collected.root / "conf" / "practice.json"
    # Without it, what it keeps is not read.
    document.write_text(json.dumps({**json.loads(document.read_text()), "lookback": 60}))
    store(collected, kind, "practice", text)
    refused = collected.run("run", "practice")
    assert refused.code == 1
    assert f"The cached {kind} of" in refused.err
    assert "grove state reset --force" in refused.err
    assert collected.run("state", "reset", "practice", "--yes").code == 1
    found = collected.run("state", "reset", "practice", "--force", "--yes", "--json")
    assert found.code == 0, found.err
    assert found.err.splitlines()[1] == f"It cannot be read: {kind}. The backup has it as it is."
    assert kind in found.json["forgotten"]
    (saved,) = Backup.decode(Path(found.json["backup"]).read_bytes(), "backup").streams.values()
    assert saved[kind] == text
    assert stored(collected, "pointer") is None
    for counted in {"epoch", "sequence"} - {kind}:
        assert int(stored(collected, counted) or 0) > int(saved[counted])
    assert again(collected) == 500


def test_whoever_had_a_stream_that_was_reset_by_force_is_refused(collected: Shell) -> None:
    state = StreamState(cache(collected), lambda kind: key(collected, kind, "practice").pk, "all")
    state.load()
    store(collected, "loose", "practice", "7")
    assert collected.run("state", "reset", "practice", "--force", "--yes").code == 0
    with pytest.raises(ConcurrencyException):
        state.commit({"pointer": "2020-01-01T00:00:00Z"})
    assert stored(collected, "pointer") is None


def test_reset_by_force_leaves_a_stream_alone_that_is_being_collected(collected: Shell) -> None:
    store(collected, "loose", "practice", "7")
    hold(collected)
    before = everything(collected)
    assert collected.run("state", "reset", "practice", "--force", "--yes").code == 75
    assert everything(collected) == before


@pytest.mark.parametrize("kind", ["boundary", "intervals", "deduplication"])
def test_what_a_reset_does_not_read_it_forgets_in_any_case(collected: Shell, kind: str) -> None:
    store(collected, kind, "practice", "7")
    found = collected.run("state", "reset", "practice", "--yes", "--json")
    assert (found.code, kind in found.json["forgotten"]) == (0, True)
    assert again(collected) == 500


def test_reset_by_force_of_what_can_be_read_is_a_reset(collected: Shell) -> None:
    found = collected.run("state", "reset", "practice", "--force", "--yes", "--json")
    assert (found.code, "pointer" in found.json["forgotten"]) == (0, True)
    assert again(collected) == 500


def test_reset_of_nothing(shell: Shell) -> None:
    shell.document("quiet")
    assert "Nothing was changed" in shell.run("state", "reset", "quiet", "--yes").out
    assert not (shell.root / "state" / "backups").exists()


# --- export, import ---


def exported(shell: Shell, name: str = "all.json") -> Path:
    file = shell.root / name
    assert shell.run("state", "export", str(file)).code == 0
    return file


def test_export_is_whole(collected: Shell) -> None:
    document = json.loads(exported(collected).read_text())
    assert (document["format"], document["version"]) == ("grove-state", 1)
    assert document["store"] == cache(collected).get("store", "id")
    (stream,) = document["streams"]
    saved = {Key(f"{kind}.{stream['reference']}", stream["operation"]): v for kind, v in stream["facts"].items()}
    assert saved == {place: value for place, value in everything(collected).items() if place.pk != "store"}
    assert json.loads(Shell.run(collected, "state", "export").out)["streams"] == document["streams"]


def test_export_overwrites_nothing(collected: Shell) -> None:
    file = exported(collected)
    before = file.read_bytes()
    assert collected.run("state", "export", str(file)).code == 2
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o600


def test_import_into_an_empty_cache_goes_on_from_there(collected: Shell) -> None:
    file, before = exported(collected), everything(collected)
    collected.environment["GROVE_CACHE_LOCAL_LMDB_PATH"] = str(collected.root / "other")
    found = collected.run("state", "import", str(file), "--yes", "--json")
    assert found.code == 0, found.err
    assert found.json == {"restored": ["practice"], "unchanged": 0, "backup": None}
    after = dict(LmdbCache(collected.root / "other").scan(""))
    changing = ("epoch.", "sequence.")
    assert {k: v for k, v in after.items() if not k.pk.startswith(changing)} == {
        k: v for k, v in before.items() if not k.pk.startswith(changing)
    }
    assert again(collected) == 250


def test_import_twice_changes_nothing_more(collected: Shell) -> None:
    file = exported(collected)
    before = everything(collected)
    found = collected.run("state", "import", str(file), "--yes")
    assert (found.code, found.out) == (0, "Restored 0 of 1 stream.\n")
    assert everything(collected) == before


def test_import_replaces_a_stream_as_a_whole_and_keeps_others(collected: Shell) -> None:
    file = exported(collected)
    collected.document("later")
    assert collected.run("run", "later").code == 0
    store(collected, "cursor", "practice", "not then")
    found = collected.run("state", "import", str(file), "--yes", "--json")
    assert found.json["restored"] == ["practice"]
    assert stored(collected, "cursor") is None
    assert stored(collected, "pointer", "later") is not None
    kept = Backup.decode(Path(found.json["backup"]).read_bytes(), "backup")
    assert [saved.get("cursor") for saved in kept.streams.values()] == ["not then"]


def test_numbers_of_commits_never_go_back(collected: Shell) -> None:
    file = exported(collected)
    store(collected, "cursor", "practice", "x")
    store(collected, "sequence", "practice", "100")
    assert collected.run("state", "import", str(file), "--yes").code == 0
    assert int(stored(collected, "sequence") or 0) == 101


def test_import_of_another_store_is_refused(collected: Shell) -> None:
    file = exported(collected)
    document = json.loads(file.read_text())
    document["store"] = "0" * 16
    document["streams"][0]["facts"]["pointer"] = "2020-01-01T00:00:00Z"
    file.write_text(json.dumps(document))
    before = everything(collected)
    found = collected.run("state", "import", str(file), "--yes")
    assert found.code == 1
    assert "the store 0000000000000000" in found.err
    assert everything(collected) == before


def test_a_delivery_that_only_another_host_can_finish_is_not_taken_over(collected: Shell) -> None:
    file = exported(collected)
    document = json.loads(file.read_text())
    document["host"] = f"not-{socket.gethostname()}"
    document["streams"][0]["facts"]["pending"] = '[{"output":"grove.outputs.local_file","temp":"/x","path":"/y"}]'
    file.write_text(json.dumps(document))
    found = collected.run("state", "import", str(file), "--yes")
    assert found.code == 1
    assert "can only be finished there" in found.err


def test_import_while_a_stream_is_collected_changes_nothing(collected: Shell) -> None:
    file = exported(collected)
    store(collected, "cursor", "practice", "x")
    hold(collected)
    before = everything(collected)
    assert collected.run("state", "import", str(file), "--yes").code == 75
    assert everything(collected) == before


def test_refresh_tokens_are_secrets(collected: Shell) -> None:
    tokens = RefreshTokens(cache(collected), "the-first", "https://id.example.com", "client")
    tokens.keep("the-second")
    for arguments in (["list"], ["list", "--json"], ["show", "practice", "--json"], ["export"]):
        found = Shell.run(collected, "state", *arguments)
        assert (found.code, "practice" in found.out or "grove-state" in found.out) == (0, True), found.err
        assert "the-second" not in found.out + found.err
    assert "Left out: 1 refresh token in place of what documents have. Say --tokens" in found.err
    assert [stream["name"] for stream in collected.run("state", "list", "--json").json["streams"]] == ["practice"]

    file = collected.root / "tokens.json"
    found = collected.run("state", "export", str(file), "--tokens")
    assert (found.code, "Left out" in found.err, "the-second" in file.read_text()) == (0, False, True)
    assert file.stat().st_mode & 0o777 == 0o600
    collected.environment["GROVE_CACHE_LOCAL_LMDB_PATH"] = str(collected.root / "other")
    found = collected.run("state", "import", str(file), "--yes")
    assert (found.code, "the-second" in found.out + found.err) == (0, False), found.err
    other = LmdbCache(collected.root / "other")
    assert RefreshTokens(other, "the-first", "https://id.example.com", "client").kept() == "the-second"
    assert [place.pk.partition(".")[0] for place, _ in other.scan("") if place.sk == "all"].count("epoch") == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": "other"}',
        '{"format": "grove-state", "version": 2}',
        '{"format": "grove-state", "version": 1, "store": null, "host": "h", "streams": [{}]}',
        '{"format": "grove-state", "version": 1, "store": null, "host": "h", "streams": '
        '[{"reference": "a", "operation": "b", "facts": {"pointer": 7}}]}',
    ],
)
def test_files_that_are_none(collected: Shell, text: str) -> None:
    file = collected.root / "bad.json"
    file.write_text(text)
    before = everything(collected)
    found = collected.run("state", "import", str(file), "--yes")
    assert found.code == 1
    assert str(file) in found.err
    assert everything(collected) == before


def test_from_lmdb_to_redis_and_back(collected: Shell) -> None:
    pytest.importorskip("redis")
    file, folder = exported(collected), collected.root / "redis"
    folder.mkdir()
    with running(make_redis_server(folder, "--appendfsync", "always")) as server:
        lmdb = dict(collected.environment)
        collected.environment |= {
            "GROVE_CACHE_HANDLER": "redis",
            "GROVE_CACHE_REDIS_URL": f"redis://127.0.0.1:{server.port}",
        }
        found = collected.run("state", "import", str(file), "--yes", "--json")
        assert found.code == 0, found.err
        assert collected.run("state", "list", "--json").json["store"] == json.loads(file.read_text())["store"]
        assert again(collected) == 250
        back = exported(collected, "back.json")
    collected.environment = {**lmdb, "GROVE_CACHE_LOCAL_LMDB_PATH": str(collected.root / "other")}
    assert collected.run("state", "import", str(back), "--yes").code == 0
    assert again(collected) == 250
