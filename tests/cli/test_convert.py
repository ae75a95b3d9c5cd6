"""`grove convert`: the state in files, of this Grove and of HashiCorp's, goes on in LMDB as if it had been there."""

import io
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from grove.caches import Batch, Key, local_file, local_lmdb
from grove.cli.convert import convert
from grove.constants import LOCK_DATE_FORMAT, PLUGIN_GROUP_CONNECTOR
from grove.helpers import clock
from grove.lease import Lease
from grove.models import ConnectorConfig
from grove.state import StreamState
from grove.testing.practice import TOKEN, PracticeAPI
from tests.caches.programs import start
from tests.cli.here import run_here
from tests.cli.shell import Done, Shell
from tests.distributions import offer

REFERENCE = "example_one.06dc0fd3c08a2bc6a33f5460da9fea10"
# What HashiCorp's Grove has in its directory in the middle of a collection, newest first.
ORIGINAL = {
    f"pointer.{REFERENCE}/all": "2024-02-29T23:59:59Z",
    f"pointer_previous.{REFERENCE}/all": "2024-02-28T00:00:00Z",
    f"pointer_next.{REFERENCE}/all": "2024-03-02T00:00:00Z",
    f"window_start.{REFERENCE}/all": "2024-03-02T00:00:00Z",
    f"window_end.{REFERENCE}/all": "2024-03-01T00:00:00Z",
    f"deduplication.{REFERENCE}/all": '["d41d8cd98f00b204e9800998ecf8427e"]',
    f"last_run.{REFERENCE}/all": "2024-03-02T00:01:00Z",
    f"execution_lock.{REFERENCE}/all": "2024-03-02T00:06:00.000000Z",
    f"pointer.{REFERENCE}/my operation, ü": "5",
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory that HashiCorp's Grove has filled."""
    root = tmp_path / "files"
    write(root, ORIGINAL)
    return root


def write(root: Path, values: dict[str, str]) -> None:
    for name, value in values.items():
        path = root / f"{name}.cache"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)


def run(files: Path, *options: str, **environment: str) -> Done:
    """The command, with the directory `lmdb` beside `files`."""
    place = {"GROVE_CACHE_LOCAL_LMDB_PATH": str(files.parent / "lmdb"), **environment}
    return run_here(convert, str(files), *options, **place)


def done(files: Path, *options: str) -> list[tuple[str, str]]:
    """What has become of each stream, by its operation, of a command that succeeds."""
    result = run(files, "--yes", "--json", *options)
    assert result.code == 0, result.out
    document = result.json
    assert document["converted"] is True
    return [(stream["operation"], stream["action"]) for stream in document["streams"]]


def lmdb(files: Path) -> local_lmdb.Handler:
    return local_lmdb.Handler(files.parent / "lmdb")


def everything(files: Path) -> dict[tuple[str, str], str]:
    """What LMDB holds, without the marks of the copy."""
    return {key: value for key, value in lmdb(files).scan("") if not key.pk.startswith("converted.")}


