"""Whose a stream is."""

from collections import Counter
from pathlib import Path

import pytest

from grove.exceptions import ConfigurationException
from grove.processes.share import Share
from grove.runtime import MOST_PROCESSES, Settings
from tests.daemon.conftest import Stage, stage

__all__ = ["stage"]

KEYS = [(f"pointer.connector.{number:032x}", "all") for number in range(3000)]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_stream_is_in_one_share_and_shares_are_alike(count: int) -> None:
    shares = [Share(number, count) for number in range(1, count + 1)]
    found = Counter(share for key in KEYS for share in shares if share.has(key))
    assert found.total() == len(KEYS)
    assert min(found.values()) > 0.8 * len(KEYS) / count


def test_a_share_stays_what_it_is() -> None:
    # Another version of Grove, or of Python, has to say the same.
    assert [Share(1, 3).has(key) for key in KEYS[:12]] == [
        False,
        False,
        False,
        False,
        True,
        False,
        False,
        True,
        False,
        True,
        False,
        True,
    ]
    assert Share(1, 2).has(("a", "b")) != Share(2, 2).has(("a", "b"))


def test_the_first_leads() -> None:
    assert [Share(number, 3).leads for number in (1, 2, 3)] == [True, False, False]
    assert Share().leads
    assert str(Share(2, 4)) == "2 of 4"


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", str(MOST_PROCESSES + 1)])
def test_a_number_of_processes_that_is_none(text: str) -> None:
    with pytest.raises(ConfigurationException, match=f"GROVE_PROCESSES is '{text}'"):
        Settings.read({"GROVE_PROCESSES": text})


def test_the_number_of_processes() -> None:
    assert Settings.read({}).processes == Settings.read({"GROVE_PROCESSES": ""}).processes == 1
    assert Settings.read({"GROVE_PROCESSES": " 4 "}).processes == 4
    assert Settings.read({"GROVE_PROCESSES": "4"}).share == Share()


@pytest.mark.parametrize("number", [1, 2])
def test_a_daemon_takes_its_share_whatever_comes_and_goes(stage: Stage, number: int) -> None:
    names = [f"s{index}" for index in range(20)]
    for name in names[:10]:
        stage.document(name)
    for name in names[10:]:
        stage.at(100, lambda name=name: stage.document(name))
    for name in names[:5]:
        stage.at(100, lambda name=name: stage.documents.pop(name))
    stage.run(300, config_refresh=50, share=Share(number, 2))
    mine = [name for name in names if Share(number, 2).has((stage.key("", name).pk[1:], "all"))]
    assert 0 < len(mine) < 20
    assert {name for _, name in stage.runs} == set(mine)
    # Whoever was there before has not been moved, nor begun again.
    assert all(stage.starts(name) == stage.starts(name)[:1] + stage.starts(name)[1:] for name in mine)
    assert all(stage.starts(name)[-1] > 200 for name in mine if name not in names[:5])
    assert all(stage.starts(name)[-1] <= 150 for name in mine if name in names[:5])


def test_an_empty_share_is_no_reason_to_say_that_there_is_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    name = next(f"s{index}" for index in range(99) if Share(1, 2).has((stage.key("", f"s{index}").pk[1:], "all")))
    stage.document(name)
    stage.run(10, share=Share(2, 2))
    assert stage.runs == []
    assert "There is nothing to collect" not in caplog.text
