"""Lines reach standard output whole, whatever it is connected to."""

import contextlib
import io
import json
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from grove.exceptions import AccessException
from grove.helpers import clock
from grove.outputs.local_stdout import Handler
from tests.outputs.stream import Stream


def submit(data, **changes):
    arguments = {"connector": "okta", "identity": "corp", "operation": "all", "part": 2, "descriptor": "logs"}
    Handler().submit(data, **{**arguments, **changes})


@pytest.fixture
def stdout(capfdbinary):
    """What has arrived, read once."""
    return lambda: capfdbinary.readouterr().out


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def python(request):
    """Starts a program, with standard output as usual and as containers often have it."""

    def start(code, **options):
        environment = {**os.environ, "PYTHONUNBUFFERED": request.param}
        command = [sys.executable, "-c", textwrap.dedent(code)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, **options)

    return start


# --- the form ---


def test_a_line_says_where_its_entry_came_from(stdout, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: clock.parse_datestamp("2025-01-02T03:04:05Z"))
    submit(b'{"b":1,"a":"\xc3\xa9"}\n')
    assert stdout().decode() == (
        '{"part":2,"kind":"json","descriptor":"logs","connector":"okta","identity":"corp","operation":"all",'
        '"datestamp":"2025-01-02T03:04:05Z","message":{"b":1,"a":"é"}}\n'
    )


@pytest.mark.parametrize("identity", ['a"b\\c', "line\nbreak", "\u2028", "\ud800", "é", ""])
def test_any_name_makes_a_line(stdout, identity):
    submit(b'{"id":1}\n', identity=identity)
    (line,) = stdout().splitlines()
    assert json.loads(line)["identity"] == identity


@pytest.mark.parametrize(
    "data",
    [b'{"id":1}\n{"id":2}\n', b'{"id":1}\r\n{"id":2}', b'\n{"id":1}\n\n \n{"id":2}\n\n'],
    ids=["ours", "the original's", "with empty lines"],
)
def test_whoever_made_the_lines_there_is_one_for_each_entry(stdout, data):
    submit(data)
    assert [json.loads(line)["message"]["id"] for line in stdout().splitlines()] == [1, 2]


def test_characters_that_end_a_line_elsewhere_do_not_here(stdout):
    entry = {"text": "one\u2028two\x85three\x0bfour"}
    submit(Handler().serialize([entry]))
    lines = stdout().split(b"\n")
    assert [json.loads(line)["message"]["text"] for line in lines[:-1]] == [entry["text"]]


def test_entries_are_not_parsed_again(stdout):
    submit(b'{"big":123456789012345678901234567890,"same":1,"same":2}\n')
    assert b'"message":{"big":123456789012345678901234567890,"same":1,"same":2}}\n' in stdout()


def test_an_empty_page_prints_nothing(stdout):
    submit(b"")
    assert stdout() == b""


def test_the_line_takes_the_callers_kind(stdout):
    submit(b"{}\n", kind="other")
    assert json.loads(stdout())["kind"] == "other"


# --- what standard output may be ---


