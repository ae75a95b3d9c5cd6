"""The file operations that promises rest on: new files that are whole and durable, names that never escape.

Everything raises OSError; `disk_error()` turns one into an error that says what to do. Each call that changes
the disk goes through one of the small functions at the end, so that a test can stop the program at every one.

A path given together with `directory`, an open descriptor of the directory it lies in, is reached through that
descriptor: nothing that happens to the directories above can lead it astray.
"""

import contextlib
import ctypes
import errno
import functools
import os
import re
import stat
from collections.abc import Callable, MutableMapping

from blake3 import blake3

from grove.exceptions import AccessException

__all__ = [
    "disk_error",
    "make_directories",
    "open_directory",
    "open_growing",
    "publish",
    "remove",
    "replace",
    "safe_component",
    "sync_directory",
    "sync_file",
    "write_at",
    "write_new",
]

Path = str | os.PathLike[str]

# Directories whose entry in their parent is known to be durable, and what they were then: (device, inode).
Durable = MutableMapping[str, tuple[int, int]]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


# --- directories ---


def make_directories(path: Path, root: Path, mode: int = 0o700) -> None:
    """Make `path` and what is missing between it and `root`, durably; `root` has to exist and hold `path`.

    What is made gets exactly `mode`, whatever the umask. A symbolic link below `root` is an error.
    """
    os.close(open_directory(path, root, mode))


def open_directory(path: Path, root: Path, mode: int | None = None, durable: Durable | None = None) -> int:
    """An open descriptor of the directory `path`, reached from `root` without following a link below it.

    With `mode`, missing directories are made, and the way from `root` is durable on return. `durable` remembers
    where that has been seen to; a directory that is made anew is seen to again.
    """
    root, path = os.fspath(root), os.fspath(path)
    if durable is not None and path in durable:
        known = _reopen(path, durable[path])
        if known is not None:
            return known
    fd = _open(root, _DIRECTORY)
    try:
        current = root
        for part in _parts(path, root):
            current = os.path.join(current, part)
            child, made = _step(current, fd, mode)
            fd, parent = child, fd
            try:
                identity = _identity(child)
                # One that was there may have been made by someone who has not synced it yet, or died before.
                if mode is not None and (made or durable is None or durable.get(current) != identity):
                    _sync(parent)
                    if durable is not None:
                        durable[current] = identity
            finally:
                os.close(parent)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _reopen(path: str, identity: tuple[int, int]) -> int | None:
    """The directory `path`, if it is the very one that was reached from the root before."""
    try:
        fd = _open(path, _DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if _identity(fd) == identity:
        return fd
    os.close(fd)
    return None


def _parts(path: str, root: str) -> list[str]:
    if path == root:
        return []
    parts = os.path.relpath(path, root).split(os.sep)
    if os.pardir in parts:
        raise ValueError(f"{path} does not lie below {root}.")
    return parts


def _step(path: str, parent: int, mode: int | None) -> tuple[int, bool]:
    flags = _DIRECTORY | os.O_NOFOLLOW
    try:
        return _open(path, flags, directory=parent), False
    except FileNotFoundError:
        if mode is None:
            raise
    made = True
    try:
        _mkdir(path, mode, directory=parent)
    except FileExistsError:
        made = False
    fd = _open(path, flags, directory=parent)
    if made:
        _set_mode(fd, mode)
    return fd, made


def sync_directory(path: Path, directory: int | None = None) -> None:
    """Make the names in the directory `path` durable."""
    if directory is not None:
        _sync(directory)
        return
    fd = _open(path, _DIRECTORY)
    try:
        _sync(fd)
    finally:
        os.close(fd)


def _sync(directory: int) -> None:
    try:
        _fsync(directory)
    except OSError as err:
        # Some file systems have no such thing for directories, and say so.
        if err.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _set_mode(fd: int, mode: int) -> None:
    # The umask took bits away. A file system without permissions refuses, and then there is nothing to set.
    actual = os.fstat(fd).st_mode
    if stat.S_IMODE(actual) & 0o777 != mode:
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, mode | stat.S_IMODE(actual) & 0o7000)


# --- files ---


