"""Delivery around a commit: what is visible when, and what becomes of what was staged."""

import json
import logging
from datetime import UTC, date, datetime

import pytest

from grove.caches import Key
from grove.delivery import Delivery, Target
from grove.exceptions import AccessException, ConfigurationException
from grove.models import ConnectorConfig
from grove.outputs import BaseOutput
from tests.engine.conftest import CONTEXT, Scripted, plain

MOMENT = datetime(2025, 3, 4, 10, 11, 12, tzinfo=UTC)


class Death(BaseException):
    """The process is gone."""


def stored(cache, connector, kind):
    return cache.read([Key(connector.cache_key(kind), "all")])[0]


def temporary(folder):
    return [path.name for path in folder.rglob(".*.tmp") if not path.name.startswith(".grove-output")]


class Submitting(BaseOutput):
    """An output that cannot stage; `before` is called with what it is given."""

    def __init__(self):
        super().__init__()
        self.submitted = []
        self.before = lambda data: None

    def submit(self, data, descriptor, **rest):
        self.before(data)
        self.submitted.append((descriptor, data))

    def pack(self, ndjson):
        return ndjson

    def entries(self):
        return [entry for _, data in self.submitted for entry in map(json.loads, data.splitlines())]


def submitting(cache, pages, output=None, run=True):
    config = ConnectorConfig(name="test", identity="corp", connector="scripted", key="k")
    connector = Scripted(config, CONTEXT, cache=cache, output=output or Submitting())
    connector.pages = pages
    if run:
        connector.run()
    return connector


# --- before and after the commit ---


def at_the_commit(monkeypatch, cache, act):
    """Call `act` when a page is about to be committed."""
    real = cache.apply

    def apply(batch):
        if any(key.pk.startswith("sequence.") for key in batch.changes):
            act(batch)
        real(batch)

    monkeypatch.setattr(cache, "apply", apply)


def test_a_staged_page_is_named_by_its_commit_and_not_visible_before(make, cache, delivered, monkeypatch):
    visible, pending = [], []

    def look(batch):
        visible.append(delivered())
        pending.extend(json.loads(value) for key, value in batch.changes.items() if key.pk.startswith("pending."))

    at_the_commit(monkeypatch, cache, look)
    make(pages=[[{"at": 1}]])
    assert visible == [[]]
    ((record,),) = pending
    assert record["output"] == "grove.outputs.local_file"
    assert plain(delivered()) == [{"at": 1}]


def test_where_another_host_could_not_reach_it_a_page_is_visible_before_its_commit(make, cache, delivered, monkeypatch):
    monkeypatch.setattr(cache, "SCOPE", "shared")
    visible = []

    def look(batch):
        visible.append(plain(delivered()))
        assert not any(key.pk.startswith("pending.") for key in batch.changes)

    at_the_commit(monkeypatch, cache, look)
    make(pages=[[{"at": 1}], [{"at": 2}]])
    assert visible == [[{"at": 1}], [{"at": 1}, {"at": 2}]]


def test_where_a_page_cannot_wait_for_its_commit_a_manifest_is_refused(make, cache, output, delivered, monkeypatch):
    monkeypatch.setattr(output.config, "manifest", True)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "SCOPE", "shared")
        connector = make(pages=[[{"at": 1}]])
    assert isinstance(connector.failure, ConfigurationException)
    assert "grove.outputs.local_file cannot keep a manifest" in str(connector.failure)
    assert delivered() == []
    assert make(pages=[[{"at": 1}]]).failure is None
    assert plain(delivered()) == [{"at": 1}]


def test_a_host_that_dies_there_repeats_one_page(make, cache, delivered, frozen, monkeypatch):
    monkeypatch.setattr(cache, "SCOPE", "shared")
    with pytest.MonkeyPatch.context() as patch:

        def die(batch):
            raise Death

        at_the_commit(patch, cache, die)
        with pytest.raises(Death):
            make(pages=[[{"at": 1}], [{"at": 2}]])
    frozen.advance(400)
    make(pages=[[{"at": 1}], [{"at": 2}]])
    assert plain(delivered()) == [{"at": 1}, {"at": 1}, {"at": 2}]


def test_a_publish_is_durable_before_the_commit_that_forgets_it(make, cache, output, monkeypatch):
    events = []
    for name in ("stage", "publish", "settle"):
        real = getattr(output, name)
        monkeypatch.setattr(output, name, lambda *a, name=name, real=real: (events.append(name), real(*a))[1])
    at_the_commit(monkeypatch, cache, lambda batch: events.append("commit"))
    make(pages=[[{"at": 1}], [{"at": 2}]])
    first, second = ["stage", "commit", "publish"], ["stage", "settle", "commit", "publish"]
    assert events == [*first, *second, "settle"]


