"""New files are whole or absent, names never escape, and errors say what to do."""

import errno
import os
import re
import stat

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grove.exceptions import AccessException
from grove.helpers import files


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def fail_with(code):
    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def synced(monkeypatch):
    """The paths that have been synced, in order."""
    paths = []
    fsync = files._fsync

    def record(fd):
        paths.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(files, "_fsync", record)
    return paths


# --- write_new ---


@pytest.mark.parametrize("umask", [0, 0o077], indirect=True, ids=oct)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666], ids=oct)
def test_a_file_has_exactly_its_mode(tmp_path, umask, mode):
    files.write_new(tmp_path / "new", b"data", mode)
    assert mode_of(tmp_path / "new") == mode


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = files._write
    monkeypatch.setattr(files, "_write", lambda fd, data: write(fd, data[:7]))
    data = bytes(range(256)) * 3
    files.write_new(tmp_path / "new", data)
    assert (tmp_path / "new").read_bytes() == data


def test_the_content_is_synced(tmp_path, synced):
    files.write_new(tmp_path / "new", b"data")
    assert synced == [str(tmp_path / "new")]


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_nothing_that_has_the_name_is_touched(tmp_path, kind):
    target = tmp_path / "target"
    path = tmp_path / "new"
    if kind == "file":
        path.write_bytes(b"mine")
    else:
        if kind == "link":
            target.write_bytes(b"mine")
        path.symlink_to(target)
    with pytest.raises(FileExistsError):
        files.write_new(path, b"other")
    assert path.is_symlink() or path.read_bytes() == b"mine"
    assert not target.exists() or target.read_bytes() == b"mine"


