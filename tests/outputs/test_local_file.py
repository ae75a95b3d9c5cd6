"""Files appear whole, once, below the root and nowhere else, whatever fails on the way."""

import errno
import json
import os
import shutil
import stat
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grove.exceptions import AccessException, ConfigurationException
from grove.helpers import files
from grove.outputs import local_file
from grove.outputs.local_file import MARKER, Handler
from grove.testing.output_contract import MOMENT, object_name

SEAMS = ("_mkdir", "_open", "_write", "_fsync", "_rename", "_link", "_unlink")
PAYLOAD = bytes(range(256)) * 40


def visible(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in Path(root).rglob("*.json.gz")}


def hidden(root):
    return [path for path in Path(root).rglob(".*") if path.name != MARKER]


# --- where ---


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/.", "{}//", "{}/../out", "relative", "./relative/", "link"])
def test_the_configured_path_may_be_written_in_any_form(root, make, monkeypatch, form):
    monkeypatch.chdir(root.parent)
    (root.parent / "relative").mkdir()
    (root.parent / "link").symlink_to(root)
    handler = make(path=form.format(root))
    monkeypatch.chdir("/")
    handler.publish(handler.stage(object_name(), PAYLOAD))
    where = root.parent / "relative" if "relative" in form else root
    assert list(visible(where).values()) == [PAYLOAD]


def test_the_path_is_required(monkeypatch):
    monkeypatch.delenv("GROVE_OUTPUT_LOCAL_FILE_PATH", raising=False)
    with pytest.raises(ConfigurationException, match="GROVE_OUTPUT_LOCAL_FILE_PATH"):
        Handler()


@pytest.mark.parametrize("path", ["", "missing", "file"])
def test_the_path_has_to_be_a_directory(root, make, path):
    (root / "file").write_bytes(b"")
    with pytest.raises(ConfigurationException, match="GROVE_OUTPUT_LOCAL_FILE_PATH"):
        make(path=root / path if path else "")
    assert os.listdir(root) == ["file"]


def test_a_sibling_with_the_same_beginning_is_not_below(root, make):
    """`out-evil` begins like `out`, which once was enough."""
    evil = root.parent / "out-evil"
    evil.mkdir()
    make().submit(PAYLOAD, "c", "../../out-evil", "../../../../../../out-evil/x", descriptor="../out-evil")
    assert os.listdir(evil) == []
    assert len(visible(root)) == 1


# --- R15: modes ---


