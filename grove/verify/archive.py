"""What lies in an output: the objects and the manifests below a directory or in a bucket, to be read only."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from blake3 import blake3

from grove.exceptions import AccessException, ConfigurationException, NotFoundException
from grove.helpers import settings
from grove.manifest import FOLDER, SUFFIX

__all__ = ["Archive", "Bucket", "Directory", "open_archive"]

BUFFER = 1024 * 1024
"""Bytes that are read at once."""

NO_FILE = "no file"
"""In place of the hash of what is no regular file."""

_OBJECT = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Archive(Protocol):
    """Objects by their names: paths below the root, with slashes. AccessException where something cannot be read."""

    name: str
    workers: int
    """How many objects are best read at once."""

    def homes(self) -> set[str]:
        """What chains call this place (`manifest_home` of the output that writes to it)."""

    def objects(self) -> list[str]:
        """Everything that lies there for readers."""

    def manifests(self) -> Iterator[tuple[str, bytes]]:
        """The names and contents of the manifests."""

    def digest(self, name: str) -> str:
        """The BLAKE3 of an object, as hex digits. NotFoundException where it is not there."""

    def is_waiting(self, name: str, digest: str, last: bool) -> bool:
        """Whether the object lies ready and is only to be published. `last` says that it is of a last commit."""


class Directory:
    """The archive below the directory `root`. Symbolic links are not followed: one is no object."""

    workers = os.cpu_count() or 1

    def __init__(self, root: str) -> None:
        self.name = os.path.realpath(root)
        self._buffers = threading.local()

    def homes(self) -> set[str]:
        """The names in the directory's marker."""
        try:
            with open(os.path.join(self.name, ".grove-output"), encoding="ascii", errors="replace") as file:
                return set(file.read().split())
        except FileNotFoundError:
            return set()

    def objects(self) -> list[str]:
        """Every entry that is no directory, but for hidden ones: those are temporary files."""
        return list(self._walk(""))

    def _walk(self, folder: str) -> Iterator[str]:
        folders = [folder]
        while folders:
            folder = folders.pop()
            with self._reading(folder), os.scandir(os.path.join(self.name, folder)) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if path != FOLDER:
                            folders.append(path)
                    elif not entry.name.startswith("."):
                        yield path

    def manifests(self) -> Iterator[tuple[str, bytes]]:
        """The files in the folder of manifests."""
        if not os.path.isdir(os.path.join(self.name, FOLDER)):
            return
        for path in sorted(self._walk(FOLDER)):
            if path.endswith(SUFFIX):
                with self._reading(path), open(os.path.join(self.name, path), "rb") as file:
                    content = file.read()
                yield path, content

    def digest(self, name: str) -> str:
        """Read with a buffer for each thread, and hashed while the interpreter is free."""
        path = f"{self.name}/{name}"
        try:
            handle = os.open(path, _OBJECT)
        except (FileNotFoundError, NotADirectoryError) as err:
            raise NotFoundException(f"{path} is not there.") from err
        except OSError as err:
            if err.errno in (errno.ELOOP, errno.ENXIO):
                return NO_FILE
            raise _unreadable(path, err) from err
        try:
            status = os.fstat(handle)
            return self._hash(handle, status.st_size) if stat.S_ISREG(status.st_mode) else NO_FILE
        except OSError as err:
            raise _unreadable(path, err) from err
        finally:
            os.close(handle)

    def _hash(self, handle: int, size: int) -> str:
        buffers: list[memoryview] | None = getattr(self._buffers, "list", None)
        if buffers is None:
            buffers = self._buffers.list = [memoryview(bytearray(BUFFER))]
        hasher = blake3()
        while size > 0 and (count := os.readv(handle, buffers)):
            hasher.update(buffers[0][:count])
            size -= count
        return str(hasher.hexdigest())

    def is_waiting(self, name: str, digest: str, last: bool) -> bool:
        """Whether a hidden file beside the object's place has its very content."""
        folder = os.path.dirname(name)
        try:
            names = os.listdir(os.path.join(self.name, folder))
        except OSError:
            return False
        hidden = [one for one in names if one.startswith(".") and one.endswith(".tmp")]
        for one in hidden:
            # It may be published in this very moment.
            with contextlib.suppress(NotFoundException):
                if self.digest(os.path.join(folder, one)) == digest:
                    return True
        return False

    @contextlib.contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            raise _unreadable(os.path.join(self.name, path), err) from err


