"""What every output has to do, as tests that the author of a handler inherits.

    class TestMyOutput(OutputContract):
        @pytest.fixture
        def output(self, monkeypatch):
            monkeypatch.setenv("MY_OUTPUT_URL", ...)
            return my_package.Handler()

        def entries(self, output):
            return [...]  # everything that has arrived, parsed

An output that stages inherits StagingOutputContract, and says how a reader sees, takes away and misses objects.
"""

import json
import threading
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from grove.exceptions import AccessException, DataFormatException
from grove.outputs import BaseOutput, ObjectName
from grove.outputs._adapter import submit_with

__all__ = ["OutputContract", "StagingOutputContract"]

MOMENT = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)

ENTRIES: list[Any] = [
    {"id": 1, "text": "plain"},
    {"id": 2, "text": "two\nlines, \u2028, \x85 and caf\u00e9", "nested": {"list": [1, None, True]}},
    {"id": 3, "_grove": {"own": "kept"}},
    {},
]


class OutputContract:
    """For every output. `output` is a fixture that gives a handler, not set up yet."""

    @pytest.fixture
    def output(self) -> BaseOutput:
        """The handler under test."""
        raise NotImplementedError("Override the fixture `output` to give the handler that is to be tested.")

    def entries(self, output: BaseOutput) -> list[Any]:
        """Everything that has arrived, parsed, in any order, with `_grove`."""
        raise NotImplementedError("Override `entries` to return what has arrived.")

    @pytest.fixture
    def ready(self, output: BaseOutput) -> BaseOutput:
        """The handler, set up."""
        output.setup()
        return output

    def test_setup_can_be_repeated(self, output: BaseOutput) -> None:
        output.setup()
        output.setup()
        self._submit(output, [{"id": 1}])
        assert self._ids(output) == [1]

    def test_what_is_submitted_arrives_whole(self, ready: BaseOutput) -> None:
        self._submit(ready, ENTRIES)
        arrived = [_without_metadata(entry) for entry in self.entries(ready)]
        assert _sorted(arrived) == _sorted(_without_metadata(entry) for entry in ENTRIES)

    def test_metadata_is_added_and_wins(self, ready: BaseOutput) -> None:
        self._submit(ready, [{"_grove": {"run": "theirs", "own": "kept"}}])
        assert [entry["_grove"] for entry in self.entries(ready)] == [{"run": "ours", "own": "kept"}]

    def test_serialize_leaves_the_entries_alone(self, output: BaseOutput) -> None:
        entries = json.loads(json.dumps(ENTRIES))
        output.serialize(entries, {"run": "ours"})
        assert entries == ENTRIES

    def test_serialize_leaves_out_null(self, ready: BaseOutput) -> None:
        self._submit(ready, [None, {"id": 7}, None])
        assert self._ids(ready) == [7]

    def test_serialize_refuses_what_is_no_object(self, output: BaseOutput) -> None:
        with pytest.raises(DataFormatException):
            output.serialize([{"id": 1}, "text"], {})

    def test_the_same_page_twice_arrives_twice(self, ready: BaseOutput) -> None:
        self._submit(ready, [{"id": 1}])
        self._submit(ready, [{"id": 1}])
        assert self._ids(ready) == [1, 1]

    def test_pages_of_many_threads_do_not_mix(self, ready: BaseOutput) -> None:
        numbers = [range(page * 1000, page * 1000 + 50) for page in range(8)]
        pages = [[{"id": number, "fill": "x" * 500} for number in page] for page in numbers]
        failures: list[Exception] = []

        def deliver(page: list[Any]) -> None:
            try:
                self._submit(ready, page)
            except Exception as err:
                failures.append(err)

        threads = [threading.Thread(target=deliver, args=(page,)) for page in pages]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert self._ids(ready) == [number for page in numbers for number in page]

    def _submit(self, output: BaseOutput, entries: list[Any]) -> None:
        submit_with(
            output,
            data=output.serialize(entries, {"run": "ours"}),
            part=0,
            operation="all",
            connector="contract",
            identity="https://corp/with/slashes",
            descriptor="logs",
            name="contract",
        )

    def _ids(self, output: BaseOutput) -> list[int]:
        return sorted(entry["id"] for entry in self.entries(output))


