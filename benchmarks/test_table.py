"""What `python -m benchmarks` prints and writes; and that the others do the work that they are measured by."""

import gzip
import json
import os
import subprocess
import sys

import orjson
import pytest

from benchmarks import report
from benchmarks.rows._row import Row
from benchmarks.rows.rivals import RIVALS
from benchmarks.work import METADATA

FASTER = Row("saving", "faster", [1.0, 2.0, 4.0], [8.0, 4.0, 12.0], bar=3)
SMALLER = Row("memory", "smaller", [3e6, 2e6, 4e6], [2e6, 2e6, 2e6], bar=1.2, at_most=True, beside="body", unit="B")


def test_ratios_are_those_of_rounds():
    assert (FASTER.ratios, FASTER.ratio, FASTER.missed) == ([2.0, 3.0, 8.0], 3.0, False)
    assert (SMALLER.ratios, SMALLER.ratio, SMALLER.missed) == ([1.0, 1.5, 2.0], 1.5, True)
    shown = [" ".join(report.line(row).split()) for row in (FASTER, SMALLER)]
    assert shown[0] == "faster 2000.000 ms 8000.000 ms baseline 3.00x 2.00 8.00 >= 3x"
    assert shown[1] == "smaller 3.0 MB 2.0 MB body 1.50x 1.00 2.00 <= 1.2x MISSED"


def test_json_is_read_by_pytest_benchmark(tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        report.write_json([FASTER, SMALLER], path)
    command = [sys.executable, "-m", "pytest_benchmark", "compare", *map(str, paths), "--columns=median"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("faster (") == 2 and "2.0000 (1.0)" in done.stdout
    (first, _) = json.loads(paths[0].read_text())["benchmarks"]
    assert first["extra_info"]["ratio"] == 3.0 and first["stats"]["data"] == FASTER.ours


def test_chart(tmp_path):
    pytest.importorskip("matplotlib")
    report.write_chart([FASTER, SMALLER], tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_table(tmp_path):
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks", "--rounds", "1", "--only", "core", "--json", str(found)]
    done = subprocess.run([*command, "--directory", str(tmp_path)], capture_output=True, text=True, check=False)
    rows = json.loads(found.read_text())["benchmarks"]
    assert len(rows) == 10 and all(row["name"] in done.stdout for row in rows), done.stderr
    # Which bars a busy machine misses is not the matter here.
    assert done.returncode == any(row["extra_info"]["missed"] for row in rows)


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.filterwarnings("default")
def test_others_deliver_every_entry(tmp_path, monkeypatch, name, kind):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    folder = tmp_path / name
    folder.mkdir()
    try:
        run = RIVALS[name](folder)
    except ImportError as err:
        pytest.skip(f"{err.name} is not installed")
    paths = [tmp_path / "0.json", tmp_path / "1.json"]
    pages = kind.pages(2)
    for path, page in zip(paths, pages, strict=True):
        path.write_bytes(orjson.dumps(page))
    run(paths)
    # dlt keeps what it has loaded in its state, and tables of its own beside the entries.
    found = [path for path in folder.rglob("*.gz") if "state" not in path.parts and "_dlt" not in str(path)]
    lines = [orjson.loads(line) for path in found for line in gzip.decompress(path.read_bytes()).splitlines()]
    name = "uuid" if "uuid" in pages[0][0] else "_document_id"
    assert sorted(line[name] for line in lines) == sorted(entry[name] for page in pages for entry in page)
    assert all(line["_grove"] == METADATA for line in lines)