def write_new(path: Path, data: bytes | memoryview, mode: int = 0o600, directory: int | None = None) -> None:
    """Write `data` to the new file `path`, durably, with exactly `mode` whatever the umask.

    FileExistsError where something has that name already, be it a dangling link. After any other error the file
    is removed again. Its name is durable only after `sync_directory()`.
    """
    fd = _open(path, _NEW_FILE, mode, directory)
    try:
        try:
            _set_mode(fd, mode)
            rest = memoryview(data)
            while rest:
                rest = rest[_write(fd, rest) :]
            _fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            _unlink(path, directory)
        raise


def open_growing(path: Path, mode: int | None = None, directory: int | None = None) -> int:
    """An open descriptor of the file `path` to write to, which is made with exactly `mode` if one is given."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    if mode is None:
        return _open(path, flags, directory=directory)
    fd = _open(path, flags | os.O_CREAT, mode, directory)
    try:
        _set_mode(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_at(fd: int, offset: int, data: bytes) -> None:
    """Write `data` at that offset of an open file. Not durable on return; doing it again changes nothing.

    A file that ends before `offset` is not the one it was (somebody took that away): `data` is then added to its end,
    unless it is in it. FileNotFoundError where the file has no name any longer.
    """
    status = os.fstat(fd)
    if not status.st_nlink:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if status.st_size < offset:
        if data in os.pread(fd, status.st_size, 0):
            return
        offset = status.st_size
    rest = memoryview(data)
    while rest:
        count = _write_at(fd, rest, offset)
        offset, rest = offset + count, rest[count:]


def sync_file(path: Path) -> None:
    """Make what was written to the file `path` durable."""
    fd = _open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _fsync(fd)
    finally:
        os.close(fd)


def publish(temp: Path, final: Path, directory: int | None = None) -> bool:
    """Give the file `temp` the name `final`, which is never overwritten. Doing it again is harmless.

    False where `temp` is missing: then it was published before. FileExistsError where another file is called
    `final`. Durable after `sync_directory()`.
    """
    try:
        try:
            _rename(temp, final, replace=False, directory=directory)
        except OSError as err:
            if err.errno not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
                raise
            _publish_by_link(temp, final, directory)
    except FileNotFoundError:
        return False
    except FileExistsError:
        try:
            mine = os.stat(_name(temp, directory), dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        other = os.stat(_name(final, directory), dir_fd=directory, follow_symlinks=False)
        if not os.path.samestat(mine, other):
            raise
        # It was linked, and the program ended before the old name was taken away.
        _drop_linked(temp, directory)
    return True


def _drop_linked(temp: Path, directory: int | None) -> None:
    """Take the old name of a linked file away, once the new one cannot get lost any more."""
    sync_directory(os.path.dirname(os.fspath(temp)), directory)
    _unlink(temp, directory)


def _publish_by_link(temp: Path, final: Path, directory: int | None) -> None:
    try:
        _link(temp, final, directory)
    except OSError as err:
        if err.errno not in (errno.ENOSYS, errno.EPERM, errno.ENOTSUP):
            raise
    else:
        _drop_linked(temp, directory)
        return
    # No hard links either. Nobody else uses these names, so looking first is as good as it gets.
    if _exists(final, directory):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(final))
    _rename(temp, final, replace=True, directory=directory)


def _exists(path: Path, directory: int | None) -> bool:
    try:
        os.stat(_name(path, directory), dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def replace(temp: Path, final: Path) -> None:
    """Give `temp` the name `final`, in place of what has it now. Durable after `sync_directory()`."""
    _rename(temp, final, replace=True)


def remove(path: Path, directory: int | None = None) -> None:
    """Remove the file `path`, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        _unlink(path, directory)


# --- names ---

_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]")
_LONGEST = 150
_DIGEST_BYTES = 16


