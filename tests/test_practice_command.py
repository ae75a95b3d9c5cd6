"""`grove practice` as a process of its own: asked, collected from, and ended."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from grove.testing.practice import read_delivered

COMMAND = [sys.executable, "-P", "-c", "from grove.cli import main; main()"]


class Practice:
    """A process that serves, and the document that it printed."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "practice", "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        text = ""
        for line in lines:
            text += line
            if line == "}\n":
                break
        self.document: dict[str, Any] = json.loads(text)

    def ask(self, **query: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.document['key']}"}
        return requests.get(self.document["url"], query, headers=headers, timeout=10)

    def end(self, number: int = signal.SIGTERM) -> str:
        """What it said to people, once it has ended."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        assert (self.process.returncode, out) == (0, ""), err
        return err


@pytest.fixture
def practice() -> Iterator[Callable[..., Practice]]:
    made: list[Practice] = []

    def start(*options: str) -> Practice:
        made.append(Practice(*options))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_a_summary_of_what_it_offered(practice: Callable[..., Practice], number: int) -> None:
    api = practice("--entries", "250", "--rate", "0")
    assert len(api.ask().json()["entries"]) == 100
    assert requests.get(api.document["url"], timeout=10).status_code == 401
    said = api.end(number)
    assert f"250 entries at {api.document['url']}" in said
    assert f"curl -H 'Authorization: Bearer practice-token' '{api.document['url']}?limit=2'" in said
    assert "Offered 250 entries, from 20" in said
    assert "sent 100 in whole answers" in said
    assert "Answered requests: 1 with status 200, 1 with status 401." in said


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize(("paging", "granularity"), [("next_link", "day"), ("keyset", "second")])
def test_the_document_is_all_that_grove_needs(
    practice: Callable[..., Practice], tmp_path: Path, order: str, paging: str, granularity: str
) -> None:
    api = practice(
        "--entries", "230", "--rate", "0", "--order", order, "--paging", paging, "--granularity", granularity
    )
    (tmp_path / "conf").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "conf" / "practice.json").write_text(json.dumps(api.document))
    done = subprocess.run(
        COMMAND,
        env={
            "GROVE_CONFIG_LOCAL_FILE_PATH": str(tmp_path / "conf"),
            "GROVE_CACHE_LOCAL_LMDB_PATH": str(tmp_path / "state"),
            "GROVE_OUTPUT_HANDLER": "local_file",
            "GROVE_OUTPUT_LOCAL_FILE_PATH": str(tmp_path / "out"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    delivered = sorted(entry["id"] for entry in read_delivered(tmp_path / "out"))
    assert delivered == [f"e-{number:07d}" for number in range(230)]


def test_entries_arrive(practice: Callable[..., Practice]) -> None:
    api = practice("--entries", "3", "--rate", "100", "--fault", "tied", "--fault", "late")
    assert api.document["lookback"] == 60
    found: list[Any] = []
    while len(found) < 20:
        found = api.ask().json()["entries"]
    times = [entry["at"] for entry in found]
    assert times == sorted(times)
    assert "Offered 3 entries" not in api.end()


def test_answers_go_wrong_in_the_ways_that_were_named(practice: Callable[..., Practice]) -> None:
    options = ("--entries", "30", "--rate", "0", "--page-size", "10", "--seed", "7")
    named = ("--fault", "unavailable", "--fault", "html", "--fault", "empty", "--fault", "overlap")
    api, again = practice(*options, *named), practice(*options, *named)
    answers = [(answer.status_code, answer.headers["Content-Type"]) for answer in (api.ask() for _ in range(150))]
    assert {status for status, _ in answers} == {200, 503}
    assert len({kind for _, kind in answers}) == 2
    # The same seed, the same choices.
    assert [
        (answer.status_code, answer.headers["Content-Type"]) for answer in (again.ask() for _ in range(150))
    ] == answers
    assert "unavailable, html, empty, overlap (--seed 7)" in api.end()


def refused(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, "practice", *options], capture_output=True, text=True)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = refused("--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Port {port} cannot be used" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    "options",
    [("--fault", "nothing"), ("--order", "any"), ("--rate", "-1"), ("--fault", "empty", "--paging", "keyset")],
)
def test_wrong_usage(options: tuple[str, ...]) -> None:
    done = refused(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: grove practice" in done.stderr
