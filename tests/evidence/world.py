"""The worlds of `tests.reliability` with manifests on: what is delivered is judged by `verify` as well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from grove.exceptions import NotFoundException
from grove.helpers import files
from grove.manifest import FOLDER
from grove.verify import open_archive, verify
from tests.reliability.disk import File, Tree
from tests.reliability.objects import Client, Object, ObjectWorld, _Access, _refusal
from tests.reliability.world import Saved, Setting, World


class EvidenceWorld(World):
    """A stream that is collected into files, with a manifest that lies on the simulated disk as they do."""

    def __init__(self, setting: Setting, root: Path) -> None:
        super().__init__(setting, root)
        self.early: list[str] = []
        self.power_lost = False

    def __enter__(self) -> EvidenceWorld:
        super().__enter__()
        self._set("GROVE_OUTPUT_LOCAL_FILE_MANIFEST", "true")
        probe, disk = self.probe, self.disk
        real = files._write_at

        def write_at(handle: int, data: Any, offset: int) -> int:
            def put(part: bytes) -> int:
                count = real(handle, part, offset)
                node = disk._behind(handle)
                assert isinstance(node, File)
                node.data[offset : offset + count] = part[:count]
                return count

            whole = bytes(data)
            half = whole[: max(1, len(whole) // 2)]
            return int(probe.at("write", lambda: put(whole), lambda: put(half)))

        self._patch(files, "_write_at", write_at)
        return self

    def _in_manifests(self, path: str) -> bool:
        return f"/{FOLDER}/" in path

    def visible(self) -> set[str]:
        return {path for path in super().visible() if not self._in_manifests(path)}

    def run(self, plan: Mapping[int, Any] | None = None) -> str:
        """As it is; and if the process died, no object is visible that has no line, whatever it was doing."""
        outcome = super().run(plan)
        if outcome == "crashed" and self.visible() and not self.power_lost:
            report = verify(self.archive())
            self.early.extend(f"manifest: {one.what} when the process died: {one.message}" for one in report.findings)
        return outcome

    def restore(self, saved: Saved, tree: Tree | None = None) -> None:
        super().restore(saved, tree)
        self.power_lost = tree is not None

    def check(self) -> list[str]:
        super().check()
        self._evidence()
        self.problems.extend(self.early)
        self.early = []
        return self.problems

    def _evidence(self) -> None:
        """What the chain says, with the state and without it: the stream is quiet and was ended in order."""
        if not self.visible():
            return
        for cache in (None, self._cache):
            try:
                report = verify(self.archive(), cache)
            except NotFoundException as err:
                self.problems.append(f"manifest: {err}")
                return
            self.problems.extend(f"manifest: {one.what}: {one.message}" for one in report.findings)
            if report.waiting or report.uncovered:
                self.problems.append(f"manifest: waiting {report.waiting}, uncovered {report.uncovered}")
            if report.chains != 1:
                self.problems.append(f"manifest: {report.chains} chains")
        tails = (
            [json.loads(text) for key, text in self._stored().items() if key.pk.startswith("manifest.")]
            if self._bare
            else []
        )
        self.problems.extend("manifest: a tail is left" for one in tails for chain in one.values() if chain["tail"])

    def archive(self) -> Any:
        return open_archive(str(self.out))


class EvidenceClient(Client):
    """The methods that manifests need as well."""

    def put_object(self, *, Key: str, Body: bytes, IfNoneMatch: str = "", **_: Any) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            if Key in self._store.objects and IfNoneMatch == "*":
                raise _refusal("PreconditionFailed", "PutObject")
            assert Key not in self._store.objects or self._store.objects[Key].data == Body
            # Nobody takes manifests away: a greedy reader is after logs.
            self._store.objects[Key] = Object(bytes(Body), {}, "")
            return {}

        return self._at("put", act)


class StoreArchive:
    """What the simulated bucket holds, and what a reader has taken out of it."""

    name = "s3://bucket/"
    workers = 1

    def __init__(self, world: ObjectWorld) -> None:
        store = world.store
        self._uploads = list(store.uploads.values())
        self._found = {key: one.data for key, one in store.objects.items()} | dict(store.taken)

    def homes(self) -> set[str]:
        return {"bucket"}

    def objects(self) -> list[str]:
        return [name for name in self._found if not name.startswith(FOLDER)]

    def manifests(self) -> Iterator[tuple[str, bytes]]:
        return ((name, data) for name, data in sorted(self._found.items()) if name.startswith(FOLDER))

    def digest(self, name: str) -> str:
        from blake3 import blake3

        if name not in self._found:
            raise NotFoundException(name)
        return str(blake3(self._found[name]).hexdigest())

    def is_waiting(self, name: str, digest: str, last: bool) -> bool:
        return last and any(one.key == name for one in self._uploads)


class EvidenceObjectWorld(EvidenceWorld, ObjectWorld):
    """A stream that is collected into a bucket, with its manifest."""

    client: Callable[..., Client] = EvidenceClient

    def __enter__(self) -> EvidenceObjectWorld:
        super().__enter__()
        self._set("GROVE_OUTPUT_AWS_S3_MANIFEST", "true")
        return self

    def make_output(self) -> Any:
        output = super().make_output()
        output._access = _Access(EvidenceClient(self.store, self.probe, greedy=self.greedy, replays=self.replays))
        return output

    def visible(self) -> set[str]:
        return {name for name in ObjectWorld.visible(self) if not name.startswith(FOLDER)}

    def archive(self) -> Any:
        return StoreArchive(self)


class EvidenceGreedyWorld(EvidenceObjectWorld):
    """A reader takes every object of logs away at once."""

    greedy = True
