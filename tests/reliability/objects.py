"""The world with a bucket in place of the disk: S3 as its documentation describes it, where every change is a point."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from grove.exceptions import AccessException
from grove.outputs import BaseOutput, aws_s3
from grove.outputs._several import Several
from grove.outputs.aws_s3 import Handler as S3Output

from .world import Probe, Saved, Setting, World

NAME = "bucket"


@dataclass
class Upload:
    """An upload that is not completed."""

    key: str
    metadata: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Object:
    """An object, and the upload it came from."""

    data: bytes
    metadata: dict[str, str]
    upload: str


@dataclass
class Store:
    """What the bucket holds, and what a reader has taken out of it: keys and contents, repeated ones too."""

    objects: dict[str, Object] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    begun: int = 0


class Client:
    """The methods of boto3's client that the output uses.

    A `greedy` reader takes each object the moment it appears. With `replays`, completing an upload again succeeds
    while its object is there, as AWS has it; other makers know such an upload no more.
    """

    def __init__(self, store: Store, probe: Probe, *, greedy: bool, replays: bool) -> None:
        self._store = store
        self._probe = probe
        self._greedy = greedy
        self._replays = replays

    def head_bucket(self, **_: Any) -> dict[str, Any]:
        return {}

    def create_multipart_upload(self, *, Key: str, Metadata: dict[str, str], **_: Any) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            self._store.begun += 1
            name = f"upload-{self._store.begun}"
            self._store.uploads[name] = Upload(Key, Metadata)
            return {"UploadId": name}

        return self._at("create", act)

    def upload_part(self, *, UploadId: str, PartNumber: int, Body: bytes, **_: Any) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            self._upload(UploadId, "UploadPart").parts[PartNumber] = bytes(Body)
            return {"ETag": hashlib.md5(Body).hexdigest()}

        return self._at("upload", act)

    def complete_multipart_upload(
        self, *, Key: str, UploadId: str, MultipartUpload: dict[str, Any], IfNoneMatch: str = "", **_: Any
    ) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            there = self._store.objects.get(Key)
            if self._replays and there is not None and there.upload == UploadId:
                return {}
            upload = self._upload(UploadId, "CompleteMultipartUpload")
            if there is not None and IfNoneMatch == "*":
                raise _refusal("PreconditionFailed", "CompleteMultipartUpload")
            data = b"".join(upload.parts[part["PartNumber"]] for part in MultipartUpload["Parts"])
            assert upload.key == Key
            del self._store.uploads[UploadId]
            if self._greedy:
                self._store.taken.append((Key, data))
            else:
                self._store.objects[Key] = Object(data, upload.metadata, UploadId)
            return {}

        return self._at("complete", act)

    def abort_multipart_upload(self, *, UploadId: str, **_: Any) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            self._upload(UploadId, "AbortMultipartUpload")
            del self._store.uploads[UploadId]
            return {}

        return self._at("abort", act)

    def head_object(self, *, Key: str, **_: Any) -> dict[str, Any]:
        self._probe.alive()
        if Key not in self._store.objects:
            raise _refusal("404", "HeadObject")
        return {"Metadata": self._store.objects[Key].metadata}

    def list_multipart_uploads(self, *, Prefix: str, **_: Any) -> dict[str, Any]:
        self._probe.alive()
        found = [{"Key": one.key, "UploadId": name} for name, one in self._store.uploads.items()]
        return {"Uploads": [one for one in found if one["Key"].startswith(Prefix)], "IsTruncated": False}

    def _upload(self, name: str, operation: str) -> Upload:
        if name not in self._store.uploads:
            raise _refusal("NoSuchUpload", operation)
        return self._store.uploads[name]

    def _at(self, label: str, act: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._probe.at(f"s3.{label}", act)
        except AccessException as err:
            raise EndpointConnectionError(endpoint_url="https://s3.example.com", error=err) from err
        return answer


def _refusal(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "made up"}}, operation)


class _Access:
    def __init__(self, client: Client) -> None:
        self._client = client

    def call(self, operation: str, **parameters: Any) -> Any:
        return getattr(self._client, operation)(**parameters)


class ObjectWorld(World):
    """A stream that is collected into a bucket. `greedy` and `replays` as in `Client`."""

    greedy = False
    replays = True

    def __init__(self, setting: Setting, root: Path) -> None:
        super().__init__(setting, root)
        self.store = Store()

    def __enter__(self) -> ObjectWorld:
        super().__enter__()
        self._set("GROVE_OUTPUT_AWS_S3_BUCKET", NAME)
        self._patch(aws_s3, "sleep", lambda seconds: None)
        return self

    def make_output(self) -> BaseOutput:
        output = S3Output()
        output._access = _Access(Client(self.store, self.probe, greedy=self.greedy, replays=self.replays))  # type: ignore[assignment]
        return output

    def visible(self) -> set[str]:
        return {*self.store.objects, *(key for key, _ in self.store.taken)}

    def hidden(self) -> list[str]:
        # One that was begun twice, because the first answer was lost, is empty for ever: it costs nothing.
        return [one.key for one in self.store.uploads.values() if one.parts]

    def delivered(self, descriptor: str = "logs") -> Counter[Any]:
        found: Counter[Any] = Counter()
        seen = [*((key, one.data) for key, one in self.store.objects.items()), *self.store.taken]
        for key, data in seen:
            if key.startswith(f"{descriptor}/"):
                found.update(self.entries(key, data))
        return found

    def save(self) -> Saved:
        saved = super().save()
        saved.objects = copy.deepcopy(self.store)
        return saved

    def restore(self, saved: Saved, tree: Any = None) -> None:
        self.store = copy.deepcopy(saved.objects)
        super().restore(saved, tree)


class SeveralWorld(ObjectWorld):
    """A stream that is collected into files and into a bucket at once."""

    def make_output(self) -> Several:
        return Several([World.make_output(self), super().make_output()])

    def visible(self) -> set[str]:
        return super().visible() | World.visible(self)

    def hidden(self) -> list[str]:
        return super().hidden() + World.hidden(self)

    def check(self) -> list[str]:
        super().check()
        for descriptor in ("logs", "processed"):
            files = World.delivered(self, descriptor)
            if files != self.delivered(descriptor):
                self.problems.append(f"{descriptor}: the files and the bucket differ")
        return self.problems


class GreedyWorld(ObjectWorld):
    """A reader takes every object away at once."""

    greedy = True


class ForgetfulWorld(ObjectWorld):
    """An upload that was completed is not known any more."""

    replays = False
