"""One stream in a world that can be stopped at any side effect: its source, disk, cache and clock, all held here.

Every call that changes something outside the process is a numbered point. A plan says what happens at a point:
the process dies before, after or in the middle of it, or it fails with or without having had its effect. After a
death nothing has an effect any more until `restart()`.
"""

from __future__ import annotations

import copy
import errno
import json
import logging
import os
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from grove import lease
from grove.caches import Batch
from grove.caches.local_lmdb import Handler as LmdbCache
from grove.caches.local_memory import Handler as MemoryCache
from grove.exceptions import AccessException, ConcurrencyException
from grove.helpers import clock, files
from grove.outputs import BaseOutput
from grove.outputs.local_file import MARKER
from grove.outputs.local_file import Handler as FileOutput

from .disk import Disk, Tree
from .truth import BOTH, CONTEXT, Halves, Newest, Oldest, Source, document

FOLDER = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
"""Where simulated disks lie: in memory where that is possible."""

CACHE_FAULTS = ("refused", "applied", "refused-blind", "applied-blind")
DISK_FAULTS = ("eio", "enospc")


class Crash(BaseException):
    """The process is dead."""


def ways(label: str) -> tuple[str, ...]:
    """How a run can be disturbed at a point."""
    if label.startswith("cache."):
        return ("before", "after", *CACHE_FAULTS)
    if label.startswith("s3."):
        return ("before", "after", "refused", "applied", "twice")
    if label == "write":
        return ("before", "torn", "short", *DISK_FAULTS)
    return ("before", *DISK_FAULTS)


