"""Pages that are saved as text: delivered, dropped and remembered as lists of the same entries would be."""

import gzip
import json
import logging
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from grove._core import RawPage
from grove.exceptions import AccessException, DataFormatException, PoisonedRunError
from grove.models import ProcessorConfig
from grove.processors import BaseProcessor
from tests.engine.conftest import Newest, Scripted, multiset, plain


class Pipelined(Scripted):
    PIPELINED = True


class PipelinedNewest(Newest):
    PIPELINED = True


def entry(moment, number=0, **more):
    return {"at": f"2025-03-04T10:{moment:02}:00Z", "n": number, "text": "é" * (number % 5), **more}


def text(entries, **around):
    return RawPage(json.dumps({**around, "entries": entries}, indent=1).encode(), "entries", "at")


def history(seed, newest_first, lookback):
    """Runs of pages as a source gives them: inclusive of the last pointer, and of what lies before it by `lookback`."""
    choose = random.Random(seed)
    entries, runs, moment = [], [], 0
    for _ in range(4):
        known = len(entries)
        for _ in range(choose.randrange(1, 12)):
            moment += choose.randrange(2)
            entries.append(entry(moment, len(entries)))
        last = entries[known - 1]["at"] if known else ""
        since = max(0, known - choose.randrange(4)) if lookback else known
        asked = [entry for number, entry in enumerate(entries) if number >= since or entry["at"] == last]
        asked = asked[::-1] if newest_first else asked
        size = choose.randrange(1, 5)
        runs.append([asked[start : start + size] for start in range(0, len(asked), size)])
    return runs, entries


@pytest.mark.parametrize("kind", [Scripted, Newest, Pipelined, PipelinedNewest])
@pytest.mark.parametrize("lookback", [0, 600])
@pytest.mark.parametrize("seed", range(8))
def test_every_entry_once(make, delivered, kind, lookback, seed):
    runs, entries = history(seed, issubclass(kind, Newest), lookback)
    for number, pages in enumerate(runs):
        form = text if number % 2 == seed % 2 else list
        connector = make(kind, [form(page) for page in pages], lookback=lookback)
        assert connector.outcome == "succeeded", connector.failure
    assert multiset(plain(delivered())) == multiset(entries)


def test_the_bytes_of_the_source_are_delivered(make, tmp_path):
    sent = b'{"n" : 1.50,  "at": "2025-03-04T10:00:00Z", "big": 123456789012345678901234567890, "s": "\\u0041\\/"}'
    make(pages=[RawPage(b"[" + sent + b"]")])
    (path,) = (tmp_path / "out").rglob("*.json.gz")
    assert gzip.decompress(path.read_bytes()).startswith(sent[:-1] + b',"_grove":{"connector"')


def test_entries_without_a_pointer_and_what_is_no_object_are_set_aside(make, delivered):
    page = text([entry(1), {"n": 2}, [3], "x", entry(4), None])
    make(pages=[page], outputs={"logs": "raw"})
    assert plain(delivered()) == [entry(1), entry(4)]
    assert plain(delivered("quarantine")) == [{"n": 2}, {"value": [3]}, {"value": "x"}]
    # Not once more, whoever asks.
    make(pages=[text([entry(4), {"n": 2}, [3]]), [entry(4), {"n": 2}]], frequency=1)
    assert len(delivered("quarantine")) == 3


def test_a_page_without_any_pointer_is_refused(make, delivered):
    connector = make(pages=[text([{"n": 1}, {"n": 2}])])
    assert isinstance(connector.failure, DataFormatException) and "'at'" in str(connector.failure)
    assert delivered() == []


class Doubles(BaseProcessor):
    """Changes the entry it is given, and makes two of it."""

    def process(self, entry):
        entry["seen"] = True
        if entry.get("n") == 13:
            raise ValueError("unlucky")
        return [entry, {**entry, "twin": True}]


@pytest.mark.parametrize("kind", [Scripted, Pipelined])
def test_processors_see_copies(make, delivered, kind):
    page = text([entry(1, 1), entry(2, 13), entry(3, 3)])
    connector = make(kind, [page], run=False)
    connector._processors = [Doubles(ProcessorConfig(name="n", processor="p"))]
    connector.run()
    assert connector.outcome == "succeeded", connector.failure
    assert plain(delivered()) == [entry(1, 1), entry(2, 13), entry(3, 3)]
    processed = plain(delivered("processed"))
    assert [(found["n"], "twin" in found) for found in processed] == [(1, False), (1, True), (3, False), (3, True)]
    assert plain(delivered("quarantine")) == [entry(2, 13)]


@pytest.mark.parametrize("method", ["hash_entry", "deduplicate_by_hash", "process_and_write", "process"])
def test_overridden_methods_are_given_entries(make, delivered, method):
    given = []

    class Curious(Scripted):
        pass

    def curious(self, entries):
        given.append(entries)
        return getattr(super(Curious, self), method)(entries)

    setattr(Curious, method, curious)
    make(Curious, [text([entry(1, 1)]), text([entry(1, 1), entry(2, 2)])])
    assert multiset(plain(delivered())) == multiset([entry(1, 1), entry(2, 2)])
    assert given and all(isinstance(found, dict if method == "hash_entry" else list) for found in given)


