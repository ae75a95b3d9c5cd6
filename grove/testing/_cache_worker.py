"""A process beside a test, with the same cache: `python -m grove.testing._cache_worker FILE CLASS STATE FOLDER TASK N`.

It loads the test class from its file, makes the cache as the test does, and says on stdout how far it is.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import sys
import time
from itertools import count
from pathlib import Path

from grove.caches import BaseCache, Batch, Key
from grove.exceptions import ConflictError, DataFormatException

__all__ = ["EPOCH", "LOCK", "POINTER", "SEQUENCE", "WINDOW"]

_STREAM = "contract.d41d8cd98f00b204e9800998ecf8427e"
LOCK = Key(f"execution_lock.{_STREAM}", "all")
EPOCH = Key(f"epoch.{_STREAM}", "all")
SEQUENCE = Key(f"sequence.{_STREAM}", "all")
POINTER = Key(f"pointer.{_STREAM}", "all")
WINDOW = Key(f"window.{_STREAM}", "all")

PADDING = "0123456789abcdef" * 4096
"""Makes a value that no store keeps in one small piece."""


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def fight(cache: BaseCache, folder: Path, times: int) -> None:
    """Take the lock and give it back `times` times. A file that nobody else may make shows that it is held once."""
    who, marker = f"process {os.getpid()}", folder / "held"
    taken = 0
    while taken < times:
        try:
            cache.set(*LOCK, who, not_set=True)
        except DataFormatException:
            time.sleep(random.uniform(0, 0.002))
            continue
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        taken += 1
        marker.unlink()
        cache.delete(*LOCK, constraint=who)
    _say("taken", taken)


def hold(cache: BaseCache, folder: Path, times: int) -> None:
    """Read the epoch, wait until told to go on, and commit as the holder that one was."""
    (epoch,) = cache.read([EPOCH])
    _say("holds", epoch)
    sys.stdin.readline()
    try:
        cache.apply(Batch().require(EPOCH, epoch).set(POINTER, "of the old holder").delete(WINDOW))
    except ConflictError:
        _say("refused")
    else:
        _say("committed")


def commit(cache: BaseCache, folder: Path, times: int) -> None:
    """Commit until killed: each batch writes the same number to three keys, one of them big."""
    (before,) = cache.read([SEQUENCE])
    for number in count(int(before or 0) + 1):
        batch = Batch().require(SEQUENCE, before).set(POINTER, str(number)).set(WINDOW, f"{number} {PADDING}")
        before = str(number)
        cache.apply(batch.set(SEQUENCE, before))
        _say(number)


def fork(cache: BaseCache, folder: Path, times: int) -> None:
    """Use the cache, fork, and use it in both."""
    cache.set(*POINTER, "of the parent")
    child = os.fork()
    if not child:
        # A child that fails must not go on as if it were its parent.
        code = 1
        try:
            cache.set(*WINDOW, f"of the child, after {cache.get(*POINTER)}")
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    cache.set(*POINTER, f"still {cache.get(*POINTER)}", constraint="of the parent")
    _say("child", os.waitstatus_to_exitcode(status))


TASKS = {"fork": fork, "fight": fight, "hold": hold, "commit": commit}


def main(file: str, kind: str, state: str, folder: str, task: str, times: str) -> None:
    """Do `task`, once told on stdin."""
    spec = importlib.util.spec_from_file_location("_contract_of_the_parent", file)
    assert spec is not None and spec.loader is not None, f"{file} cannot be imported"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    test = getattr(module, kind)()
    vars(test).update(json.loads(state))
    cache: BaseCache = test.make_cache(Path(folder))
    cache.setup()
    _say("ready")
    sys.stdin.readline()
    TASKS[task](cache, Path(folder), int(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
