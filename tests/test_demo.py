"""`grove demo`, as a newcomer runs it: real processes, a real kill, real files."""

import json
import os
import pty
import subprocess
import sys
import textwrap

import pytest

from grove.testing.practice import read_delivered

COMMAND = [sys.executable, "-P", "-c", "from grove.cli import main; main()", "demo", "--entries", "600"]


def run(*arguments, code="", **environment):
    command = [*COMMAND, *arguments]
    if code:
        command[3] = f"{textwrap.dedent(code)}\n{command[3]}"
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}, check=False
    )


def test_everything_arrives_once_although_a_collector_is_killed(tmp_path):
    place = tmp_path / "demo"
    done = run("--directory", str(place), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["offered"], summary["delivered"], summary["lost"], summary["twice"]) == (600, 600, 0, 0)
    assert summary["kills"] == 1
    assert summary["dropped_as_seen"] > 0
    assert summary["served"] == (summary["delivered"] + summary["dropped_as_seen"] + summary["cut_off_by_the_kill"])
    assert summary["cut_off_by_the_kill"] >= 0
    assert summary["entries_per_second"] > 0
    entries = read_delivered(place / "out")
    assert len({entry["id"] for entry in entries}) == len(entries) == 600
    assert summary["files"] == len(list(place.rglob("*.json.gz")))
    # More than one process collected, each of which is named in what it delivered.
    assert len({entry["_grove"]["runtime"]["runtime_id"] for entry in entries}) == 4


def test_a_pipe_gets_plain_lines_and_a_summary_that_says_where_the_files_are(tmp_path):
    done = run("--directory", str(tmp_path / "demo"), TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines() if line.startswith("  ")] == [
        "  First collection",
        "  Second collection",
        "  Third collection",
        "  Resumed",
    ]
    assert "killed" in done.stderr
    for wanted in ("Nothing lost, nothing twice", str(tmp_path / "demo" / "out"), "entries per second", "README"):
        assert wanted in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_without_a_directory_a_new_one_is_made_and_kept(tmp_path):
    done = run("--json", TMPDIR=str(tmp_path))
    (place,) = tmp_path.glob("grove-demo-*")
    assert json.loads(done.stdout)["directory"] == str(place)
    assert len(read_delivered(place / "out")) == 600


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_a_terminal_gets_a_progress_bar_and_color_unless_refused(tmp_path, no_color, colored):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "--directory", str(tmp_path / "demo")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "NO_COLOR": no_color, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                # What Linux says when the other side is closed.
                break
            if not data:
                break
            seen += data
    os.close(ours)
    assert process.returncode == 0, seen[-2000:]
    assert b"First collection  [####" in seen
    assert (b"\x1b[32m" in seen) is colored


def test_a_directory_in_use_is_refused(tmp_path):
    (tmp_path / "notes").touch()
    done = run("--directory", str(tmp_path))
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes"]


@pytest.mark.parametrize(
    ("change", "word"), [("read(folder)[1:]", "lost 1"), ("[*read(folder), *read(folder)[:2]]", "twice 2")]
)
def test_what_is_lost_or_twice_is_a_failure(tmp_path, change, word):
    code = f"""
        import grove.cli.demo as demo
        read = demo.read_delivered
        demo.read_delivered = lambda folder: {change}
    """
    done = run("--directory", str(tmp_path / "demo"), code=code)
    assert done.returncode == 1
    assert "That is a defect." in done.stdout
    assert word in done.stdout


def test_a_collector_that_fails_ends_the_demo_and_names_its_log(tmp_path):
    code = "import grove.cli.demo as demo; demo._WORKER[-1] = 'raise SystemExit(3)'"
    done = run("--directory", str(tmp_path / "demo"), code=code)
    assert done.returncode == 1
    assert str(tmp_path / "demo" / "worker.log") in done.stderr


def test_neither_the_users_settings_nor_the_working_directory_matter(tmp_path, monkeypatch):
    stranger = tmp_path / "here" / "grove"
    stranger.mkdir(parents=True)
    (stranger / "__init__.py").write_text("raise SystemExit('this is another package')")
    monkeypatch.chdir(stranger.parent)
    done = run(
        "--json",
        "--directory",
        "demo",
        GROVE_OUTPUT_LOCAL_FILE_PATH="/nowhere",
        GROVE_OUTPUT_LOCAL_FILE_MODE="nonsense",
        GROVE_CACHE_LOCAL_LMDB_PATH="/nowhere",
        GROVE_LOCK_DURATION="nonsense",
        http_proxy="http://127.0.0.1:9",
        HTTP_PROXY="http://127.0.0.1:9",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["directory"] == str(stranger.parent / "demo")
    assert (stranger.parent / "demo").stat().st_mode & 0o777 == 0o700