def test_an_output_that_serialises_is_given_entries(make, monkeypatch):
    connector = make(run=False, outputs={"logs": "raw"})
    given, serialize = [], connector._output.serialize
    monkeypatch.setattr(
        connector._output,
        "serialize",
        lambda data, metadata: (given.append(data), serialize(data=data, metadata=metadata))[1],
        raising=False,
    )
    connector.pages = [text([entry(1)])]
    connector.run()
    assert given == [[entry(1)]]


# --- beside the next page ---


def test_the_next_page_need_not_wait_and_staged_values_show(make, delivered, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    seen = {}
    connector = make(Pipelined, run=False)
    publish = connector._output.publish

    def slowly(staged):
        begun.set()
        assert go_on.wait(30)
        publish(staged)

    def look(connector):
        assert begun.wait(30)
        seen.update(pointer=connector.pointer, cursor=connector.cursor, there=delivered())
        go_on.set()

    monkeypatch.setattr(connector._output, "publish", slowly)
    connector.pages = [lambda c: c.save(text([entry(1)]), cursor="c1"), look, text([entry(2)])]
    connector.run()
    assert seen == {"pointer": entry(1)["at"], "cursor": "c1", "there": []}
    assert connector.outcome == "succeeded" and plain(delivered()) == [entry(1), entry(2)]
    assert connector.metadata()["pointer"] == entry(2)["at"]


@pytest.mark.parametrize("then", ["save", "pointer", "set", "unlock", "nothing"])
def test_a_failure_comes_to_light_at_the_next_call(make, delivered, then, caplog):
    made = threading.Event()
    connector = make(Pipelined, run=False)

    def fail(name, data):
        made.set()
        raise AccessException("made up: no room")

    def go_on(connector):
        assert made.wait(30)
        assert connector._run._beside.ready(30)
        for _ in range(2):
            match then:
                case "save":
                    with pytest.raises((AccessException, PoisonedRunError), match=r"no room|AccessException"):
                        connector.save([entry(2)])
                case "pointer":
                    with pytest.raises(PoisonedRunError, match="AccessException"):
                        assert connector.pointer
                case "set":
                    with pytest.raises((AccessException, PoisonedRunError), match=r"no room|AccessException"):
                        connector.pointer = "x"
        if then == "unlock":
            with pytest.raises(AccessException, match="no room"):
                connector.unlock()

    connector._output.stage = fail
    connector.pages = [text([entry(1)]), go_on]
    with caplog.at_level(logging.ERROR):
        connector.run()
    # Who unlocks has been told, and may go on.
    assert connector.outcome == ("succeeded" if then == "unlock" else "failed")
    assert delivered() == []
    del connector._output.stage
    make(Pipelined, [text([entry(1), entry(2)])])
    assert plain(delivered()) == [entry(1), entry(2)]


def test_a_page_that_fails_leaves_the_one_before_it_alone(make, delivered):
    connector = make(Pipelined, [text([entry(1)]), text([{"n": 1}])])
    assert isinstance(connector.failure, DataFormatException)
    assert plain(delivered()) == [entry(1)]


def test_finalize_follows_its_own_page(make):
    calls = []

    class Noting(BaseProcessor):
        def process(self, entry):
            calls.append(f"process {entry['n']}")
            return [entry]

        def finalize(self):
            calls.append("finalize")

    connector = make(Pipelined, [text([entry(1, 1)]), text([entry(2, 2), entry(3, 3)])], run=False)
    connector._processors = [Noting(ProcessorConfig(name="n", processor="p"))]
    connector.run()
    assert connector.outcome == "succeeded"
    assert calls == ["process 1", "finalize", "process 2", "process 3", "finalize"]


# --- memory ---

PEAK = """
import resource, sys
from pathlib import Path
from grove import RawPage
from grove.caches.local_lmdb import Handler as Cache
from grove.outputs.local_file import Handler as Output
from grove.models import ConnectorConfig
from tests.engine.conftest import CONTEXT, Scripted

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

cache, output = Cache(), Output()
cache.setup(); output.setup()
config = ConnectorConfig(name="n", identity="i", connector="scripted", key="k", outputs={"logs": "raw"})
connector = Scripted(config, CONTEXT, cache=cache, output=output)
line = b'{"at": %d, "actor": "someone", "action": "repo.create", "text": "' + b"lorem ipsum " * 35 + b'"}'
connector.save(RawPage(b"[" + line % 10**12 + b"]", "", "at"))
body = b"[" + b",".join([line % (10**12 + number) for number in range(1, 100_000)]) + b"]"
before = peak()
Path("/proc/self/clear_refs").write_text("5")
idle = int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) * 1024 - len(body)
connector.save(RawPage(body, "", "at"))
connector.unlock()
print(len(body), peak() - idle)
"""


def test_a_large_page_takes_up_little_beside_itself(tmp_path, monkeypatch):
    """R7."""
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(tmp_path / "out"))
    monkeypatch.setenv("GROVE_CACHE_LOCAL_LMDB_PATH", str(tmp_path / "cache"))
    done = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    size, took = map(int, done.stdout.split())
    assert size > 45_000_000 and took < 3 * size, (size, took)
