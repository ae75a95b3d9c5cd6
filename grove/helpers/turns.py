"""Turns at standard output and standard error, for processes that have them in common: a line is never torn.

A pipe takes no more than 4 KiB at once in one piece, so that longer lines of two processes would mix. Whoever makes
the processes `open`s a lock for each descriptor, and each of them `join`s. Before that there is nothing to wait for.
A process that dies loses its turn, and the next one is told that a line may have been left unfinished.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["STDERR", "STDOUT", "join", "leave", "open_locks", "turn"]

STDOUT, STDERR = 1, 2


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a descriptor leads: the file that processes lock, and what its threads lock here."""

    file: int
    threads: threading.Lock = field(default_factory=threading.Lock)


_places: dict[int, _Place] = {}


def open_locks() -> dict[int, int]:
    """A file for each of STDOUT and STDERR, to be handed to `join` here and in other processes; one where both lead
    to the same place. A descriptor that is closed has none.
    """
    places: dict[tuple[int, int], int] = {}
    found: dict[int, int] = {}
    for descriptor in (STDOUT, STDERR):
        with contextlib.suppress(OSError):
            about = os.fstat(descriptor)
            place = (about.st_dev, about.st_ino)
            if place not in places:
                places[place] = os.memfd_create("grove-turns")
            found[descriptor] = places[place]
    return found


def join(locks: Mapping[int, int]) -> None:
    """Take turns from now on. `locks` are what `open_locks` has returned, here or in the process that made this one."""
    # Opened anew: whoever shares an open file shares its lock as well.
    opened = {file: _Place(os.open(f"/proc/self/fd/{file}", os.O_RDWR | os.O_CLOEXEC)) for file in set(locks.values())}
    _places.update({descriptor: opened[file] for descriptor, file in locks.items()})


def leave() -> None:
    """Take no more turns, as there is nobody else."""
    for file in {place.file for place in _places.values()}:
        os.close(file)
    _places.clear()


@contextlib.contextmanager
def turn(descriptor: int) -> Iterator[bool]:
    """Write to STDOUT or STDERR while nobody else does; whether the last one has left a line unfinished."""
    place = _places.get(descriptor)
    if place is None:
        yield False
        return
    with place.threads:
        fcntl.flock(place.file, fcntl.LOCK_EX)
        try:
            # Its size tells whether somebody is at it.
            torn = os.fstat(place.file).st_size > 0
            os.ftruncate(place.file, 1)
            yield torn
            os.ftruncate(place.file, 0)
        finally:
            fcntl.flock(place.file, fcntl.LOCK_UN)
