"""`grove tail`: the newest entries of the output's files, and those that come, in a pipe and in a terminal."""

import gzip
import json
import signal
import subprocess
import sys
from typing import IO

import pytest

from grove.testing.practice import PracticeAPI
from tests.cli.shell import GROVE, Shell


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def numbered(first: int, behind: int) -> list[str]:
    return [f"e-{number:07d}" for number in range(first, behind)]


@pytest.fixture
def delivered(shell: Shell, api: PracticeAPI) -> PracticeAPI:
    """250 entries, in files of 100 at most."""
    shell.collects(api, gather=1)
    assert shell.run("run").code == 0
    assert len(list((shell.root / "out").rglob("*.gz"))) == 3
    return api


def test_the_newest_entries_in_a_pipe_are_the_lines_that_were_delivered(shell: Shell, delivered: PracticeAPI) -> None:
    done = shell.run("tail")
    assert (done.code, done.err) == (0, "")
    assert ids(done.out) == numbered(240, 250)
    lines = b"".join(gzip.decompress(path.read_bytes()) for path in (shell.root / "out").rglob("*.gz"))
    assert set(done.out.encode().splitlines()) <= set(lines.splitlines())


@pytest.mark.parametrize(("count", "first"), [("0", 250), ("60", 190), ("249", 1), ("9999", 0)])
def test_so_many_across_files(shell: Shell, delivered: PracticeAPI, count: str, first: int) -> None:
    assert ids(shell.run("tail", "-n", count).out) == numbered(first, 250)


def test_the_newest_run_comes_last_whatever_its_part(shell: Shell, delivered: PracticeAPI) -> None:
    # The first part of a later run is newer than the third of an earlier one.
    folder = next((shell.root / "out").rglob("*.gz")).parent
    (folder / "all-2199-01-01T00:00:00Z.0-0123456789abcdef.json.gz").write_bytes(gzip.compress(b'{"id":"later"}\n'))
    (folder / "all-2199-01-01T00:00:00Z.10-0123456789abcdef.json.gz").write_bytes(gzip.compress(b'{"id":"last"}\n'))
    (folder / "all-2199-01-01T00:00:00Z.9-0123456789abcdef.json.gz").write_bytes(gzip.compress(b'{"id":"then"}\n'))
    assert ids(shell.run("tail", "-n", "4").out) == ["e-0000249", "later", "then", "last"]


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_files_of_another_compression(shell: Shell, api: PracticeAPI, compression: str) -> None:
    if compression == "zstd" and sys.version_info < (3, 14):
        pytest.importorskip("backports.zstd")
    shell.collects(api)
    assert shell.run("run", GROVE_OUTPUT_LOCAL_FILE_COMPRESSION=compression).code == 0
    # Whatever is set by now.
    assert ids(shell.run("tail", "-n", "3").out) == numbered(247, 250)


def test_what_is_no_delivered_file_is_left_alone(shell: Shell, delivered: PracticeAPI) -> None:
    folder = next((shell.root / "out").rglob("*.gz")).parent
    (folder / ".all-2199-01-01T00:00:00Z.0-0123456789abcdef.x.tmp").write_bytes(b"half")
    (folder / "other-2199-01-01T00:00:00Z.0-0123456789abcdef.json.gz").write_bytes(gzip.compress(b'{"id":"no"}\n'))
    assert ids(shell.run("tail", "-n", "1").out) == ["e-0000249"]


def test_a_damaged_file_is_named_and_passed_over(shell: Shell, delivered: PracticeAPI) -> None:
    folder = next((shell.root / "out").rglob("*.gz")).parent
    broken = folder / "all-2199-01-01T00:00:00Z.0-0123456789abcdef.json.gz"
    broken.write_bytes(gzip.compress(b'{"id":"no"}\n')[:-9])
    done = shell.run("tail", "-n", "1")
    assert ids(done.out) == ["e-0000249"]
    assert f"{broken} cannot be read" in done.err