def picture(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file below `root`: its content, when it was changed, and its mode. The cache's lock file is none."""
    found = {path: path.stat() for path in root.rglob("*") if path.is_file() and path.name != ".lock"}
    return {str(path): (path.read_bytes(), info.st_mtime_ns, info.st_mode) for path, info in found.items()}


EXPECTED = {tuple(name.split("/")): value for name, value in ORIGINAL.items() if not name.startswith("execution_lock")}


def test_everything_but_the_lock_is_copied_and_no_file_is_touched(files: Path) -> None:
    before = picture(files)
    assert done(files) == [("all", "copy"), ("my operation, ü", "copy")]
    assert everything(files) == EXPECTED
    assert picture(files) == before
    assert stat.S_IMODE((files.parent / "lmdb").stat().st_mode) == 0o700


def test_what_it_will_do_is_shown_and_nothing_is_done_unasked(files: Path) -> None:
    result = run(files)
    assert result.code == 1
    assert result.out.splitlines() == [
        f"From the files in {files}",
        f"into LMDB in      {files.parent / 'lmdb'}",
        "",
        "stream                                        operation        pointer",
        f"{REFERENCE}  all              2024-02-29T23:59:59Z  is copied",
        f"{REFERENCE}  my operation, ü  5                     is copied",
        "",
        "Nothing was changed. Add --yes to do it.",
    ]
    assert not (files.parent / "lmdb").exists()
    document = run(files, "--json").json
    assert document["converted"] is False
    assert document["streams"][0] == {
        "name": None,
        "reference": REFERENCE,
        "operation": "all",
        "pointer": "2024-02-29T23:59:59Z",
        "action": "copy",
    }
    assert not (files.parent / "lmdb").exists()


class Keyboard(io.StringIO):
    """Somebody at a terminal, and what they type."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "options", "code"), [("y\n", (), 0), ("n\n", (), 1), ("y\n", ("--json",), 1)])
def test_somebody_at_a_terminal_is_asked(
    files: Path, monkeypatch: pytest.MonkeyPatch, typed: str, options: tuple[str, ...], code: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard(typed))
    result = run(files, *options)
    assert result.code == code
    assert ("Copy them?" in result.out) == (not options)
    assert (everything(files) == EXPECTED) == (code == 0)


def test_afterwards_it_says_what_to_do(files: Path) -> None:
    result = run(files, "--yes", GROVE_CACHE_HANDLER="local_file")
    assert result.out.splitlines()[-1] == (
        "Copied: 2. The files are as they were. From now on unset GROVE_CACHE_HANDLER, or the files are used as before."
    )
    assert run(files, "--yes").out.splitlines()[-1] == "Nothing is left to be copied."


def test_streams_are_called_as_their_documents_are(files: Path, shell: Shell) -> None:
    shell.document("the first")
    (shell.root / "conf" / "broken.json").write_text("{")
    reference = ConnectorConfig(name="a", connector="local_heartbeat", identity="the first", key="k").reference()
    write(files, {f"pointer.{reference}/all": "1"})
    result = run(files, "--json", GROVE_CONFIG_LOCAL_FILE_PATH=str(shell.root / "conf"))
    assert [stream["name"] for stream in result.json["streams"]] == [None, None, "the first"]


# --- again ---


def test_again_it_changes_nothing(files: Path) -> None:
    done(files)
    before = everything(files)
    assert done(files) == [("all", "keep"), ("my operation, ü", "keep")]
    assert run(files).code == 0
    assert everything(files) == before


def test_what_was_collected_since_stays(files: Path) -> None:
    done(files)
    lmdb(files).set(f"pointer.{REFERENCE}", "all", "2025-01-01T00:00:00Z")
    assert done(files) == [("all", "keep"), ("my operation, ü", "keep")]
    assert lmdb(files).get(f"pointer.{REFERENCE}", "all") == "2025-01-01T00:00:00Z"


def test_a_copy_that_was_not_used_follows_the_files(files: Path) -> None:
    done(files)
    local_file.Handler(files).apply(
        Batch().set(Key(f"pointer.{REFERENCE}", "all"), "6").delete(Key(f"window_end.{REFERENCE}", "all"))
    )
    assert done(files) == [("all", "copy"), ("my operation, ü", "keep")]
    expected = {**EXPECTED, (f"pointer.{REFERENCE}", "all"): "6"}
    del expected[f"window_end.{REFERENCE}", "all"]
    assert everything(files) == expected


def _other_state(files: Path) -> None:
    lmdb(files).apply(
        Batch().set(Key(f"pointer.{REFERENCE}", "all"), "of LMDB").set(Key(f"cursor.{REFERENCE}", "all"), "c")
    )


def _both_went_on(files: Path) -> None:
    done(files)
    _other_state(files)
    local_file.Handler(files).set(f"pointer.{REFERENCE}", "all", "of the files")


@pytest.mark.parametrize("happened", [_other_state, _both_went_on])
def test_another_state_is_refused_or_replaced(files: Path, happened: Callable[[Path], None]) -> None:
    happened(files)
    before = everything(files)
    result = run(files, "--yes")
    assert result.code == 1
    assert "LMDB has another state" in result.out
    assert "--replace" in result.out
    assert everything(files) == before
    assert ("all", "replace") in done(files, "--replace")
    expected = {**EXPECTED, **dict(local_file.Handler(files).scan("pointer."))}
    assert everything(files) == expected
    assert done(files) == [("all", "keep"), ("my operation, ü", "keep")]


def test_the_same_state_without_a_mark_is_no_conflict(files: Path) -> None:
    for key, value in EXPECTED.items():
        lmdb(files).set(*key, value)
    assert done(files) == [("all", "keep"), ("my operation, ü", "keep")]


def test_other_streams_in_lmdb_are_let_alone(files: Path) -> None:
    lmdb(files).set("pointer.other", "all", "1")
    lmdb(files).set("store", "id", "of LMDB")
    local_file.Handler(files).set("store", "id", "of the files")
    done(files)
    assert everything(files) == {**EXPECTED, ("pointer.other", "all"): "1", ("store", "id"): "of LMDB"}


def test_the_store_keeps_its_id_where_there_is_none_yet(files: Path) -> None:
    local_file.Handler(files).set("store", "id", "of the files")
    done(files)
    assert lmdb(files).get("store", "id") == "of the files"


# --- what is being collected ---


def _expiry(seconds: float) -> str:
    return (clock.now() + timedelta(seconds=seconds)).strftime(LOCK_DATE_FORMAT)


@pytest.mark.parametrize("where", ["files", "lmdb"])
def test_streams_that_are_being_collected_are_refused(files: Path, where: str) -> None:
    cache = {"files": local_file.Handler, "lmdb": local_lmdb.Handler}[where](files.parent / where)
    lock = (f"execution_lock.{REFERENCE}", "all")
    cache.set(*lock, _expiry(60))
    result = run(files, "--yes")
    assert result.code == 75
    assert f"{REFERENCE}/all is being collected" in result.err
    assert [key for key in everything(files) if key != lock] == []
    cache.set(*lock, _expiry(-1))
    done(files)
    assert everything(files) == EXPECTED


def test_a_lease_of_a_living_process_is_respected_and_that_of_a_dead_one_is_not(files: Path) -> None:
    program = f"""
        from grove.lease import Lease
        from grove.state import StreamState
        Lease(StreamState(cache, lambda kind: f"{{kind}}.{REFERENCE}", "all"), 300.0, 3600.0).take()
        print("holds", flush=True)
        sys.stdin.read()
    """
    with start(program, "local_file", files) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "holds\n"
        assert run(files, "--yes").code == 75
        holder.kill()
    assert done(files)[0] == ("all", "copy")
    # Whoever comes next sweeps what that one has left, and need not wait for the lock.
    state = StreamState(lmdb(files), lambda kind: f"{kind}.{REFERENCE}", "all")
    lease = Lease(state, 300.0, 3600.0)
    lease.take()
    assert lease.unclean is not None
    assert state.epoch == 2
    lease.give_back({}, clean=True)


@pytest.mark.parametrize("where", ["files", "lmdb"])
def test_a_stream_that_is_taken_meanwhile_is_not_lost(files: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = {"files": local_file.Handler, "lmdb": local_lmdb.Handler}[where](files.parent / where)
    apply = local_lmdb.Handler.apply

    def taken_first(self: local_lmdb.Handler, batch: Batch) -> None:
        monkeypatch.setattr(local_lmdb.Handler, "apply", apply)
        cache.apply(Batch().set(Key(f"epoch.{REFERENCE}", "all"), "1").set(Key(f"pointer.{REFERENCE}", "all"), "new"))
        apply(self, batch)

    monkeypatch.setattr(local_lmdb.Handler, "apply", taken_first)
    result = run(files, "--yes")
    assert result.code == 75
    assert REFERENCE in result.err
    assert "repeat" in result.err
    if where == "lmdb":
        assert everything(files)[f"pointer.{REFERENCE}", "all"] == "new"
    else:
        assert done(files)[0] == ("all", "copy")
        assert everything(files)[f"pointer.{REFERENCE}", "all"] == "new"


# --- interrupted ---


# Converts the cache, and is killed before its transaction number `arguments[1]`, from 0.
KILLED = """
    import os, signal
    from itertools import count
    from grove.caches import local_lmdb
    from grove.cli import main
    apply, number = local_lmdb.Handler.apply, count()

    def killed(self, batch):
        if next(number) == int(arguments[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        apply(self, batch)

    local_lmdb.Handler.apply = killed
    main(["convert", path, "--to", arguments[0], "--yes"])
"""


def test_killed_at_any_transaction_and_repeated_it_gives_the_same(files: Path) -> None:
    write(files, {f"pointer.example.{number:032x}/all": str(number + 1) for number in range(3)})
    local_file.Handler(files).set("store", "id", "of the files")
    expected = dict(local_file.Handler(files).scan(""))
    del expected[Key(f"execution_lock.{REFERENCE}", "all")]
    for number in range(7):
        place = files.parent / f"lmdb-{number}"
        with start(KILLED, "local_file", files, place, number) as process:
            process.communicate()
        # One for the store's id, and one for each of five streams.
        assert process.returncode == (-signal.SIGKILL if number < 6 else 0)
        kept = [action for _, action in done(files, "--to", str(place))].count("keep")
        assert kept == max(0, number - 1)
        found = dict(local_lmdb.Handler(place).scan(""))
        assert {key: value for key, value in found.items() if not key.pk.startswith("converted.")} == expected


# --- what cannot be converted ---


@pytest.mark.parametrize(
    ("harm", "code", "said"),
    [
        (lambda files: (files / f"pointer.{REFERENCE}/all.cache").write_text(""), 1, "all.cache is empty"),
        (lambda files: (files / f"pointer.{REFERENCE}/all.cache").write_bytes(b"\xff"), 1, "is not UTF-8"),
        (lambda files: local_file.Handler(files).set("pointer.long", "o" * 300, "1"), 78, "oooo"),
        (lambda files: files.rename(files.parent / "elsewhere"), 78, "There is no directory"),
    ],
)
def test_what_cannot_be_taken_over_is_named_and_nothing_is_begun(
    files: Path, harm: Callable[[Path], object], code: int, said: str
) -> None:
    harm(files)
    result = run(files, "--yes")
    assert result.code == code
    assert said in result.err
    assert not (files.parent / "lmdb").exists()


def test_without_a_directory_it_says_which_setting_is_missing(shell: Shell) -> None:
    result = shell.run("convert", "--yes")
    assert result.code == 78
    assert "GROVE_CACHE_LOCAL_FILE_PATH" in result.err


def test_there_may_be_nothing_to_convert(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    result = run(tmp_path / "files")
    assert result.code == 0
    assert "There is no state in these files." in result.out


# --- a stream that moves ---


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_a_stream_goes_on_where_it_stood(shell: Shell, order: str) -> None:
    """Killed in the middle of a collection with the file cache, converted, and collected with LMDB: all of it once."""
    kind = {"oldest_first": "PracticeConnector", "newest_first": "NewestFirstConnector"}[order]
    offer(shell.root, PLUGIN_GROUP_CONNECTOR, {"practice": f"grove.testing.practice_connector:{kind}"})
    shell.environment |= {"GROVE_CACHE_LOCAL_FILE_PATH": str(shell.root / "files"), "PYTHONPATH": str(shell.root)}
    with PracticeAPI(150, order=order, page_size=10) as api:
        shell.document("practice", connector="practice", url=api.url, key=TOKEN, frequency=1)
        started: list[subprocess.Popen[str]] = []
        api.before(7, lambda: started[0].kill())
        started.append(shell.start(GROVE_CACHE_HANDLER="local_file"))
        started[0].communicate()
        assert started[0].returncode == -signal.SIGKILL
        assert 0 < api.compare(shell.delivered).delivered < 150
        assert "practice" in shell.run("convert", "--yes").out
        collected = shell.run()
        assert collected.code == 0, collected.err
        report = api.compare(shell.delivered)
        assert report.lost == report.twice == report.foreign == []