def test_where_it_is_published_first_it_is_durable_before_the_commit(make, cache, output, monkeypatch):
    monkeypatch.setattr(cache, "SCOPE", "shared")
    events = []
    for name in ("stage", "publish", "settle"):
        real = getattr(output, name)
        monkeypatch.setattr(output, name, lambda *a, name=name, real=real: (events.append(name), real(*a))[1])
    at_the_commit(monkeypatch, cache, lambda batch: events.append("commit"))
    make(pages=[[{"at": 1}], [{"at": 2}]])
    assert events == ["stage", "publish", "settle", "commit"] * 2


def test_a_page_that_was_staged_in_parts_is_visible_in_all_of_them(make, delivered):
    make(pages=[[{"at": 1}, {"id": "lost"}]], outputs={"a": "raw", "b": "raw"})
    assert plain(delivered("a")) == plain(delivered("b")) == [{"at": 1}]
    assert plain(delivered("quarantine")) == [{"id": "lost"}]


# --- a page that fails ---


def test_what_cannot_be_removed_is_said_and_removed_by_the_next_run(make, output, tmp_path, monkeypatch, caplog):
    stage = output.stage

    def fail_second(name, data):
        if name.descriptor == "b":
            raise AccessException("made up: no space")
        return stage(name, data)

    def refuse(staged):
        raise AccessException("made up: it cannot be removed")

    with monkeypatch.context() as patch:
        patch.setattr(output, "stage", fail_second)
        patch.setattr(output, "discard", refuse)
        connector = make(pages=[[{"at": 1}]], outputs={"a": "raw", "b": "raw"})
    assert connector.failure.args == ("made up: no space",)
    (left,) = temporary(tmp_path)
    (record,) = [record for record in caplog.records if "temporary file" in record.getMessage()]
    assert record.path.endswith(left)
    assert "cannot be removed" in record.error
    make(pages=[[{"at": 1}]], outputs={"a": "raw", "b": "raw"})
    assert temporary(tmp_path) == []


def test_a_page_that_fails_leaves_none_of_its_objects(make, output, delivered, tmp_path, monkeypatch):
    stage = output.stage

    def fail_third(name, data):
        if name.descriptor == "c":
            raise AccessException("made up: no space")
        return stage(name, data)

    with monkeypatch.context() as patch:
        patch.setattr(output, "stage", fail_third)
        make(pages=[[{"at": 1}]], outputs={"a": "raw", "b": "raw", "c": "raw"})
    assert temporary(tmp_path) == []
    assert delivered("a") == delivered("b") == []


# --- what a dead run left ---


def die_before_publishing(make, output, monkeypatch, pages=([{"at": 1}],)):
    with monkeypatch.context() as patch:
        patch.setattr(output, "publish", lambda staged: (_ for _ in ()).throw(Death))
        connector = make(run=False, pages=list(pages))
        with pytest.raises(Death):
            connector.run()
    return connector


def test_the_next_run_says_what_it_finishes_and_does_so_before_it_collects(
    make, output, delivered, monkeypatch, caplog
):
    die_before_publishing(make, output, monkeypatch)
    caplog.set_level(logging.INFO)
    seen = []
    make(pages=[lambda connector: seen.extend(plain(delivered())), [{"at": 1}, {"at": 2}]])
    assert seen == [{"at": 1}]
    assert plain(delivered()) == [{"at": 1}, {"at": 2}]
    (record,) = [record for record in caplog.records if "finishing it" in record.getMessage()]
    assert (record.objects, record.operation, record.identity) == (1, "all", "corp")


def test_a_run_that_finishes_an_earlier_one_makes_it_durable_before_it_is_forgotten(make, cache, output, monkeypatch):
    connector = die_before_publishing(make, output, monkeypatch)
    real, settled = output.settle, []

    def settle(published, staged):
        settled.extend(record["path"] for record in published)
        assert stored(cache, connector, "pending") is not None
        real(published, staged)

    monkeypatch.setattr(output, "settle", settle)
    (record,) = json.loads(stored(cache, connector, "pending"))
    make()
    assert settled == [record["path"]]
    assert stored(cache, connector, "pending") is None


