"""Lines of several processes on one pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from grove.helpers import turns

WRITER = """
    import json, os, sys
    from grove.helpers import turns
    letter, locks = sys.argv[1], {int(name): file for name, file in json.loads(sys.argv[2]).items()}
    turns.join(locks)
    os.write(1, b"ready\\n")
    os.read(0, 1)
    for number in range(60):
        # Both lead to the same pipe here.
        with turns.turn(turns.STDOUT if number % 2 else turns.STDERR, 100_001):
            rest = (letter * 100_000 + "\\n").encode()
            while rest:
                rest = rest[os.write(1, rest[:7_000]):]
"""

DYING = """
    import json, os, sys
    from grove.helpers import turns
    turns.join({int(name): file for name, file in json.loads(sys.argv[2]).items()})
    with turns.turn(turns.STDOUT, 9_000):
        os.write(1, b"half a li")
        os._exit(0)
"""

HOLDING = """
    import json, os, sys
    from grove.helpers import turns
    turns.join({int(name): file for name, file in json.loads(sys.argv[2]).items()})
    with turns.turn(turns.STDOUT, 9_000):
        os.write(1, b"mine\\n")
        os.read(0, 1)
"""


class Pipe:
    """A pipe, and processes that write to it in turns."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.begin = os.pipe()
        saved = [os.dup(1), os.dup(2)]
        try:
            os.dup2(self.write, 1)
            os.dup2(self.write, 2)
            self.locks = turns.open_locks()
        finally:
            for number, descriptor in enumerate(saved, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)

    def start(self, code: str, letter: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), letter, json.dumps(self.locks)],
            stdin=self.begin[0],
            stdout=self.write,
            stderr=self.write,
            pass_fds=set(self.locks.values()),
        )


def test_long_lines_are_never_torn() -> None:
    pipe = Pipe()
    assert len(set(pipe.locks.values())) == 1
    processes = [pipe.start(WRITER, letter) for letter in "ab"]
    os.close(pipe.write)
    with os.fdopen(pipe.read, "rb") as stream:
        assert [stream.readline(), stream.readline()] == [b"ready\n"] * 2
        for end in pipe.begin:
            os.close(end)
        lines = stream.read().splitlines()
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(lines) == [b"a" * 100_000] * 60 + [b"b" * 100_000] * 60


def test_whoever_comes_after_a_process_that_died_is_told() -> None:
    pipe = Pipe()
    assert pipe.start(DYING, "a").wait() == 0
    turns.join(pipe.locks)
    try:
        for descriptor, expected in ((turns.STDOUT, True), (turns.STDERR, False)):
            with turns.turn(descriptor, 10) as torn:
                assert torn is expected
        for size, expected in ((9_000, True), (4_000, False)):
            # What is short is out in one piece, or not at all.
            with pytest.raises(OSError, match="full"), turns.turn(turns.STDOUT, size):
                raise OSError("full")
            with turns.turn(turns.STDOUT, 10) as torn:
                assert torn is expected
    finally:
        turns.leave()
        for end in (pipe.read, pipe.write, *pipe.begin):
            os.close(end)


def test_who_has_no_patience_writes_without_a_turn() -> None:
    pipe = Pipe()
    holder = pipe.start(HOLDING, "a")
    with os.fdopen(pipe.read, "rb") as stream:
        assert stream.readline() == b"mine\n"
        turns.join(pipe.locks, patience=0.05)
        try:
            with turns.turn(turns.STDERR, 9_000) as torn:
                assert not torn
        finally:
            turns.leave()
            holder.kill()
            holder.wait()
            for end in (pipe.write, *pipe.begin):
                os.close(end)


def test_alone_there_is_nothing_to_wait_for() -> None:
    with turns.turn(turns.STDOUT, 1) as outer, turns.turn(turns.STDOUT, 1) as inner:
        assert (outer, inner) == (False, False)


def test_a_descriptor_that_is_closed_has_no_lock() -> None:
    code = "import os\nfrom grove.helpers import turns\nos.close(1)\nassert set(turns.open_locks()) == {2}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