class Bucket:
    """The archive in an S3 bucket, whose names begin with `prefix`; reached by the settings of the output aws_s3."""

    workers = 16

    def __init__(self, bucket: str, prefix: str) -> None:
        try:
            from grove.outputs import aws_s3
        except ImportError as err:
            raise ConfigurationException(
                f"To read {bucket} install the extra of S3: pip install 'grove[aws]'."
            ) from err
        self.name = f"s3://{bucket}/{prefix}"
        self._bucket = bucket
        self._prefix = prefix
        self._access = aws_s3.access(settings.read(aws_s3.Handler.Configuration, bucket=bucket))

    def homes(self) -> set[str]:
        """The bucket, where all of it is looked at."""
        return set() if self._prefix else {self._bucket}

    def objects(self) -> list[str]:
        """Every object but the manifests."""
        return [name for name in self._list("") if not name.startswith(f"{FOLDER}/")]

    def _list(self, below: str) -> Iterator[str]:
        marker: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=f"{self._prefix}{below}", **marker)
            for found in page.get("Contents", ()):
                yield found["Key"].removeprefix(self._prefix)
            if not page.get("IsTruncated"):
                return
            marker = {"ContinuationToken": page["NextContinuationToken"]}

    def manifests(self) -> Iterator[tuple[str, bytes]]:
        """The objects in the folder of manifests, fetched one after the other."""
        for name in self._list(f"{FOLDER}/"):
            if name.endswith(SUFFIX):
                yield name, self._call("get_object", Key=f"{self._prefix}{name}")["Body"].read()

    def digest(self, name: str) -> str:
        """Fetched and hashed piece by piece."""
        found = self._call("get_object", Key=f"{self._prefix}{name}")
        hasher = blake3()
        for piece in found["Body"].iter_chunks(BUFFER):
            hasher.update(piece)
        return str(hasher.hexdigest())

    def is_waiting(self, name: str, digest: str, last: bool) -> bool:
        """Whether the object's upload is there; its content cannot be seen, so only that of a last commit counts."""
        if not last:
            return False
        try:
            page = self._call("list_multipart_uploads", Prefix=f"{self._prefix}{name}")
        except AccessException:
            return False
        return any(upload["Key"] == f"{self._prefix}{name}" for upload in page.get("Uploads", ()))

    def _call(self, operation: str, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return self._access.call(operation, Bucket=self._bucket, **arguments)
        except ClientError as err:
            if err.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise NotFoundException(f"{self.name}: {err}") from err
            raise AccessException(f"{self.name} cannot be read: {err}") from err
        except BotoCoreError as err:
            raise AccessException(f"{self.name} cannot be read: {err}") from err


def open_archive(place: str) -> Archive:
    """The archive at `place`, a directory or `s3://bucket/prefix`. ConfigurationException where there is none."""
    if place.startswith("s3://"):
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        if not bucket:
            raise ConfigurationException(f"{place!r} names no bucket; write s3://bucket or s3://bucket/prefix.")
        return Bucket(bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else "")
    if not os.path.isdir(place):
        raise ConfigurationException(f"{place} is no directory. Name the one that GROVE_OUTPUT_LOCAL_FILE_PATH names.")
    return Directory(place)


def _unreadable(path: str, err: OSError) -> AccessException:
    return AccessException(f"{path} cannot be read: {err.strerror or err!r}.")
