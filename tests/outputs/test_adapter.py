"""Handlers written for earlier versions of the interface are called as they want to be."""

import gc
import gzip
import inspect
import json
import weakref
from unittest.mock import MagicMock

import pytest

from grove.exceptions import AccessException, ConfigurationException
from grove.outputs import BaseOutput, _adapter
from grove.outputs._adapter import overrides_serialize, submit_with
from grove.outputs.local_stdout import Handler as StdoutOutput
from tests.outputs.stream import Stream

ARGUMENTS = {
    "data": b"data",
    "part": 3,
    "operation": "all",
    "connector": "okta",
    "identity": "corp",
    "descriptor": "logs",
    "name": "document",
}


class Recorder(BaseOutput):
    def __init__(self):
        self.got = None

    def submit(self, *args, **kwargs):
        assert args == ()
        self.got = kwargs


class Today(Recorder):
    def submit(self, data, connector, identity, operation, part=0, kind=".json.gz", descriptor="", name=None):
        self.got = {key: value for key, value in locals().items() if key != "self"}


class WithSuffix(Recorder):
    def submit(self, data, connector, identity, operation, part=0, suffix=".gz", descriptor="", name=None):
        self.got = {key: value for key, value in locals().items() if key != "self"}


class WithoutName(Recorder):
    def submit(self, data, connector, identity, operation, part=0, kind=".x", descriptor=""):
        self.got = {key: value for key, value in locals().items() if key != "self"}


class DemandsKind(Recorder):
    KIND = ".mine"

    def submit(self, data, connector, identity, operation, part, kind, descriptor):
        self.got = {key: value for key, value in locals().items() if key != "self"}


class DemandsSuffix(Recorder):
    def submit(self, data, connector, identity, operation, part, suffix):
        self.got = {key: value for key, value in locals().items() if key != "self"}


class ByKeyword(Recorder):
    def submit(self, *, data, descriptor, **rest):
        self.got = {"data": data, "descriptor": descriptor, **rest}


class NoBase:
    """Not derived from ours at all."""

    def submit(self, data, identity, something=1):
        self.got = {"data": data, "identity": identity, "something": something}


WITHOUT_NAME = {key: value for key, value in ARGUMENTS.items() if key != "name"}


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (Recorder, ARGUMENTS),
        (Today, {**ARGUMENTS, "kind": ".json.gz"}),
        (WithSuffix, {**ARGUMENTS, "suffix": ".gz"}),
        (WithoutName, {**WITHOUT_NAME, "kind": ".x"}),
        (DemandsKind, {**WITHOUT_NAME, "kind": ".mine"}),
        (
            DemandsSuffix,
            {
                **{key: value for key, value in WITHOUT_NAME.items() if key != "descriptor"},
                "suffix": ".json.gz",
            },
        ),
        (ByKeyword, ARGUMENTS),
        (NoBase, {"data": b"data", "identity": "corp", "something": 1}),
    ],
)
def test_a_handler_gets_what_it_takes(handler, expected):
    output = handler()
    submit_with(output, **ARGUMENTS)
    assert output.got == expected


def test_a_demand_that_nobody_can_meet_is_named():
    class Odd(Recorder):
        def submit(self, data, payload):
            """Wants more than there is."""

    with pytest.raises(ConfigurationException, match=r"Odd demands the argument 'payload'"):
        submit_with(Odd(), **ARGUMENTS)


def test_an_error_inside_a_handler_is_not_taken_for_a_wrong_signature():
    class Broken(Recorder):
        def submit(self, data, **rest):
            raise TypeError("its own mistake")

    with pytest.raises(TypeError, match="its own mistake"):
        submit_with(Broken(), **ARGUMENTS)


def test_a_signature_is_looked_at_once_per_class(monkeypatch):
    class Fresh(Today):
        """A class that has not been looked at yet."""

    looked = []
    signature = inspect.signature
    monkeypatch.setattr(_adapter.inspect, "signature", lambda call: looked.append(call) or signature(call))
    for _ in range(3):
        submit_with(Fresh(), **ARGUMENTS)
    assert len(looked) == 1


def test_a_class_that_is_no_longer_used_is_forgotten():
    class Brief(Today):
        """Made by a test suite, say."""

    submit_with(Brief(), **ARGUMENTS)
    brief = weakref.ref(Brief)
    del Brief
    gc.collect()
    assert brief() is None


def test_a_submit_put_in_place_by_a_test_is_called():
    output = Today()
    output.submit = MagicMock()
    submit_with(output, **ARGUMENTS)
    output.submit.assert_called_once_with(**ARGUMENTS)
    assert output.got is None


class OwnSerialize(Recorder):
    def serialize(self, data, metadata={}):  # noqa: B006
        return b"own"


def patched():
    output = Today()
    output.serialize = lambda data, metadata: b"own"
    return output


def test_a_submit_put_in_place_by_a_test_may_take_less():
    output = Today()
    submit_with(output, **ARGUMENTS)
    got = []
    output.submit = lambda data: got.append(data)
    submit_with(output, **ARGUMENTS)
    assert got == [b"data"]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Today, False),
        (StdoutOutput, False),
        (OwnSerialize, True),
        (type("Derived", (OwnSerialize,), {}), True),
        (patched, True),
        (NoBase, True),
        (MagicMock, True),
    ],
)
def test_a_serialize_of_its_own_is_noticed(make, expected):
    assert overrides_serialize(make()) is expected


# --- R23: what the promise says, through the real engine ---


class Faulty(BaseOutput):
    """As somebody has written it for version 1: of its calls, one meets a fault."""

    def __init__(self, fault, number):
        self.fault, self.number = fault, number
        self.calls = 0
        self.got = []

    def submit(self, data, connector, identity, operation, part=0, suffix=None):
        number, self.calls = self.calls, self.calls + 1
        if number != self.number:
            self.got.append(data)
            return
        if self.fault == "stored and raised":
            self.got.append(data)
        raise {"no reason": ValueError("made up")}.get(self.fault, AccessException("made up"))


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("fault", ["refused", "stored and raised", "no reason"])
@pytest.mark.parametrize("number", range(4))
def test_a_fault_loses_nothing_and_repeats_at_most_its_page(number, fault, newest_first):
    output = Faulty(fault, number)
    stream = Stream(
        output,
        lambda: [json.loads(line)["id"] for data in output.got for line in gzip.decompress(data).splitlines()],
        newest_first=newest_first,
    )
    stream.source.arrive([1, 3, 1, 2])
    assert stream.run() == "failed"
    assert output.calls > number
    assert stream.goes_on() <= (stream.source.page_size if fault == "stored and raised" else 0)
