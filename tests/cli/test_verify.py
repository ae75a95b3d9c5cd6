"""`grove verify` as a process: what it says, to people and to programs, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.evidence.conftest import Place, fresh, place, template

__all__ = ["fresh", "place", "template"]


def grove(*arguments: str, place: Place | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GROVE_")}
    if place is not None:
        environment["GROVE_CACHE_LOCAL_LMDB_PATH"] = str(place.root / "cache")
    command = [sys.executable, "-c", "from grove.cli import main; main()", "verify", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_whole_archive(place: Place) -> None:
    done = grove(str(place.out))
    assert (done.returncode, done.stderr) == (0, "")
    assert "20 objects" in done.stdout
    assert "Nothing was removed, altered, added or reordered." in done.stdout
    assert "cannot be seen without the cache" in done.stdout


def test_with_the_cache_the_end_is_proven(place: Place) -> None:
    done = grove(str(place.out), "--cache", place=place)
    assert done.returncode == 0
    assert "The manifests end where the cache says that they do." in done.stdout
    assert "without the cache" not in done.stdout


def test_what_is_wrong_is_named(place: Place) -> None:
    gone = place.objects()[4]
    gone.unlink()
    done = grove(str(place.out))
    assert done.returncode == 1
    assert f"missing: {place.name(gone)}" in done.stdout
    assert "Nothing was removed" not in done.stdout


def test_for_programs(place: Place) -> None:
    gone = place.objects()[4]
    gone.unlink()
    done = grove(str(place.out), "--json", "--cache", place=place)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["whole"], found["end_proven"]) == (False, True)
    assert [(one["what"], one["object"]) for one in found["findings"]] == [("missing", place.name(gone))]
    assert (found["objects"], found["lines"], found["chains"]) == (19, 20, 2)


def test_objects_and_manifests_in_two_places(place: Place, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    done = grove(str(tmp_path / "archive"), "--manifests", str(place.out))
    assert done.returncode == 1
    assert done.stdout.count("missing: ") == 20


def test_what_cannot_be_verified_is_wrong_usage(fresh: Place, tmp_path: Path) -> None:
    nowhere = grove(str(tmp_path / "nowhere"))
    assert (nowhere.returncode, "is no directory" in nowhere.stderr) == (2, True)
    empty = grove(str(fresh.out))
    assert (empty.returncode, "There is no manifest in" in empty.stderr) == (2, True)
    assert grove().returncode == 2


def test_a_cache_that_cannot_be_used_is_a_setting(place: Place) -> None:
    environment = {**os.environ, "GROVE_CACHE_HANDLER": "no_such_cache"}
    command = [sys.executable, "-c", "from grove.cli import main; main()", "verify", str(place.out), "--cache"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 78
    assert "no_such_cache" in done.stderr
