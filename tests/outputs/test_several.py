"""Several outputs at once: every page arrives in each, or is fetched again."""

import gzip
import json

import pytest

from grove.exceptions import ConfigurationException
from grove.helpers import plugin
from grove.outputs import BaseOutput, remote_http
from grove.outputs._several import Several, load
from grove.outputs.local_file import Handler as FileOutput
from grove.testing.output_contract import OutputContract
from tests.outputs.receiver import REFUSED, Answer, running_receiver
from tests.outputs.stream import Stream


@pytest.fixture
def receiver():
    with running_receiver() as found:
        yield found


@pytest.fixture
def environment(root, receiver, monkeypatch):
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(root))
    monkeypatch.setenv("GROVE_OUTPUT_REMOTE_HTTP_URL", receiver.url)
    monkeypatch.setattr(remote_http, "sleep", lambda seconds: None)


@pytest.fixture
def output(environment):
    found = load("remote_http, local_file")
    found.setup()
    return found


def in_files(root):
    data = [gzip.decompress(path.read_bytes()) for path in root.rglob("*.json.gz")]
    return [json.loads(line) for lines in data for line in lines.splitlines()]


class TestFilesOfBoth(OutputContract):
    @pytest.fixture
    def output(self, environment, root):
        self.root = root
        return load("local_file,remote_http")

    def entries(self, output):
        return in_files(self.root)


class TestReceiverOfBoth(TestFilesOfBoth):
    @pytest.fixture
    def output(self, environment, receiver):
        self.receiver = receiver
        return load("local_file,remote_http")

    def entries(self, output):
        return self.receiver.entries()


# --- names ---


def test_one_name_is_that_output(environment):
    assert type(load("local_file")) is FileOutput


@pytest.mark.parametrize("names", ["local_file,nonsense", "local_file,"])
def test_a_name_that_is_none_is_an_error(environment, names):
    with pytest.raises(ConfigurationException, match="no plugin called"):
        load(names)


def test_no_output_twice(environment):
    with pytest.raises(
        ConfigurationException, match=r"GROVE_OUTPUT_HANDLER names the output grove\.outputs\.local_file"
    ):
        load("local_file,remote_http,local_file")


def test_an_output_with_a_form_of_its_own_stays_alone(environment, monkeypatch):
    class Own(BaseOutput):
        def submit(self, *args, **kwargs):
            """Takes everything."""

        def serialize(self, data, metadata=None):
            return b""

    real = plugin.load_handler
    monkeypatch.setattr(plugin, "load_handler", lambda name, group: Own() if name == "own" else real(name, group))
    assert type(load("own")) is Own
    with pytest.raises(ConfigurationException, match=r"serialize\(\) of its own"):
        load("local_file,own")


def test_setting_up_is_setting_up_all(environment, monkeypatch):
    monkeypatch.setenv("GROVE_OUTPUT_REMOTE_HTTP_URL", "nonsense")
    with pytest.raises(ConfigurationException, match="GROVE_OUTPUT_REMOTE_HTTP_URL"):
        load("local_file,remote_http").setup()


# --- pages ---


def test_a_page_is_packed_for_each_and_once_for_those_alike(environment, root, receiver, monkeypatch):
    packed = []
    real = BaseOutput.pack

    class Alike(FileOutput):
        """Another that writes gzip."""

    monkeypatch.setattr(BaseOutput, "pack", lambda self, ndjson: packed.append(1) or real(self, ndjson))
    both = Several([FileOutput(), Alike(), remote_http.Handler()])
    both.setup()
    data = both.serialize([{"id": 1}], {})
    both.submit(data=data, connector="c", identity="i", operation="all", descriptor="logs", part=0, name="n")
    assert packed == [1]
    assert in_files(root) == [{"id": 1, "_grove": {}}] * 2
    assert receiver.requests[0].body == b'{"id":1,"_grove":{}}\n'


def streamed(output, root, receiver):
    stream = Stream(output, lambda: [entry["id"] for entry in in_files(root)])
    stream.source.arrive([1, 3, 1])
    return stream


def test_a_page_that_one_refuses_is_in_neither(output, root, receiver):
    receiver.plan = {1: Answer(400)}
    stream = streamed(output, root, receiver)
    assert stream.run() == "failed"
    arrived = [entry["id"] for entry in receiver.entries()]
    assert sorted(entry["id"] for entry in in_files(root)) == arrived == [0, 1]
    assert list(root.rglob("*.tmp")) == []
    stream.until_quiet()
    assert stream.lost() == []
    assert stream.repeated() == 0
    assert [entry["id"] for entry in receiver.entries()] == [0, 1, 2, 3, 4]


def test_what_cannot_be_staged_is_not_submitted(output, root, receiver, monkeypatch):
    stream = streamed(output, root, receiver)
    with monkeypatch.context() as patch:
        patch.setattr(output.outputs[0], "stage", lambda name, data: 1 / 0)
        assert stream.run() == "failed"
    assert receiver.requests == []


def test_an_outage_of_one_holds_up_both_and_repeats_nothing(output, root, receiver):
    receiver.always = REFUSED
    stream = streamed(output, root, receiver)
    assert [stream.run(), stream.run()] == ["failed", "failed"]
    receiver.always = None
    stream.until_quiet()
    assert stream.lost() == []
    assert sorted(entry["id"] for entry in receiver.entries()) == sorted(entry["id"] for entry in in_files(root))
    assert stream.repeated() == 0


def test_a_process_that_dies_after_the_commit_publishes_later_and_submits_once(output, root, receiver, monkeypatch):
    class Death(BaseException):
        """The process is gone."""

    def die(staged):
        raise Death

    stream = streamed(output, root, receiver)
    with monkeypatch.context() as patch:
        patch.setattr(output.outputs[0], "publish", die)
        with pytest.raises(Death):
            stream.run()
    assert in_files(root) == []
    assert len(receiver.requests) == 1
    stream.until_quiet()
    assert stream.lost() == []
    assert stream.repeated() == 0
    assert [entry["id"] for entry in receiver.entries()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("scope", "visible"), [("host", False), ("shared", True)])
def test_files_of_one_host_are_visible_before_state_that_all_share_is_committed(
    output, root, receiver, monkeypatch, scope, visible
):
    stream = streamed(output, root, receiver)
    monkeypatch.setattr(stream._cache, "SCOPE", scope, raising=False)
    seen = []
    real = stream._cache.apply

    def apply(batch):
        if any(key.pk.startswith("pointer.") for key in batch.changes):
            seen.append(in_files(root) != [])
        real(batch)

    monkeypatch.setattr(stream._cache, "apply", apply)
    assert stream.run() == "succeeded"
    assert seen[0] is visible