def test_bytes_in_memory(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    stream.write("before ")
    submit('{"a":"é"}\n'.encode())
    assert stream.buffer.getvalue().startswith(b"before {")
    assert stream.buffer.getvalue().endswith('"message":{"a":"é"}}\n'.encode())


def test_something_that_takes_text_only(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    submit('{"a":"é"}\n'.encode())
    assert json.loads(text.getvalue())["message"] == {"a": "é"}


def test_what_pytest_puts_there(capsys):
    submit(b'{"id":1}\n')
    assert json.loads(capsys.readouterr().out)["message"] == {"id": 1}


@pytest.mark.parametrize("state", ["none", "closed"])
def test_none_at_all(monkeypatch, state):
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    monkeypatch.setattr(sys, "stdout", None if state == "none" else stream)
    with pytest.raises(AccessException, match="Standard output cannot be written"):
        submit(b"{}\n")


def test_what_was_printed_before_comes_before(python):
    child = python(
        """
        from grove.outputs.local_stdout import Handler
        print("before", end=" ")
        Handler().submit(b"{}\\n", "c", "i", "o")
        print("after")
        """,
        stdout=subprocess.PIPE,
    )
    out, err = child.communicate(timeout=30)
    assert (out.split()[0], out.split()[-1], err) == (b"before", b"after", b"")


PAGES = """
    from grove.outputs.local_stdout import Handler
    handler = Handler()
    for part in range(4):
        entries = [{"id": part * 1000 + i, "fill": "x" * 700} for i in range(1000)]
        handler.submit(handler.serialize(entries), "c", "i", "o", part)
"""


def check_pages(data):
    assert data.endswith(b"}\n")
    assert [json.loads(line)["message"]["id"] for line in data.splitlines()] == list(range(4000))


def test_pages_larger_than_a_pipe_arrive_whole(python):
    child = python(PAGES, stdout=subprocess.PIPE)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (0, b"")
    check_pages(out)


def test_a_pipe_that_somebody_has_made_non_blocking(python):
    child = python("import os; os.set_blocking(1, False)" + textwrap.dedent(PAGES), stdout=subprocess.PIPE)
    data = bytearray()
    while chunk := os.read(child.stdout.fileno(), 3000):
        data += chunk
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (0, b"")
    check_pages(bytes(data))


def test_a_reader_that_has_gone_is_an_error_and_nothing_is_printed_at_exit(python):
    child = python(
        """
        import sys
        from grove.exceptions import AccessException
        from grove.outputs.local_stdout import Handler
        sys.stdin.read()
        try:
            Handler().submit(b'{"id":1}\\n' * 10, "c", "i", "o")
        except AccessException as err:
            sys.exit(7 if "closed by whatever reads it" in str(err) else 8)
        """,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    child.stdout.close()
    child.stdin.close()
    err = child.stderr.read()
    assert (child.wait(30), err) == (7, b"")
    child.stderr.close()


def test_a_full_disk_is_an_error(python):
    with open("/dev/full", "wb") as full:
        child = python(
            """
            import sys
            from grove.exceptions import AccessException
            from grove.outputs.local_stdout import Handler
            try:
                Handler().submit(b'{"id":1}\\n', "c", "i", "o")
            except AccessException as err:
                sys.exit(7 if "No space left" in str(err) else 8)
            """,
            stdout=full,
        )
        _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (7, b"")


# --- writes that fail half-way ---


class Device(io.RawIOBase):
    """Takes `step` bytes at a time, and fails once after `limit`."""

    def __init__(self, limit, step=50):
        super().__init__()
        self.got = bytearray()
        self.limit = limit
        self.step = step

    def writable(self):
        return True

    def write(self, data):
        if self.limit is not None and len(self.got) >= self.limit:
            self.limit = None
            raise OSError(28, "No space left on device")
        chunk = bytes(data[: self.step])
        self.got += chunk
        return len(chunk)


def device_as_stdout(monkeypatch, buffered=True, **options):
    device = Device(**options)
    binary = io.BufferedWriter(device) if buffered else device
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(binary, write_through=True))
    return device


@pytest.mark.parametrize("buffered", [True, False])
def test_short_writes_are_continued(monkeypatch, buffered):
    device = device_as_stdout(monkeypatch, buffered, limit=None, step=7)
    submit(b'{"id":1}\n{"id":2}\n')
    assert [json.loads(line)["message"]["id"] for line in device.got.splitlines()] == [1, 2]


@pytest.mark.parametrize("limit", range(0, 300, 50))
def test_half_a_line_does_not_spoil_the_next(monkeypatch, limit):
    device = device_as_stdout(monkeypatch, limit=limit)
    page = b'{"id":1}\n{"id":2}\n'
    with pytest.raises(AccessException):
        submit(page)
    failed = bytes(device.got)
    submit(page)
    submit(page)
    assert device.got.startswith(failed + b"\n")
    lines = device.got[len(failed) + 1 :].splitlines()
    assert [json.loads(line)["message"]["id"] for line in lines] == [1, 2, 1, 2]


def test_a_device_that_takes_nothing_is_an_error(monkeypatch):
    device_as_stdout(monkeypatch, limit=None, step=0)
    with pytest.raises(AccessException, match="nothing was written"):
        submit(b"{}\n")


def test_threads_do_not_mix_their_pages(monkeypatch):
    device = device_as_stdout(monkeypatch, limit=None, step=11)

    def run(number):
        submit(b'{"id":1}\n' * 20, part=number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parts = [json.loads(line)["part"] for line in device.got.splitlines()]
    assert [parts[i : i + 20] for i in range(0, 160, 20)] == [[parts[i]] * 20 for i in range(0, 160, 20)]
    assert sorted(set(parts)) == list(range(8))


# --- R23: what the promise says, through the real engine ---


def arrived(device):
    """Ids in all whole lines, as a reader sees them who skips what is none."""
    found = []
    for line in bytes(device.got).splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line)["message"]["id"])
    return found


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("limit", range(0, 1_800, 150))
def test_a_write_that_fails_anywhere_loses_nothing_and_repeats_at_most_its_page(monkeypatch, limit, newest_first):
    device = device_as_stdout(monkeypatch, limit=limit)
    stream = Stream(Handler(), lambda: arrived(device), newest_first=newest_first)
    stream.source.arrive([1, 3, 1, 2])
    assert stream.run() == "failed"
    assert stream.goes_on() <= stream.source.page_size


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
def test_a_device_that_is_gone_for_a_while_is_survived(monkeypatch, newest_first):
    device = device_as_stdout(monkeypatch, limit=None)
    stream = Stream(Handler(), lambda: arrived(device), newest_first=newest_first)
    stream.source.arrive([1, 3, 1, 2])
    stream.source.before_page = lambda number: setattr(device, "step", 50 if number < 2 else 0)
    for _ in range(3):
        assert stream.run() == "failed"
        stream.source.arrive([1])
    stream.source.before_page = lambda number: setattr(device, "step", 50)
    stream.until_quiet()
    assert stream.lost() == []
    assert stream.repeated() == 0