@pytest.mark.parametrize("seam", ["_write", "_fsync"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_file_that_could_not_be_written_is_removed(tmp_path, monkeypatch, seam, code):
    monkeypatch.setattr(files, seam, fail_with(code))
    with pytest.raises(OSError) as caught:
        files.write_new(tmp_path / "new", b"data")
    assert caught.value.errno == code
    assert os.listdir(tmp_path) == []


def test_a_descriptor_is_not_led_astray(tmp_path):
    """Once the directory is open, it may be moved and a link put in its place."""
    (tmp_path / "real").mkdir()
    (tmp_path / "elsewhere").mkdir()
    fd = os.open(tmp_path / "real", os.O_RDONLY)
    (tmp_path / "real").rename(tmp_path / "moved")
    (tmp_path / "real").symlink_to(tmp_path / "elsewhere")
    files.write_new(tmp_path / "real" / "temp", b"data", directory=fd)
    assert files.publish(tmp_path / "real" / "temp", tmp_path / "real" / "final", fd)
    os.close(fd)
    assert os.listdir(tmp_path / "moved") == ["final"]
    assert os.listdir(tmp_path / "elsewhere") == []


# --- publish, replace, remove ---


def renameat2(monkeypatch):
    """As it is."""


def hard_links(monkeypatch):
    monkeypatch.setattr(files, "_renameat2", lambda: None)


def refused_by_file_system(monkeypatch):
    monkeypatch.setattr(files, "_renameat2", lambda: lambda *args: files.ctypes.set_errno(errno.EINVAL) or -1)


def neither(monkeypatch):
    hard_links(monkeypatch)
    monkeypatch.setattr(files, "_link", fail_with(errno.EPERM))


@pytest.fixture(params=[renameat2, hard_links, refused_by_file_system, neither], ids=lambda way: way.__name__)
def pair(request, tmp_path, monkeypatch):
    """A file that is to be published, and its final name; for each way to do it."""
    request.param(monkeypatch)
    (tmp_path / "temp").write_bytes(b"new")
    return tmp_path / "temp", tmp_path / "final"


def test_publishing_gives_the_final_name(pair):
    temp, final = pair
    assert files.publish(temp, final) is True
    assert final.read_bytes() == b"new"
    assert not temp.exists()


def test_a_missing_file_was_published_before(pair):
    temp, final = pair
    temp.unlink()
    assert files.publish(temp, final) is False
    assert not final.exists()


def test_publishing_twice_is_harmless(pair):
    temp, final = pair
    files.publish(temp, final)
    assert files.publish(temp, final) is False
    assert final.read_bytes() == b"new"


def test_publishing_never_overwrites(pair):
    temp, final = pair
    final.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        files.publish(temp, final)
    assert (temp.read_bytes(), final.read_bytes()) == (b"new", b"old")


def test_publishing_does_not_replace_a_dangling_link(pair):
    temp, final = pair
    final.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        files.publish(temp, final)
    assert final.is_symlink()
    assert temp.read_bytes() == b"new"


def test_a_link_that_was_left_behind_is_finished(pair):
    temp, final = pair
    os.link(temp, final)
    assert files.publish(temp, final) is True
    assert not temp.exists()
    assert final.read_bytes() == b"new"


@pytest.mark.parametrize("left_behind", [False, True])
def test_the_old_name_of_a_link_goes_after_the_new_one_is_durable(tmp_path, monkeypatch, left_behind):
    """Otherwise a loss of power could take both."""
    hard_links(monkeypatch)
    temp, final = tmp_path / "temp", tmp_path / "final"
    temp.write_bytes(b"new")
    if left_behind:
        os.link(temp, final)
    calls = []
    for seam in ("_fsync", "_unlink"):
        call = getattr(files, seam)
        monkeypatch.setattr(files, seam, lambda *args, call=call, seam=seam: (calls.append(seam), call(*args)))
    files.publish(temp, final)
    assert calls == ["_fsync", "_unlink"]


def test_other_errors_are_not_hidden(pair, monkeypatch):
    temp, final = pair
    monkeypatch.setattr(files, "_rename", fail_with(errno.EROFS))
    with pytest.raises(OSError) as caught:
        files.publish(temp, final)
    assert caught.value.errno == errno.EROFS
    assert not final.exists()


def test_replacing_overwrites(tmp_path):
    (tmp_path / "temp").write_bytes(b"new")
    (tmp_path / "final").write_bytes(b"old")
    files.replace(tmp_path / "temp", tmp_path / "final")
    assert os.listdir(tmp_path) == ["final"]
    assert (tmp_path / "final").read_bytes() == b"new"


def test_removing_what_is_not_there_is_harmless(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    files.remove(tmp_path / "file")
    files.remove(tmp_path / "file")
    assert os.listdir(tmp_path) == []


# --- directories ---


@pytest.mark.parametrize("umask", [0, 0o077], indirect=True, ids=oct)
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=oct)
def test_directories_have_exactly_their_mode(tmp_path, umask, mode):
    files.make_directories(tmp_path / "a" / "b", tmp_path, mode)
    assert [mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")] == [mode, mode]


def test_a_mode_that_somebody_chose_is_left_alone(tmp_path):
    (tmp_path / "a").mkdir(0o750)
    files.make_directories(tmp_path / "a" / "b", tmp_path)
    assert mode_of(tmp_path / "a") == 0o750


@pytest.mark.parametrize("umask", [0o077], indirect=True, ids=oct)
def test_the_group_of_a_shared_directory_is_inherited(tmp_path, umask):
    os.chmod(tmp_path, 0o2755)
    files.make_directories(tmp_path / "a", tmp_path, 0o750)
    assert mode_of(tmp_path / "a") == 0o2750


def test_each_new_name_is_synced_in_its_parent(tmp_path, synced):
    files.make_directories(tmp_path / "a" / "b", tmp_path)
    assert synced == [str(tmp_path), str(tmp_path / "a")]


def test_directories_of_a_dead_process_are_synced_too(tmp_path, synced):
    (tmp_path / "a" / "b").mkdir(parents=True)
    os.close(files.open_directory(tmp_path / "a" / "b", tmp_path, 0o700, {}))
    assert synced == [str(tmp_path), str(tmp_path / "a")]


def test_what_is_known_to_be_durable_is_not_synced_again(tmp_path, synced):
    durable = {}
    os.close(files.open_directory(tmp_path / "a" / "b", tmp_path, 0o700, durable))
    synced.clear()
    os.close(files.open_directory(tmp_path / "a" / "b", tmp_path, 0o700, durable))
    os.close(files.open_directory(tmp_path / "a" / "c", tmp_path, 0o700, durable))
    assert synced == [str(tmp_path / "a")]


def test_a_directory_made_anew_is_synced_again(tmp_path, synced, monkeypatch):
    """Even where the file system gives it the number of the one that was removed."""
    monkeypatch.setattr(files, "_identity", lambda fd: (1, 2))
    durable = {}
    os.close(files.open_directory(tmp_path / "a", tmp_path, 0o700, durable))
    (tmp_path / "a").rmdir()
    synced.clear()
    os.close(files.open_directory(tmp_path / "a", tmp_path, 0o700, durable))
    assert synced == [str(tmp_path)]


@pytest.mark.parametrize("known", [False, True], ids=["first time", "known before"])
@pytest.mark.parametrize("depth", ["a", "b"], ids=["above", "last"])
def test_a_link_in_the_way_is_not_followed(tmp_path, known, depth):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    (elsewhere / "b").mkdir(parents=True)
    durable = {}
    if known:
        os.close(files.open_directory(root / "a" / "b", root, 0o700, durable))
        (root / "a" / "b").rmdir()
        (root / "a").rmdir()
    if depth == "a":
        (root / "a").symlink_to(elsewhere)
    else:
        (root / "a").mkdir()
        (root / "a" / "b").symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        files.open_directory(root / "a" / "b", root, 0o700, durable)


def test_a_path_outside_the_root_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    with pytest.raises(ValueError, match="below"):
        files.make_directories(tmp_path / "root" / ".." / "other", tmp_path / "root")
    assert os.listdir(tmp_path) == ["root"]


def test_a_missing_root_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.make_directories(tmp_path / "root" / "a", tmp_path / "root")
    assert os.listdir(tmp_path) == []


def test_no_descriptor_is_left_open(tmp_path, monkeypatch):
    before = len(os.listdir("/proc/self/fd"))
    files.make_directories(tmp_path / "a" / "b", tmp_path)
    files.write_new(tmp_path / "a" / "file", b"")
    files.sync_directory(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        files.open_directory(tmp_path / "a" / "missing", tmp_path)
    monkeypatch.setattr(files, "_fsync", fail_with(errno.EIO))
    with pytest.raises(OSError):
        files.make_directories(tmp_path / "a" / "c", tmp_path)
    with pytest.raises(OSError):
        files.sync_directory(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_without_directory_syncs_will_do(tmp_path, monkeypatch, code):
    monkeypatch.setattr(files, "_fsync", fail_with(code))
    files.make_directories(tmp_path / "a", tmp_path)
    files.sync_directory(tmp_path)
    assert (tmp_path / "a").is_dir()


# --- names ---

NASTY = st.text(st.sampled_from("aA0._-~%/\\\0:\n é\u2028\U0001f600\ud800"), max_size=12)
LONG = st.text(st.sampled_from("ab/é"), min_size=130, max_size=400)
NAMES = st.one_of(st.text(st.characters(), max_size=60), NASTY, LONG)


@settings(max_examples=2000)
@given(NAMES)
@example("")
@example(".")
@example("..")
@example("CON")
@example("a" * 150)
@example("a" * 151)
def test_a_component_is_safe(text):
    component = files.safe_component(text)
    assert re.fullmatch("[A-Za-z0-9._%~-]{1,150}", component)
    assert not component.startswith(".")


@settings(max_examples=2000)
@given(NAMES, NAMES)
@example("", "%")
@example("a/b", "a%2Fb")
@example(".", "%2E")
@example("a" * 150, "a" * 151)
@example("é" * 80, "é" * 81)
def test_two_texts_never_have_one_component(one, other):
    assert (files.safe_component(one) == files.safe_component(other)) == (one == other)


def test_a_short_text_cannot_pretend_to_be_a_long_one():
    component = files.safe_component("a" * 500)
    assert files.safe_component(component) != component


@pytest.mark.parametrize(
    ("text", "component"),
    [
        ("okta.com", "okta.com"),
        ("https://corp.example/é", "https%3A%2F%2Fcorp.example%2F%C3%A9"),
        (".hidden", "%2Ehidden"),
        ("..", "%2E."),
        ("", "%"),
        ("%", "%25"),
    ],
)
def test_names_stay_readable(text, component):
    assert files.safe_component(text) == component


# --- errors ---


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, f"user id {os.geteuid()}"),
        (errno.EIO, "kernel's log"),
        (errno.ENOENT, "mounted"),
        (errno.ENOTDIR, "links are not followed"),
        (errno.EEXIST, "never overwritten"),
        (errno.ENAMETOOLONG, "File name too long"),
    ],
)
def test_an_error_names_the_path_and_the_way_out(tmp_path, code, words):
    path = tmp_path / "missing" / "object"
    error = files.disk_error(OSError(code, os.strerror(code)), path)
    assert type(error) is AccessException
    assert str(path) in str(error)
    assert words in str(error)


def test_a_full_disk_says_how_much_is_free(tmp_path):
    error = files.disk_error(OSError(errno.ENOSPC, "full"), tmp_path / "missing" / "object")
    assert re.search(r"\(\d+ bytes free", str(error))