class StagingOutputContract(OutputContract):
    """For outputs that can stage. `objects`, `take` and `hidden` say what a reader can do."""

    def objects(self, output: BaseOutput) -> dict[str, bytes]:
        """What a reader sees: name and content of each object."""
        raise NotImplementedError("Override `objects` to return what a reader sees.")

    def take(self, output: BaseOutput) -> None:
        """Remove every visible object, as a reader does."""
        raise NotImplementedError("Override `take` to remove what a reader sees.")

    def hidden(self, output: BaseOutput) -> list[str]:
        """What is staged and not visible, one text for each."""
        raise NotImplementedError("Override `hidden` to list what is staged.")

    def test_it_says_where_staged_objects_can_be_reached(self, output: BaseOutput) -> None:
        assert output.SCOPE in ("host", "shared")

    def test_what_is_staged_is_invisible(self, ready: BaseOutput) -> None:
        ready.stage(object_name(), b"payload")
        assert self.objects(ready) == {}
        assert len(self.hidden(ready)) == 1

    def test_what_is_published_is_visible_and_whole(self, ready: BaseOutput) -> None:
        data = bytes(range(256)) * 4000
        ready.publish(ready.stage(object_name(), data))
        assert list(self.objects(ready).values()) == [data]
        assert self.hidden(ready) == []

    def test_an_empty_object_is_one_too(self, ready: BaseOutput) -> None:
        ready.publish(ready.stage(object_name(), b""))
        assert list(self.objects(ready).values()) == [b""]

    def test_publishing_again_changes_nothing(self, ready: BaseOutput) -> None:
        staged = ready.stage(object_name(), b"payload")
        ready.publish(staged)
        before = self.objects(ready)
        ready.publish(staged)
        assert self.objects(ready) == before

    def test_the_record_survives_json_and_another_process_can_finish(self, ready: BaseOutput) -> None:
        record = json.loads(json.dumps(ready.stage(object_name(), b"payload")))
        other = type(ready)()
        other.setup()
        other.publish(record)
        other.settle([record], [])
        assert list(self.objects(ready).values()) == [b"payload"]

    def test_a_reader_may_take_an_object_at_once(self, ready: BaseOutput) -> None:
        staged = ready.stage(object_name(), b"payload")
        ready.publish(staged)
        self.take(ready)
        ready.publish(staged)
        ready.settle([staged], [])
        assert self.objects(ready) == {}

    def test_nothing_is_ever_overwritten(self, ready: BaseOutput) -> None:
        ready.publish(ready.stage(object_name(), b"first"))
        second = ready.stage(object_name(attempt="store-stream-1-2"), b"second")
        with pytest.raises(AccessException):
            ready.publish(second)
        assert list(self.objects(ready).values()) == [b"first"]

    def test_the_same_object_from_another_attempt_is_there_already(self, ready: BaseOutput) -> None:
        ready.publish(ready.stage(object_name(), b"payload"))
        ready.publish(ready.stage(object_name(attempt="store-stream-1-2"), b"payload"))
        assert list(self.objects(ready).values()) == [b"payload"]
        assert self.hidden(ready) == []

    @pytest.mark.parametrize(
        "other",
        [
            {"descriptor": "processed"},
            {"connector": "other"},
            {"identity": "other"},
            {"operation": "other"},
            {"part": 1},
            {"moment": MOMENT + timedelta(seconds=1)},
            {"tag": "f" * 16},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_two_names_never_meet(self, ready: BaseOutput, other: dict[str, Any]) -> None:
        ready.publish(ready.stage(object_name(), b"one"))
        ready.publish(ready.stage(object_name(**other), b"two"))
        assert sorted(self.objects(ready).values()) == [b"one", b"two"]

    def test_what_is_discarded_is_gone(self, ready: BaseOutput) -> None:
        staged = ready.stage(object_name(), b"payload")
        ready.discard(staged)
        ready.discard(staged)
        assert self.objects(ready) == {}
        assert self.hidden(ready) == []

    def test_discarding_does_not_take_back(self, ready: BaseOutput) -> None:
        staged = ready.stage(object_name(), b"payload")
        ready.publish(staged)
        ready.discard(staged)
        assert list(self.objects(ready).values()) == [b"payload"]

    def test_settling_nothing_is_harmless(self, ready: BaseOutput) -> None:
        ready.settle([], [])
        assert self.objects(ready) == {}

    def test_settled_beside_a_staged_page(self, ready: BaseOutput) -> None:
        published = ready.stage(object_name(), b"payload")
        ready.publish(published)
        staged = ready.stage(object_name(part=1), b"next")
        ready.settle([published], [staged])
        assert list(self.objects(ready).values()) == [b"payload"]
        assert len(self.hidden(ready)) == 1

    def test_sweeping_removes_what_earlier_attempts_left(self, ready: BaseOutput) -> None:
        for days in range(3):
            ready.stage(object_name(moment=MOMENT - timedelta(days=days)), b"orphan")
        self._sweep(ready, since=MOMENT.date() - timedelta(days=2))
        assert self.hidden(ready) == []

    @pytest.mark.parametrize(
        "other",
        [
            {"attempt": "store-another-1-1", "tag": "e" * 16},
            {"attempt": "another-stream-1-1", "tag": "f" * 16},
            {"descriptor": "processed"},
            {"identity": "another"},
        ],
        ids=["stream", "store", "descriptor", "identity"],
    )
    def test_sweeping_leaves_what_is_not_its_own(self, ready: BaseOutput, other: dict[str, Any]) -> None:
        staged = ready.stage(object_name(**other), b"somebody else's")
        self._sweep(ready)
        ready.publish(staged)
        assert list(self.objects(ready).values()) == [b"somebody else's"]

    def test_sweeping_leaves_what_is_visible_and_what_is_to_be_kept(self, ready: BaseOutput) -> None:
        ready.publish(ready.stage(object_name(), b"visible"))
        kept = ready.stage(object_name(part=1), b"kept")
        ready.stage(object_name(part=2), b"orphan")
        self._sweep(ready, keep={kept["temp"]})
        assert len(self.hidden(ready)) == 1
        ready.publish(kept)
        assert sorted(self.objects(ready).values()) == [b"kept", b"visible"]

    def test_sweeping_where_nothing_was_ever_written(self, ready: BaseOutput) -> None:
        self._sweep(ready)
        assert self.hidden(ready) == []

    def _sweep(self, output: BaseOutput, since: date | None = None, keep: Iterable[str] = ()) -> None:
        name = object_name(attempt="store-stream-0-0")
        output.sweep(name, "store-stream-", since or MOMENT.date(), set(keep))


def object_name(**changes: Any) -> ObjectName:
    """A name; `changes` are fields that differ from the usual one."""
    fields: dict[str, Any] = {
        "descriptor": "logs",
        "connector": "contract",
        "identity": "https://corp/with/slashes",
        "operation": "all",
        "part": 0,
        "moment": MOMENT,
        "tag": "0123456789abcdef",
        "kind": ".json.gz",
        "attempt": "store-stream-1-1",
    }
    return ObjectName(**{**fields, **changes})


def _without_metadata(entry: Any) -> Any:
    return {key: value for key, value in entry.items() if key != "_grove"}


def _sorted(entries: Iterable[Any]) -> list[str]:
    return sorted(json.dumps(entry, sort_keys=True) for entry in entries)