@functools.lru_cache(maxsize=4096)
def safe_component(text: str) -> str:
    """`text` as one component of a path: at most 150 ASCII characters, never empty, hidden, `.` or `..`.

    Letters, digits, `.`, `_` and `-` stay, anything else becomes `%XX`; what is too long is cut, and ends in
    `~` and a hash. Two texts never have one component.
    """
    encoded = _UNSAFE.sub(_percent, text.encode("utf-8", "surrogatepass")).decode("ascii")
    if encoded.startswith("."):
        encoded = f"%2E{encoded[1:]}"
    if len(encoded) > _LONGEST:
        digest = blake3(text.encode("utf-8", "surrogatepass")).hexdigest(_DIGEST_BYTES)
        kept = encoded[: _LONGEST - 1 - len(digest)]
        return f"{re.sub('%.?$', '', kept)}~{digest}"
    # A `%` alone is never the beginning of an escape.
    return encoded or "%"


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


# --- errors ---

_ADVICE = {
    errno.EROFS: "the file system is read-only; mount it writable",
    errno.EIO: "the disk reported an error; look into the kernel's log",
    errno.ENOENT: "a directory is missing; if it lies on a volume of its own, see that it is mounted",
    errno.EFBIG: "the file would be larger than allowed; raise the limit (ulimit -f)",
    errno.ENOTDIR: "something in its path is no directory (links are not followed there); move it away",
    errno.ELOOP: "a symbolic link is in the way, and links are not followed there; move it away",
    errno.EEXIST: "another file has this name, and files are never overwritten; move it away",
}


def disk_error(err: OSError, path: Path) -> AccessException:
    """What `err` means for `path` and what to do about it, to be raised `from err`."""
    path = os.fspath(path)
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "the disk quota is used up" if err.errno == errno.EDQUOT else "the disk is full"
        problem = f"{what} ({_free_space(path)}); free some space, and collection goes on where it stands"
    elif err.errno in (errno.EACCES, errno.EPERM):
        problem = f"permission denied; let user id {os.geteuid()} write there"
    else:
        problem = _ADVICE.get(err.errno or 0) or err.strerror or repr(err)
    return AccessException(f"{path} cannot be written: {problem}.")


def _free_space(path: str) -> str:
    while True:
        try:
            space = os.statvfs(path)
            break
        except OSError:
            parent = os.path.dirname(path)
            if parent == path:
                return "free space unknown"
            path = parent
    free = f"{space.f_bavail * space.f_frsize} bytes free"
    return f"{free}, no inode free" if space.f_files and not space.f_favail else free


# --- the only calls that change the disk ---


def _name(path: Path, directory: int | None) -> str:
    return os.fspath(path) if directory is None else os.path.basename(path)


def _mkdir(path: Path, mode: int, directory: int | None = None) -> None:
    os.mkdir(_name(path, directory), mode, dir_fd=directory)


def _open(path: Path, flags: int, mode: int = 0o600, directory: int | None = None) -> int:
    return os.open(_name(path, directory), flags, mode, dir_fd=directory)


def _write(fd: int, data: bytes | memoryview) -> int:
    return os.write(fd, data)


def _write_at(fd: int, data: bytes | memoryview, offset: int) -> int:
    return os.pwrite(fd, data, offset)


def _fsync(fd: int) -> None:
    os.fsync(fd)


def _rename(source: Path, target: Path, replace: bool, directory: int | None = None) -> None:
    if replace:
        os.replace(_name(source, directory), _name(target, directory), src_dir_fd=directory, dst_dir_fd=directory)
        return
    rename = _renameat2()
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    at = _AT_FDCWD if directory is None else directory
    arguments = os.fsencode(_name(source, directory)), at, os.fsencode(_name(target, directory))
    if rename(at, arguments[0], at, arguments[2], _RENAME_NOREPLACE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fspath(source), None, os.fspath(target))


def _link(source: Path, target: Path, directory: int | None = None) -> None:
    os.link(
        _name(source, directory),
        _name(target, directory),
        src_dir_fd=directory,
        dst_dir_fd=directory,
        follow_symlinks=False,
    )


def _unlink(path: Path, directory: int | None = None) -> None:
    os.unlink(_name(path, directory), dir_fd=directory)


_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


@functools.cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    # Python has no binding; a C library without it leaves the road of hard links.
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    renameat2: Callable[[int, bytes, int, bytes, int], int] = function
    return renameat2
