"""The objects of an archive: whether each is what its line says, and whether each has one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from grove.exceptions import NotFoundException
from grove.manifest import Line
from grove.verify.archive import Archive
from grove.verify.chains import Manifests, Stream
from grove.verify.report import Report

__all__ = ["Digests", "judge_objects"]

BATCH = 32
"""Objects that a thread takes at a time."""

_NAME = re.compile(
    r"(?:.+/)?(?P<connector>[^/]+)/(?P<identity>[^/]+)/\d{4}/\d\d/\d\d/"
    r"(?P<operation>[^/]+)-(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\.\d+-[^/]+"
)


class Digests:
    """The hashes of objects, worked out by as many threads as are good for the archive while others read manifests.

    A context manager: on leaving it, what has not begun is not done any more.
    """

    def __init__(self, archive: Archive, names: Iterable[str]) -> None:
        self._archive = archive
        # One folder after the other, as they lie on the disk.
        ordered = sorted(names)
        self._threads = ThreadPoolExecutor(archive.workers)
        self._batches = [
            self._threads.submit(self._read, ordered[start : start + BATCH]) for start in range(0, len(ordered), BATCH)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _read(self, names: list[str]) -> dict[str, str | None]:
        return {name: self._digest(name) for name in names}

    def _digest(self, name: str) -> str | None:
        try:
            return self._archive.digest(name)
        except NotFoundException:
            return None

    def of(self, names: Iterable[str]) -> dict[str, str | None]:
        """The hash of every object that was given, and of `names`; None for what is not there."""
        found: dict[str, str | None] = {}
        for batch in self._batches:
            found.update(batch.result())
        # What was delivered since; and what was removed.
        found.update((name, self._digest(name)) for name in names if name not in found)
        return found


def judge_objects(report: Report, archive: Archive, manifests: Manifests, digests: Digests) -> None:
    """Compare every object that has a line with it, and find what has none. AccessException: one cannot be read."""
    lines = manifests.objects
    there = digests.of(lines)
    strangers = {name: digest for name, digest in there.items() if digest is not None and name not in lines}
    contents = {line.blake3: name for name, line in lines.items()}
    last = {chain.id: chain.sequence for chain in manifests.chains.values()}
    places = defaultdict(list)
    for name, digest in sorted(strangers.items()):
        places[digest].append(name)
    for name, line in sorted(lines.items()):
        found = there[name]
        if found is None:
            if archive.is_waiting(name, line.blake3, line.sequence == last[line.chain]):
                report.waiting.append(name)
            else:
                _missing(report, line, places[line.blake3])
            continue
        report.objects += 1
        report.size += line.size
        if found != line.blake3:
            _altered(report, line, contents.get(found))
    _judge_strangers(report, manifests, strangers, contents)


def _missing(report: Report, line: Line, places: list[str]) -> None:
    elsewhere = f" Its content lies at {places[0]}." if places else ""
    message = f"It was delivered at {line.time}, with {line.entries} entries, and is not there.{elsewhere}"
    report.add("missing", line.object, message, line.chain, line.line)


def _altered(report: Report, line: Line, other: str | None) -> None:
    if other is not None:
        report.add("swapped", line.object, f"It has the content of {other}.", line.chain, line.line)
    else:
        report.add("altered", line.object, "Its content is not what was delivered.", line.chain, line.line)


def _judge_strangers(report: Report, manifests: Manifests, strangers: dict[str, str], contents: dict[str, str]) -> None:
    """Objects without a line: from a time that had no manifest, or added."""
    gaps = manifests.gaps()
    began = min((line.time for line in manifests.objects.values()), default="")
    for name, digest in sorted(strangers.items()):
        if name in manifests.doubted:
            continue
        stream, time = _origin(name)
        spans = gaps.get(stream)
        if any(first <= time <= last for first, last in spans) if spans is not None else "" < time < began:
            report.uncovered.append(name)
        else:
            copy = f" It is a copy of {contents[digest]}." if digest in contents else ""
            report.add("added", name, f"No line of a manifest has it: it was added.{copy}")


def _origin(name: str) -> tuple[Stream, str]:
    """The stream that an object's name says it is of, and when it was delivered; empty where it does not say."""
    found = _NAME.fullmatch(name)
    if found is None:
        return ("", "", ""), ""
    return (found["connector"], found["identity"], found["operation"]), found["time"]