def test_streams_and_descriptors_are_chosen(shell: Shell) -> None:
    with PracticeAPI(3) as one, PracticeAPI(5) as two:
        half = {"name": "half", "processor": "filter_entries", "filters": ["id == 'e-0000000'"]}
        shell.collects(one, "one", outputs={"raw/logs": "raw", "clean": "processed"}, processors=[half])
        shell.collects(two, "two")
        assert shell.run("run").code == 0
    assert len(ids(shell.run("tail").out)) == 8
    assert ids(shell.run("tail", "one").out) == numbered(0, 3)
    assert ids(shell.run("tail", "one", "-d", "clean").out) == numbered(1, 3)
    assert shell.run("tail", "one", "-d", "nothing").out == ""
    done = shell.run("tail", "on")
    assert (done.code, "Did you mean 'one'?" in done.err) == (2, True)


def test_not_even_a_pointer_commands_the_terminal(shell: Shell) -> None:
    with PracticeAPI([{"id": "\x1b]0;owned\x07\x9b31m", "at": "2026-11-24T12:00:00.000Z"}]) as api:
        shell.collects(api, pointer_path="id")
        for arguments in (["check", "practice", "--show"], ["run"], ["tail"]):
            done = shell.terminal(*arguments)
            assert done.code == 0
            assert "]0;owned" in done.plain
            assert not {"\x07", "\x9b"} & set(done.out)
            assert "\x1b]" not in done.out


def test_a_terminal_has_a_line_for_each(shell: Shell) -> None:
    evil = {
        "id": "e-1",
        "at": "2026-11-24T12:00:00.000Z",
        "who": {"name": "Zoë \x1b]0;owned\x07", "n": 1},
        "x": "y" * 200,
    }
    with PracticeAPI([evil]) as api:
        shell.collects(api)
        assert shell.run("run").code == 0
    done = shell.terminal("tail")
    (line,) = done.plain.splitlines()
    assert line.startswith("2026-11-24T12:00:00.000Z  practice  id=e-1 who={")
    assert "Zoë" in line
    assert len(line) == 120
    assert line.endswith("\N{HORIZONTAL ELLIPSIS}")
    assert "_grove" not in line
    # What an entry holds does not command the terminal.
    assert "\x1b]" not in done.out
    assert "\x07" not in done.out
    assert json.loads(shell.terminal("tail", "--json").out)["who"] == evil["who"]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("aws_s3", "What went to aws_s3 (GROVE_OUTPUT_HANDLER) cannot be read back from here"),
        ("local_stdout", "What went to local_stdout"),
        ("kafka,remote_http", "What went to kafka, remote_http"),
    ],
)
def test_what_cannot_be_read_back(shell: Shell, output: str, said: str) -> None:
    shell.document("beat")
    done = shell.run("tail", GROVE_OUTPUT_HANDLER=output)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_files_beside_other_outputs_are_read(shell: Shell, delivered: PracticeAPI) -> None:
    assert ids(shell.run("tail", "-n", "1", GROVE_OUTPUT_HANDLER="remote_http, local_file").out) == ["e-0000249"]


def test_a_wrong_directory_is_a_wrong_setting(shell: Shell) -> None:
    shell.document("beat")
    done = shell.run("tail", GROVE_OUTPUT_LOCAL_FILE_PATH=str(shell.root / "nowhere"))
    assert done.code == 78
    assert "is not a directory" in done.err


def lines(stream: IO[str], count: int) -> list[str]:
    return [stream.readline().rstrip("\n") for _ in range(count)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_following(shell: Shell, delivered: PracticeAPI, number: int) -> None:
    process = shell.start("tail", "-f", "-n", "2")
    try:
        assert process.stdout is not None
        assert ids("\n".join(lines(process.stdout, 2))) == numbered(248, 250)
        delivered.offer(3)
        assert shell.run("run", "practice").code == 0
        assert ids("\n".join(lines(process.stdout, 3))) == numbered(250, 253)
        # A shipper takes the files away, and more come.
        for path in (shell.root / "out").rglob("*.gz"):
            path.unlink()
        delivered.offer(1)
        assert shell.run("run", "practice").code == 0
        assert ids("\n".join(lines(process.stdout, 1))) == numbered(253, 254)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()
        process.communicate()


def test_a_reader_that_has_had_enough_ends_it(shell: Shell, delivered: PracticeAPI) -> None:
    command = subprocess.list2cmdline([*GROVE, "tail", "-n", "250"])
    done = subprocess.run(
        f"{command} | head -n 1", shell=True, capture_output=True, text=True, env=shell.environment, cwd=shell.root
    )
    assert ids(done.stdout) == ["e-0000000"]
    assert done.stderr == ""
