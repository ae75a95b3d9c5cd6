"""Turns at standard output and standard error, for processes that have them in common: a line is never torn.

A pipe takes no more than 4 KiB at once in one piece, so that longer lines of two processes would mix. Whoever makes
the processes `open`s a lock for each descriptor, and each of them `join`s. Before that there is nothing to wait for.
A process that dies loses its turn, and the next one is told that a line may have been left unfinished.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from grove.helpers import clock

__all__ = ["STDERR", "STDOUT", "join", "leave", "open_locks", "turn"]

STDOUT, STDERR = 1, 2

# Seconds between two looks at a lock that is not waited for at any cost.
_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a descriptor leads: the file that processes lock, what threads lock here, and for how long both wait."""

    file: int
    patience: float | None
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


def join(locks: Mapping[int, int], patience: float | None = None) -> None:
    """Take turns from now on. `locks` are what `open_locks` has returned, here or in the process that made this one.

    Whoever must not be stopped by another process writes without its turn after `patience` seconds.
    """
    # Opened anew: whoever shares an open file shares its lock as well.
    opened = {
        file: _Place(os.open(f"/proc/self/fd/{file}", os.O_RDWR | os.O_CLOEXEC), patience)
        for file in set(locks.values())
    }
    _places.update({descriptor: opened[file] for descriptor, file in locks.items()})


def leave() -> None:
    """Take no more turns, as there is nobody else."""
    for file in {place.file for place in _places.values()}:
        os.close(file)
    _places.clear()


@contextlib.contextmanager
def turn(descriptor: int, size: int) -> Iterator[bool]:
    """Write `size` bytes to STDOUT or STDERR while nobody else does; whether the last one left a line unfinished."""
    place = _places.get(descriptor)
    if place is None:
        yield False
        return
    with place.threads:
        if not _locked(place):
            yield False
            return
        try:
            # Its size tells whether somebody is at it, with more than is written in one piece.
            torn = os.fstat(place.file).st_size > 0
            if size > select.PIPE_BUF:
                os.ftruncate(place.file, 1)
            yield torn
            os.ftruncate(place.file, 0)
        finally:
            fcntl.flock(place.file, fcntl.LOCK_UN)


def _locked(place: _Place) -> bool:
    """Wait for the lock of `place`, and have it; False where patience is at an end."""
    if place.patience is None:
        fcntl.flock(place.file, fcntl.LOCK_EX)
        return True
    until = clock.monotonic() + place.patience
    while True:
        try:
            fcntl.flock(place.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() >= until:
                return False
            threading.Event().wait(_PAUSE)
        else:
            return True