class Probe:
    """Numbers the side effects and carries out the plan."""

    def __init__(self) -> None:
        self.reset()

    def reset(self, plan: Mapping[int, Any] | None = None) -> None:
        self.points: list[str] = []
        self.disturbed = False
        self.plan = dict(plan or {})
        self.dead = False
        self.blind = 0
        self._inside = False

    def at(self, label: str, act: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        self.alive()
        if self._inside:
            return act()
        index = len(self.points)
        self.points.append(label)
        what = self.plan.get(index)
        self._inside = True
        try:
            if what is None:
                return act()
            return self._disturb(what, label, act, half)
        finally:
            self._inside = False

    def _disturb(self, what: Any, label: str, act: Callable[[], Any], half: Callable[[], Any] | None) -> Any:
        self.disturbed = True
        if callable(what):
            what()
            return act()
        if isinstance(what, int):
            possible = ways(label)
            what = possible[what % len(possible)]
        if what in ("before", "after", "torn"):
            self.dead = True
            if what == "after":
                act()
            elif what == "torn" and half is not None:
                half()
            raise Crash
        if what == "eio":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if what == "enospc":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if what == "short":
            return half() if half is not None else act()
        if what == "twice":
            # The client has lost the answer, and asks again by itself.
            act()
            return act()
        if what.startswith("applied"):
            act()
        if what.endswith("blind"):
            self.blind = 4
        raise AccessException(f"made up: {what}")

    def alive(self) -> None:
        if self.dead:
            raise Crash

    def look(self) -> None:
        """A read: refused while the cache cannot be reached."""
        self.alive()
        if self.blind and not self._inside:
            self.blind -= 1
            raise AccessException("made up: the cache cannot be reached")


class Clock:
    """The wall clock and the monotonic one, which only move when told."""

    def __init__(self, wall: datetime) -> None:
        self.wall = wall
        self.mono = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def advance(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.mono += seconds

    def jump(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)


class _NoRenewer:
    """Leases are renewed by nobody: a thread of its own would make points come and go."""

    def add(self, lease: Any) -> None:
        pass

    def remove(self, lease: Any) -> None:
        pass


def probed(kind: type, probe: Probe) -> type:
    """A cache of that kind whose changes are points."""

    class Probed(kind):  # type: ignore[misc]
        def apply(self, batch: Any) -> None:
            probe.at("cache.apply", lambda: super(Probed, self).apply(batch))

        def set(self, *args: Any, **kwargs: Any) -> None:
            probe.at("cache.set", lambda: super(Probed, self).set(*args, **kwargs))

        def delete(self, *args: Any, **kwargs: Any) -> None:
            probe.at("cache.delete", lambda: super(Probed, self).delete(*args, **kwargs))

        def get(self, *args: Any, **kwargs: Any) -> Any:
            probe.look()
            return super().get(*args, **kwargs)

        def read(self, *args: Any, **kwargs: Any) -> Any:
            probe.look()
            return super().read(*args, **kwargs)

        def reopen(self) -> None:
            probe.look()
            super().reopen()

    return Probed


@dataclass(frozen=True)
class Setting:
    """What kind of stream is collected, from what kind of source, into what."""

    newest_first: bool = False
    kind: str = "iso"
    outputs: int = 1
    page_size: int = 3
    live: bool = False
    lookback: int = 0
    store: str = "memory"
    links: bool = False
    pipelined: bool = False
    start: str = "2025-03-30T10:00:00"


@dataclass
class Saved:
    """Everything that outlives a process, at one moment."""

    tree: Tree
    data: dict[Any, Any]
    entries: list[tuple[int, int]]
    wall: datetime
    mono: float
    objects: Any = None


class World:
    """A stream, everything around it, and the means to stop it anywhere. Use as a context manager."""

    def __init__(self, setting: Setting, root: Path) -> None:
        self.setting = setting
        self.root = root
        self.out = root / "out"
        self.out.mkdir()
        self.disk = Disk(self.out)
        self.probe = Probe()
        self.clock = Clock(datetime.fromisoformat(setting.start).replace(tzinfo=UTC))
        self.source = Source(kind=setting.kind, page_size=setting.page_size, live=setting.live)
        self.data: dict[Any, Any] = {}
        self.script: Callable[[Any, int], None] | None = None
        self.problems: list[str] = []
        self._read: dict[bytes, list[Any]] = {}
        self.connector: Any = None
        self._undo: list[Callable[[], Any]] = []
        self._output: BaseOutput | None = None
        self._cache: Any = None
        # What the state is read from and put back by, beside the cache that the stream uses.
        self._bare: Any = None if setting.store == "memory" else LmdbCache(root / "cache")
        self._cache_kind = probed(LmdbCache if self._bare else MemoryCache, self.probe)
        self._document = document(outputs=BOTH if setting.outputs == 2 else {"logs": "raw"}, lookback=setting.lookback)

    # --- in place of the real ones ---

    def __enter__(self) -> World:
        self._set("GROVE_OUTPUT_LOCAL_FILE_PATH", str(self.out))
        self._set("GROVE_CACHE_LOCAL_LMDB_PATH", str(self.root / "cache"))
        self._patch(clock, "now", self.clock.now)
        self._patch(clock, "monotonic", self.clock.monotonic)
        self._patch(lease, "_renewer", _NoRenewer())
        self._patch(lease, "_owner", None)
        probe, disk = self.probe, self.disk

        def tracked(label: str, real: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                # The cache has files of its own, which are not on this disk.
                if not disk.holds(args[0]):
                    return real(*args, **kwargs)

                def act() -> Any:
                    result = real(*args, **kwargs)
                    note(*args)
                    return result

                return probe.at(label, act)

            return call

        def write(handle: int, data: bytes) -> int:
            if not disk.holds(handle):
                return int(real_write(handle, data))

            def act() -> int:
                count = real_write(handle, data)
                disk.wrote(handle, bytes(data[:count]))
                return int(count)

            def half() -> int:
                part = bytes(data[: max(1, len(data) // 2)])
                real_write(handle, part)
                disk.wrote(handle, part)
                return len(part)

            return int(probe.at("write", act, half))

        real_write, real_open, real_rename = files._write, files._open, files._rename
        no_rename = self.setting.links

        def rename(source: Any, target: Any, replace: bool, directory: int | None = None) -> None:
            if no_rename and not replace:
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
            real_rename(source, target, replace, directory)

        create = tracked("create", real_open, disk.created)

        def open_(path: Any, flags: int, mode: int = 0o600, directory: int | None = None) -> int:
            # Looking changes nothing, so it is no point.
            opens = create if flags & os.O_CREAT else real_open
            return int(opens(path, flags, mode, directory))

        self._patch(files, "_mkdir", tracked("mkdir", files._mkdir, disk.made))
        self._patch(files, "_open", open_)
        self._patch(files, "_write", write)
        self._patch(files, "_fsync", tracked("fsync", files._fsync, disk.synced))
        self._patch(files, "_rename", tracked("rename", rename, disk.renamed))
        self._patch(files, "_link", tracked("link", files._link, disk.linked))
        self._patch(files, "_unlink", tracked("unlink", files._unlink, disk.unlinked))
        self._level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        return self

    def __exit__(self, *_: object) -> None:
        logging.disable(self._level)
        while self._undo:
            self._undo.pop()()

    def _set(self, name: str, value: str) -> None:
        """Set a variable of the environment."""
        old = os.environ.get(name)
        self._undo.append(lambda: os.environ.pop(name) if old is None else os.environ.update({name: old}))
        os.environ[name] = value

    def _patch(self, place: Any, name: str, value: Any) -> None:
        old = getattr(place, name)
        self._undo.append(lambda: setattr(place, name, old))
        setattr(place, name, value)

    # --- processes ---

    def restart(self, seconds: float = 400.0) -> None:
        """A new process, that many seconds later. What the old one had in memory is gone."""
        self._output = self._cache = None
        lease._owner = None
        self.probe.reset()
        self.clock.advance(seconds)

    def make_output(self) -> BaseOutput:
        """This process's output, not set up."""
        return FileOutput()

    def connect(self) -> Any:
        """A connector with this process's handlers."""
        if self._output is None:
            self._cache = self._cache_kind()
            if self._bare is None:
                self._cache._data = self.data
            self._cache.setup()
            output = self.make_output()
            output.setup()
            self._output = output
        made = (Newest if self.setting.newest_first else Oldest)(
            self._document, CONTEXT, cache=self._cache, output=self._output
        )
        made.source, made.script = self.source, self.script
        made.PIPELINED = self.setting.pipelined  # type: ignore[misc]
        if self.setting.outputs == 2:
            made._processors = [Halves()]  # type: ignore[list-item]
        self.connector = made
        return made

    def run(self, plan: Mapping[int, Any] | None = None) -> str:
        """One run; how it ended: succeeded, failed, locked, or crashed."""
        self.probe.reset(plan)
        try:
            try:
                connector = self.connect()
            except AccessException:
                self._output = self._cache = None
                return "failed"
            connector.run()
        except Crash:
            return "crashed"
        except ConcurrencyException:
            return "locked"
        except Exception as err:
            self.problems.append(f"run() let {err!r} escape")
            return "failed"
        return str(connector.outcome)

    def until_quiet(self, limit: int = 6) -> None:
        """Run, as often as it takes, until a run succeeds and delivers nothing."""
        outcome = ""
        for _ in range(limit):
            before = self.visible()
            outcome = self.run()
            if outcome == "crashed":
                raise AssertionError("nothing was planned")
            if outcome == "succeeded" and self.visible() == before:
                return
            self.clock.advance(400 if outcome == "locked" else 1)
        self.problems.append(f"the stream is not quiet after {limit} runs; the last one {outcome}")

    # --- what is there ---

    def files(self) -> list[str]:
        return [os.path.join(folder, name) for folder, _, names in os.walk(self.out) for name in names]

    def visible(self) -> set[str]:
        return {path for path in self.files() if not os.path.basename(path).startswith(".")}

    def hidden(self) -> list[str]:
        """Names of temporary files, but for those of the directory's own name: they go after an hour."""
        names = [os.path.basename(path) for path in self.files()]
        return [name for name in names if name.startswith(".") and not name.startswith(MARKER)]

    def delivered(self, descriptor: str = "logs") -> Counter[Any]:
        """How often each entry is there; a file that is not whole, or is no longer what it was, is a problem."""
        found: Counter[Any] = Counter()
        for path in self.visible():
            if path.startswith(f"{self.out}/{descriptor}/"):
                with open(path, "rb") as file:
                    found.update(self.entries(path, file.read()))
        return found

    def entries(self, path: str, packed: bytes) -> list[Any]:
        """What identifies each entry of an object."""
        known = self._read.get(packed)
        if known is not None:
            return known
        try:
            data = zlib.decompress(packed, wbits=31)
            if not data.endswith(b"\n"):
                raise ValueError("the last line is not complete")
            entries = [json.loads(line) for line in data.splitlines()]
        except (ValueError, zlib.error) as err:
            self.problems.append(f"{os.path.basename(path)} is not whole: {err!r}")
            return []
        found = [(entry["id"], entry["half"]) if "half" in entry else entry["id"] for entry in entries]
        self._read[packed] = found
        return found

    def check(self) -> list[str]:
        """Everything that is not as promised, now that the stream is quiet."""
        wanted = Counter(number for _, number in self.source.entries)
        self._compare("logs", wanted)
        if self.setting.outputs == 2:
            self._compare("processed", Counter({(number, half): 1 for number in wanted for half in (0, 1)}))
        if hidden := self.hidden():
            self.problems.append(f"left behind: {hidden}")
        if self.source.entries and (pointer := self.connect().pointer) != self.source.pointer():
            self.problems.append(f"the pointer is {pointer}, and should be {self.source.pointer()}")
        return self.problems

    def _compare(self, descriptor: str, wanted: Counter[Any]) -> None:
        found = self.delivered(descriptor)
        if found != wanted:
            self.problems.append(f"{descriptor}: lost {dict(wanted - found)}, twice {dict(found - wanted)}")

    # --- going back ---

    def save(self) -> Saved:
        """What is durable now, were nothing lost."""
        return Saved(
            self.disk.image(),
            self._stored(),
            list(self.source.entries),
            self.clock.wall,
            self.clock.mono,
        )

    def restore(self, saved: Saved, tree: Tree | None = None) -> None:
        """Go back to `saved`, with another disk if `tree` is given."""
        self.disk.restore(saved.tree if tree is None else tree)
        self._store(saved.data)
        self.source.entries = list(saved.entries)
        self.clock.wall, self.clock.mono = saved.wall, saved.mono
        self.problems = []
        self.restart(0)

    def _stored(self) -> dict[Any, Any]:
        return copy.deepcopy(self.data) if self._bare is None else dict(self._bare.scan(""))

    def _store(self, data: dict[Any, Any]) -> None:
        if self._bare is None:
            self.data.clear()
            self.data.update(copy.deepcopy(data))
            return
        batch = Batch()
        batch.changes = {**dict.fromkeys(self._stored()), **data}
        self._bare.apply(batch)


@dataclass
class Tally:
    """How many scenarios were tried, and what went wrong in the first few."""

    tried: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, problems: list[str]) -> None:
        self.tried += 1
        if problems:
            self.failures.append(f"{name}: {'; '.join(problems)}")