@pytest.fixture(params=[0, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(root, kind):
    return {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if kind(path)}


@pytest.mark.parametrize(
    ("mode", "file_mode", "folder_mode"),
    [
        (None, 0o600, 0o700),
        ("600", 0o600, 0o700),
        ("0640", 0o640, 0o750),
        ("0644", 0o644, 0o755),
        ("0660", 0o660, 0o750),
    ],
)
def test_modes_do_not_depend_on_the_umask(root, make, umask, mode, file_mode, folder_mode):
    handler = make(mode=mode) if mode else make()
    handler.stage(object_name(), PAYLOAD)
    handler.publish(handler.stage(object_name(part=1), PAYLOAD))
    handler.submit(PAYLOAD, "c", "i", "o")
    assert modes(root, Path.is_file) == {file_mode}
    assert modes(root, Path.is_dir) == {folder_mode}


@pytest.mark.parametrize("mode", ["rw", "0400", "0o640", "1640", "99", "", "-600"])
def test_a_mode_that_makes_no_sense_is_refused(make, mode):
    with pytest.raises(ConfigurationException, match="GROVE_OUTPUT_LOCAL_FILE_MODE"):
        make(mode=mode)


# --- R16: names ---

TEXT = (
    st.text(st.sampled_from("a./\\~\0\n%é"), max_size=8)
    | st.text(max_size=60)
    | st.text("/.é", min_size=150, max_size=600)
)


def test_no_name_leaves_the_root_and_none_is_used_twice(memory):
    root = memory / "root"
    root.mkdir()
    os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"] = str(root)
    try:
        handler = Handler()
    finally:
        del os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"]
    handler.setup()
    seen = {}

    @settings(max_examples=2000)
    @given(TEXT, TEXT, TEXT, TEXT)
    def check(descriptor, connector, identity, operation):
        fields = (descriptor.removesuffix("/"), connector, identity, operation)
        name = object_name(descriptor=descriptor, connector=connector, identity=identity, operation=operation)
        staged = handler.stage(name, b"x")
        handler.publish(staged)
        path = staged["path"]
        assert os.path.realpath(path) == path
        assert path.startswith(f"{root}/")
        assert os.path.isfile(path)
        assert seen.setdefault(path, fields) == fields
        assert len(os.path.basename(staged["temp"])) <= 255
        # What was tried before is tried again by the search for a smaller example.
        os.unlink(path)

    check()
    assert len(seen) > 1000
    assert os.listdir(memory) == ["root"]


@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize("known", [False, True], ids=["first time", "known before"])
def test_a_link_below_the_root_is_not_followed(root, make, depth, known):
    elsewhere = root.parent / "elsewhere"
    handler = make()
    if known:
        handler.discard(handler.stage(object_name(), PAYLOAD))
    folder = root.joinpath(*object_name().path().parts[:depth])
    if known:
        # All that lies below is there too, but elsewhere.
        folder.rename(elsewhere)
    else:
        elsewhere.mkdir()
        folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    if known and depth < 6:
        # The very directory that was reached before, by another way: it is still ours.
        handler.discard(handler.stage(object_name(), PAYLOAD))
    else:
        with pytest.raises(AccessException, match="links are not followed"):
            handler.stage(object_name(), PAYLOAD)
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("what", ["temp", "path"])
def test_a_link_with_the_very_name_is_not_followed(root, make, what):
    target = root.parent / "target"
    target.write_bytes(b"precious")
    handler = make()
    staged = handler.stage(object_name(), PAYLOAD)
    if what == "temp":
        handler.discard(staged)
    os.symlink(target, staged[what])
    with pytest.raises(AccessException):
        handler.publish(handler.stage(object_name(attempt="store-stream-1-1" if what == "temp" else "a-b-1-2"), b"x"))
    assert target.read_bytes() == b"precious"


def test_a_link_to_the_same_content_is_not_the_object(root, make):
    target = root.parent / "target"
    target.write_bytes(PAYLOAD)
    handler = make()
    staged = handler.stage(object_name(), PAYLOAD)
    os.symlink(target, staged["path"])
    with pytest.raises(AccessException, match="never overwritten"):
        handler.publish(staged)
    assert os.path.exists(staged["temp"])


def test_names_of_any_length_can_be_staged(root, make):
    handler = make()
    name = object_name(operation="é" * 200, identity="i" * 5000, attempt="s" * 40 + "-" + "a" * 60 + "-1-1")
    staged = handler.stage(name, PAYLOAD)
    assert len(os.path.basename(staged["temp"])) <= 255
    handler.sweep(name, "s" * 40 + "-" + "a" * 60 + "-", MOMENT.date(), set())
    assert hidden(root) == []


def test_a_hidden_file_does_not_look_like_an_object(make):
    name = os.path.basename(make().stage(object_name(), PAYLOAD)["temp"])
    assert name == ".all-2024-02-29T23:59:59Z.0-0123456789abcdef.store-stream-1-1.tmp"


@pytest.mark.parametrize("attempt", ["", "a/b", "a.b", "..", "x" * 200])
def test_an_attempt_that_could_not_be_found_again_is_refused(root, make, attempt):
    with pytest.raises(ValueError, match="attempt"):
        make().stage(object_name(attempt=attempt), PAYLOAD)
    assert hidden(root) == []


# --- failures at every step ---


class Faults:
    """Fails the call of a seam whose number is `at`; with `dead`, every later one too."""

    def __init__(self, monkeypatch):
        self.calls = []
        self.at = None
        self.error = None
        self.dead = False
        for seam in SEAMS:
            monkeypatch.setattr(files, seam, self._wrap(seam, getattr(files, seam)))

    def _wrap(self, seam, call):
        def wrapped(*args, **kwargs):
            number = len(self.calls)
            self.calls.append(seam)
            if self.at is not None and (number == self.at or (self.dead and number > self.at)):
                if seam == "_write":
                    # Half of it reaches the disk.
                    call(args[0], args[1][: len(args[1]) // 2])
                raise self.error
            return call(*args, **kwargs)

        return wrapped

    def arm(self, at, error, dead=False):
        self.calls.clear()
        self.at, self.error, self.dead = at, error, dead

    def disarm(self):
        self.at = None


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def faults(monkeypatch):
    local_file._durable.clear()
    return Faults(monkeypatch)


def deliver(handler, **name):
    staged = handler.stage(object_name(**name), PAYLOAD)
    handler.reached = True
    handler.publish(staged)
    handler.settle([staged], [])


def count_of(memory, make, faults, action):
    """How many calls an action makes in a fresh folder."""
    handler = make(path=tempfile.mkdtemp(dir=memory))
    local_file._durable.clear()
    faults.arm(None, None)
    action(handler)
    return len(faults.calls)


def submit(handler):
    handler.submit(PAYLOAD, "c", "i", "o", descriptor="logs")


ACTIONS = pytest.mark.parametrize("action", [deliver, submit], ids=lambda action: action.__name__)


@ACTIONS
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_an_error_at_any_step_leaves_no_half_file(memory, make, faults, action, code):
    steps = count_of(memory, make, faults, action)
    assert steps > 20
    for step in range(steps):
        handler = make(path=(folder := tempfile.mkdtemp(dir=memory)))
        local_file._durable.clear()
        faults.arm(step, OSError(code, os.strerror(code)))
        with pytest.raises(AccessException) as caught:
            action(handler)
        seam = faults.calls[step]
        faults.disarm()
        assert folder in str(caught.value)
        assert set(visible(folder).values()) <= {PAYLOAD}, f"step {step}: {seam}"
        if not hasattr(handler, "reached"):
            # What could not be staged, or submitted, leaves nothing behind.
            assert hidden(folder) == [], f"step {step}: {seam}"
        # The next attempt has a name of its own, and nothing in its way.
        if action is deliver:
            handler.sweep(object_name(), "store-stream-", MOMENT.date(), set())
            if visible(folder) == {}:
                deliver(handler, attempt="store-stream-1-2")
        else:
            submit(handler)
        assert PAYLOAD in visible(folder).values()
        assert hidden(folder) == []


@ACTIONS
def test_the_end_of_the_process_at_any_step_leaves_no_half_file(memory, make, faults, action):
    for step in range(count_of(memory, make, faults, action)):
        handler = make(path=(folder := tempfile.mkdtemp(dir=memory)))
        local_file._durable.clear()
        faults.arm(step, Crash(), dead=True)
        with pytest.raises(Crash):
            action(handler)
        faults.disarm()
        local_file._durable.clear()
        assert set(visible(folder).values()) <= {PAYLOAD}, f"step {step}: {faults.calls[step]}"
        if action is deliver:
            make(path=folder).sweep(object_name(), "store-stream-", MOMENT.date(), set())
            assert hidden(folder) == []


def test_a_stage_that_could_not_be_made_durable_is_taken_back(root, make, faults):
    handler = make()
    handler.discard(handler.stage(object_name(), PAYLOAD))
    faults.arm(None, None)
    handler.discard(handler.stage(object_name(), PAYLOAD))
    assert [call for call in faults.calls if call == "_fsync"] == ["_fsync", "_fsync"]
    last_sync = len(faults.calls) - 1 - faults.calls[::-1].index("_fsync")
    faults.arm(last_sync, OSError(errno.EIO, "EIO"))
    with pytest.raises(AccessException):
        handler.stage(object_name(), PAYLOAD)
    assert hidden(root) == []


def test_a_page_costs_two_syncs(root, make, faults):
    """In the long run: the file and its directory, which settles the page before as well."""
    handler = make()
    before = handler.stage(object_name(), PAYLOAD)
    handler.publish(before)
    faults.arm(None, None)
    staged = handler.stage(object_name(part=1), PAYLOAD)
    handler.settle([before], [staged])
    handler.publish(staged)
    assert faults.calls == ["_open", "_open", "_write", "_fsync", "_fsync", "_open", "_rename"]


def test_settling_syncs_the_directories_that_staging_has_not(root, make, monkeypatch):
    handler = make()
    published = [handler.stage(object_name(descriptor=name), PAYLOAD) for name in ("one", "two")]
    for staged in published:
        handler.publish(staged)
    later = handler.stage(object_name(descriptor="one", part=1), PAYLOAD)
    synced = []
    monkeypatch.setattr(files, "_fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    handler.settle(published, [later])
    assert synced == [os.path.dirname(published[1]["path"])]


# --- directories come and go ---


def test_a_directory_that_was_removed_is_made_again(root, make):
    handler = make()
    for part in range(3):
        handler.publish(handler.stage(object_name(part=part), PAYLOAD))
        assert len(visible(root)) == 1
        shutil.rmtree(root / "logs")


def test_a_directory_that_is_removed_under_our_hands_is_made_again(root, make, monkeypatch):
    handler = make()
    write_new, removed = files.write_new, []

    def tidy_first(path, *args):
        if not removed:
            removed.append(path)
            shutil.rmtree(root / "logs")
        write_new(path, *args)

    monkeypatch.setattr(files, "write_new", tidy_first)
    handler.publish(handler.stage(object_name(), PAYLOAD))
    assert list(visible(root).values()) == [PAYLOAD]


def test_settling_what_a_reader_has_taken_with_its_directory(root, make):
    handler = make()
    staged = handler.stage(object_name(), PAYLOAD)
    handler.publish(staged)
    shutil.rmtree(root / "logs")
    handler.settle([staged], [])
    handler.discard(staged)
    assert visible(root) == {}


def test_what_is_known_of_directories_is_bounded(make, monkeypatch):
    monkeypatch.setattr(local_file, "_MANY_DIRECTORIES", 20)
    handler = make()
    for number in range(30):
        handler.stage(object_name(identity=str(number)), b"")
    assert len(local_file._durable) < 40


# --- an empty mount point is not the output directory ---


def test_a_missing_directory_does_not_mean_published(root, make):
    staged = make().stage(object_name(), PAYLOAD)
    root.rename(root.parent / "unmounted")
    with pytest.raises(AccessException, match="mount"):
        Handler.__new__(Handler).publish(staged)


def test_an_empty_mount_point_does_not_mean_published(root, make):
    staged = make().stage(object_name(), PAYLOAD)
    root.rename(root.parent / "unmounted")
    root.mkdir()
    handler = make()
    with pytest.raises(AccessException, match="not the directory in which it was staged"):
        handler.publish(staged)
    shutil.rmtree(root)
    (root.parent / "unmounted").rename(root)
    handler.publish(staged)
    assert list(visible(root).values()) == [PAYLOAD]


def test_nor_does_a_copy_of_its_folders(root, make):
    staged = make().stage(object_name(), PAYLOAD)
    root.rename(root.parent / "unmounted")
    root.mkdir()
    handler = make()
    handler.publish(handler.stage(object_name(part=1), PAYLOAD))
    with pytest.raises(AccessException, match="not the directory in which it was staged"):
        handler.publish(staged)


def test_the_message_says_how_to_go_on_without_the_object(root, make):
    handler = make()
    staged = handler.stage(object_name(), PAYLOAD)
    shutil.rmtree(root)
    root.mkdir()
    make()
    with pytest.raises(AccessException) as caught:
        handler.publish(staged)
    assert f"adding the line {staged['marker']} to {root / MARKER}" in str(caught.value)
    with open(root / MARKER, "a") as file:
        file.write(f"{staged['marker']}\n")
    handler.publish(staged)
    assert visible(root) == {}


def test_a_directory_keeps_its_name(root, make):
    first = make().stage(object_name(), PAYLOAD)
    second = make().stage(object_name(part=1), PAYLOAD)
    assert first["marker"] == second["marker"]


def test_a_directory_that_was_put_in_place_meanwhile_gets_a_name_of_its_own(root, make):
    handler = make()
    first = handler.stage(object_name(), PAYLOAD)
    # Kept, so that its number is not given to the next.
    root.rename(root.parent / "old")
    root.mkdir()
    second = handler.stage(object_name(), PAYLOAD)
    assert second["marker"] == (root / MARKER).read_text().strip() != first["marker"]


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_marker_is_replaced(root, make, content):
    (root / MARKER).write_text(content)
    staged = make().stage(object_name(), PAYLOAD)
    assert (root / MARKER).read_text().strip() == staged["marker"]


def test_two_processes_that_start_at_once_agree_on_the_name(root, make, monkeypatch):
    publish, other = files.publish, []

    def be_late(temp, final):
        if not other:
            other.append("f" * 32)
            Path(final).write_text("f" * 32 + "\n")
        return publish(temp, final)

    monkeypatch.setattr(files, "publish", be_late)
    make()
    assert (root / MARKER).read_text() == "f" * 32 + "\n"
    assert os.listdir(root) == [MARKER]


# --- records, sweeping, direct callers ---


def test_a_record_can_be_finished_without_any_settings(root, make, monkeypatch):
    record = json.loads(json.dumps(make().stage(object_name(), PAYLOAD)))
    monkeypatch.delenv("GROVE_OUTPUT_LOCAL_FILE_PATH")
    handler = Handler.__new__(Handler)
    handler.publish(record)
    handler.settle([record], [])
    assert list(visible(root).values()) == [PAYLOAD]


def test_an_object_with_other_content_is_reported_by_name(root, make):
    handler = make()
    handler.publish(handler.stage(object_name(), b"first"))
    staged = handler.stage(object_name(attempt="store-stream-1-2"), b"second")
    with pytest.raises(AccessException, match="never overwritten") as caught:
        handler.publish(staged)
    assert staged["path"] in str(caught.value)


@pytest.mark.parametrize("age", [0, 3599, 3601])
def test_what_dead_processes_left_beside_the_marker_is_removed_in_time(root, make, age):
    make()
    left = root / f"{MARKER}.{'f' * 32}.tmp"
    left.write_bytes(b"")
    other = root / ".someone-else.tmp"
    other.write_bytes(b"")
    for path in (left, other):
        os.utime(path, (time.time() - age, time.time() - age))
    make()
    assert left.exists() is (age < 3600)
    assert other.exists()


def test_a_marker_that_was_found_is_made_durable(root, make, faults):
    make()
    faults.arm(None, None)
    make()
    assert faults.calls == ["_open", "_fsync"]


def test_days_before_the_run_began_are_left_alone(root, make):
    handler = make()
    ages = (0, 1, 40, 400, 1000)
    staged = {age: handler.stage(object_name(moment=MOMENT - timedelta(days=age)), b"") for age in ages}
    assert handler.sweep(object_name(), "store-stream-", MOMENT.date() - timedelta(days=40), set()) is True
    assert sorted(map(str, hidden(root))) == sorted(staged[age]["temp"] for age in (400, 1000))


def test_sweeping_ignores_what_is_no_temporary_file(root, make, caplog):
    handler = make()
    folder = Path(handler.stage(object_name(), b"")["path"]).parent
    names = ["x.store-stream-1-1.tmp", ".x.store-stream-1-1", ".x.tmp", ".store-stream-1-1.other.tmp"]
    for name in names:
        (folder / name).write_bytes(b"")
    (folder.parent / "notes").mkdir()
    (folder.parent / "notes" / ".x.store-stream-1-1.tmp").write_bytes(b"")
    (folder.parent / "31").symlink_to(folder)
    handler.sweep(object_name(), "store-stream-", date(2000, 1, 1), set())
    assert sorted(os.listdir(folder)) == sorted(names)
    assert len(os.listdir(folder.parent / "notes")) == 1
    assert caplog.records == []


def test_a_sweep_that_fails_is_a_warning(root, make, monkeypatch, caplog):
    handler = make()
    staged = handler.stage(object_name(), b"")

    def refuse(*args):
        raise OSError(errno.EIO, "EIO")

    monkeypatch.setattr(files, "_unlink", refuse)
    assert handler.sweep(object_name(), "store-stream-", MOMENT.date(), set()) is False
    assert [record.getMessage() for record in caplog.records] == [
        "Temporary files of an earlier run could not be removed."
    ]
    assert os.path.exists(staged["temp"])


def test_direct_callers_never_overwrite(root, make):
    handler = make()
    for _ in range(20):
        handler.submit(PAYLOAD, "okta", "corp", "all", 0, ".json.gz", "logs/")
    assert list(visible(root).values()) == [PAYLOAD] * 20
    assert hidden(root) == []
    day = datetime.now(UTC).strftime("%Y/%m")
    assert all(name.startswith(f"logs/okta/corp/{day}") for name in visible(root))


def test_what_a_direct_caller_has_submitted_is_durable(root, make, faults):
    faults.arm(None, None)
    make().submit(PAYLOAD, "okta", "corp", "all")
    assert faults.calls[-3:] == ["_rename", "_open", "_fsync"]
