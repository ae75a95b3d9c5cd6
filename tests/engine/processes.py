"""Other processes that hold a stream, for tests of who may take it from whom.

Run as a program with what to do, the kind of cache and its directory; each line it prints is a step that it has done.
"""

import os
import sys
from pathlib import Path

from grove.caches.local_file import Handler as FileCache
from grove.caches.local_lmdb import Handler as LmdbCache
from grove.exceptions import ConcurrencyException
from grove.lease import Lease, owner
from grove.state import StreamState

CACHES = {"lmdb": LmdbCache, "file": FileCache}


def lease_on(cache, *, duration=300.0, run_timeout=3600.0):
    """A lease of the one stream that these tests know; not taken yet."""
    return Lease(StreamState(cache, lambda kind: f"{kind}.scripted.corp", "all"), duration, run_timeout)


def open_cache(kind, directory):
    made = CACHES[kind](directory)
    made.setup()
    return made


def say(*words):
    print(*words, flush=True)


def hold(cache):
    """Hold the stream until the input ends."""
    lease_on(cache).take()
    say("held", owner().name)
    sys.stdin.read()


def fork(cache):
    """Hold the stream, and let a forked child try to take it."""
    lease_on(cache).take()
    say("held", owner().name)
    child = os.fork()
    if not child:
        try:
            lease_on(cache).take()
            say("taken", owner().name)
        except ConcurrencyException:
            say("refused", owner().name)
        os._exit(0)
    os.waitpid(child, 0)
    say("ended")
    sys.stdin.read()


def judge(cache):
    """Say of each process named in the input whether it is dead."""
    for name in sys.stdin:
        say(owner().is_dead(name.strip(), cache.directory))


if __name__ == "__main__":
    _what, _kind, _directory = sys.argv[1:]
    {"hold": hold, "fork": fork, "judge": judge}[_what](open_cache(_kind, Path(_directory)))