def test_files_are_finished_whatever_output_is_configured_by_then(make, cache, output, delivered, monkeypatch):
    die_before_publishing(make, output, monkeypatch)
    monkeypatch.delenv("GROVE_OUTPUT_LOCAL_FILE_PATH")
    connector = submitting(cache, [[{"at": 2}]])
    assert connector.outcome == "succeeded"
    assert plain(delivered()) == [{"at": 1}]
    assert plain(connector._output.entries()) == [{"at": 2}]


def test_objects_of_an_output_that_is_gone_stop_the_stream_and_say_what_to_do(make, cache, output, monkeypatch):
    connector = die_before_publishing(make, output, monkeypatch)
    (record,) = json.loads(stored(cache, connector, "pending"))
    cache.set(connector.cache_key("pending"), "all", json.dumps([{**record, "output": "someones.output"}]))
    connector = make(pages=[[{"at": 2}]])
    assert isinstance(connector.failure, AccessException)
    assert "someones.output" in str(connector.failure)
    assert "GROVE_OUTPUT_HANDLER" in str(connector.failure)
    assert connector.cache_key("stream") in str(connector.failure)
    # Whoever has that output need not wait for the lease.
    assert stored(cache, connector, "execution_lock") is None
    assert stored(cache, connector, "pointer") == "1"


def test_a_run_that_died_submitting_leaves_nothing_to_sweep(cache):
    output = Submitting()

    def die(data):
        raise Death

    output.before = die
    with pytest.raises(Death):
        submitting(cache, [[{"at": 1}]], output)
    output.before = lambda data: None
    connector = submitting(cache, [[{"at": 1}]], output)
    assert connector.outcome == "succeeded"
    assert plain(output.entries()) == [{"at": 1}]
    assert stored(cache, connector, "lease") is None


def test_a_stream_is_swept_until_somebody_could(make, cache, output, monkeypatch):
    die_before_publishing(make, output, monkeypatch)
    asked = []

    def sweep(name, attempts, since, keep):
        asked.append((name.descriptor, since))
        # The first folder cannot be read; the others still are.
        return name.descriptor != "logs"

    monkeypatch.setattr(output, "sweep", sweep)
    connector = make()
    assert connector.outcome == "succeeded"
    assert [descriptor for descriptor, _ in asked] == ["logs", "processed", "quarantine"]
    assert stored(cache, connector, "lease") is not None
    monkeypatch.setattr(output, "sweep", lambda *args: None)
    assert stored(cache, make(), "lease") is None


# --- names ---


def target(**other):
    fields = {
        "store": "0" * 16,
        "stream": "stream.scripted.corp/all",
        "connector": "scripted",
        "identity": "corp",
        "operation": "all",
        "name": "test",
    }
    return Target(**{**fields, **other})


def named(made, descriptor="logs", part=0, sequence=1, epoch=1):
    return made.object_name(descriptor, part, sequence, epoch, MOMENT, ".json.gz")


def test_the_name_of_an_object_belongs_to_its_commit_and_not_to_the_attempt():
    assert named(target()).path() == named(target(), epoch=2).path()
    assert named(target()).attempt != named(target(), epoch=2).attempt
    assert named(target(), sequence=7, epoch=3).attempt == f"{target().attempts}7-3"


@pytest.mark.parametrize(
    "other",
    [
        named(target(), sequence=2),
        named(target(), part=1),
        named(target(), descriptor="other"),
        named(target(store="1" * 16)),
        named(target(stream="stream.scripted.corp/other")),
        named(target(stream="stream.scripted.corp/all\udcff")),
    ],
)
def test_two_objects_never_have_one_name(other):
    assert other.path() != named(target()).path()


def test_an_attempt_of_one_stream_is_not_swept_for_another():
    assert not target(stream="stream.scripted.corp/other").attempts.startswith(target().attempts)
    assert not target(store="1" * 16).attempts.startswith(target().attempts)


def test_a_sweep_looks_a_day_further_back_and_at_the_next_commit():
    asked = []

    class Staging(Submitting):
        SCOPE = "host"
        KIND = ".ndjson"

        def sweep(self, name, attempts, since, keep):
            asked.append((name, attempts, since, keep))
            return True

    delivery = Delivery(Staging(), target(), commit_first=True)
    assert delivery.sweep(["logs"], date(2025, 3, 1), 5, MOMENT)
    ((name, attempts, since, keep),) = asked
    assert name.path() == target().object_name("logs", 0, 5, 9, MOMENT, ".ndjson").path()
    assert (attempts, since, keep) == (target().attempts, date(2025, 2, 28), set())
