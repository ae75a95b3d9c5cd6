"""The runner's decisions, in this process."""

import os
import signal
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from grove import oneshot, runtime
from grove.caches.local_memory import Handler as MemoryCache
from grove.connectors import BaseConnector
from grove.entrypoints import base, local_process
from grove.exceptions import ConfigurationException, ConnectorMissingException
from grove.helpers import plugin
from grove.helpers.signals import Mailbox, Stop
from grove.logging import forget_secrets, redact
from grove.models import ConnectorConfig, ProcessorConfig
from grove.oneshot import Collector, Report
from grove.outputs import BaseOutput
from grove.processors import BaseProcessor
from grove.runtime import Documents, Settings, prepare

CONTEXT = {"runtime": "test"}


class Connector(BaseConnector):
    CONNECTOR = "probe"
    POINTER_PATH = "id"
    LOG_ORDER = "CHRONOLOGICAL"

    def collect(self) -> None:
        self.save([{"id": 1}])


class Output(BaseOutput):
    def submit(self, *args: Any, **kwargs: Any) -> None:
        """Everything is taken."""


class Handlers(runtime.Handlers):
    """Handlers as they are, with a store of their own."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        assert isinstance(self.cache, MemoryCache)
        self.cache._data = {}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Plugins by name; those that are not named here are the real ones."""
    plugins: dict[str, Any] = {"probe": Connector, "probe_output": Output}
    real = plugin.load_class

    def load_class(name: str, group: str) -> Any:
        return plugins.get(name) or real(name, group)

    monkeypatch.setattr(plugin, "load_class", load_class)
    monkeypatch.setenv("GROVE_CACHE_HANDLER", "local_memory")
    monkeypatch.setenv("GROVE_OUTPUT_HANDLER", "probe_output")
    monkeypatch.setattr(oneshot, "Handlers", Handlers)
    return plugins


def config(name: str = "acme", **fields: Any) -> ConnectorConfig:
    return ConnectorConfig.model_validate({"name": name, "identity": name, "connector": "probe", **fields})


def collect(*streams: ConnectorConfig) -> Report:
    return Collector(CONTEXT).run(Documents(list(streams), []))


def outcome(**counts: int) -> Report:
    report = Report()
    for name, count in counts.items():
        report.streams[name] = ["x"] * count
    return report


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (outcome(), 0),
        (outcome(succeeded=2), 0),
        (outcome(not_due=2), 0),
        (outcome(stopped=2), 0),
        (outcome(succeeded=1, failed=1, locked=1), 1),
        (outcome(locked=2), 75),
        (outcome(locked=1, not_due=1), 75),
        (outcome(locked=1, succeeded=1), 0),
        (outcome(locked=1, stopped=1), 0),
        (Report(problems=["x"]), 78),
        (Report(problems=["x"], streams={"failed": ["y"]}), 78),
    ],
)
def test_exit_codes(report: Report, code: int) -> None:
    assert report.exit_code == code


def test_settings_by_default() -> None:
    assert Settings.read({}) == Settings(50, 300, 300, "local_lmdb", "local_stdout", "local_file", "")
    # An empty variable is one that is not set.
    assert Settings.read({"GROVE_WORKER_COUNT": "", "GROVE_CACHE_HANDLER": ""}) == Settings()


def test_settings_from_the_environment() -> None:
    environment = {
        "GROVE_WORKER_COUNT": " 7 ",
        "GROVE_LOCK_DURATION": "60",
        "GROVE_CONFIG_REFRESH": "30",
        "GROVE_CACHE_HANDLER": "a",
        "GROVE_OUTPUT_HANDLER": "b",
        "GROVE_CONFIG_HANDLER": "c",
        "GROVE_SECRET_HANDLER": "d",
    }
    assert Settings.read(environment) == Settings(7, 60, 30, "a", "b", "c", "d")


def test_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    about = local_process.runtime_information()
    assert about["runtime"] == local_process.__file__
    assert about["runtime_id"] == str(os.getpid())
    assert about["runtime_host"]
    monkeypatch.setenv("NOMAD_ALLOC_ID", "1234")
    monkeypatch.setenv("NOMAD_REGION", "global")
    monkeypatch.setenv("NOMAD_JOB_NAME", "grove")
    assert local_process.runtime_information() == {
        "runtime": local_process.__file__,
        "runtime_id": "1234",
        "runtime_region": "global",
        "runtime_job_name": "grove",
    }


def test_dispatch_collects_when_due(installed: dict[str, Any]) -> None:
    handlers = Handlers(Settings.read())
    before = datetime.now(UTC).replace(microsecond=0)
    first = base.dispatch(config(), CONTEXT, handlers)
    assert first.replace(tzinfo=UTC) >= before
    # Not due: the last run is that one.
    assert base.dispatch(config(), CONTEXT, handlers) == first


def test_an_unknown_connector_is_missing(installed: dict[str, Any]) -> None:
    with pytest.raises(ConnectorMissingException, match=r"'acme' cannot be collected.*no plugin called 'nothing'"):
        prepare(config(connector="nothing"), CONTEXT, Handlers(Settings.read()))


def test_what_is_not_due_is_not_built(installed: dict[str, Any]) -> None:
    built: list[str] = []

    class Processor(BaseProcessor):
        def __init__(self, item: ProcessorConfig) -> None:
            super().__init__(item)
            built.append(item.name)

        def process(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
            return [entry]

    installed["probe_processor"] = Processor
    stream = config(processors=[{"name": "p", "processor": "probe_processor"}], secrets={})
    handlers = Handlers(Settings.read())
    connector = prepare(stream, CONTEXT, handlers)
    assert connector is not None
    assert built == ["p"]
    connector.run()
    built.clear()
    assert prepare(stream.model_copy(update={"secrets": {"key": "x"}}), CONTEXT, handlers) is None
    assert built == []


def test_handlers_are_made_once(installed: dict[str, Any]) -> None:
    made: list[Output] = []

    def output() -> Output:
        made.append(Output())
        return made[-1]

    installed["probe_output"] = output
    assert collect(*(config(f"stream-{number}") for number in range(5))).count("succeeded") == 5
    assert len(made) == 1


def test_a_constructor_of_older_plugins_gets_the_shared_handlers_too(installed: dict[str, Any]) -> None:
    class Older(Connector):
        def __init__(self, config: ConnectorConfig, context: dict[str, str]) -> None:
            super().__init__(config, context)

    installed["older"] = Older
    handlers = Handlers(Settings.read())
    connector = prepare(config(connector="older"), CONTEXT, handlers)
    assert connector is not None
    assert connector._cache is handlers.cache
    assert connector._output is handlers.output


def test_a_secret_store_may_fill_the_document_in_place(
    installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    class Store:
        def load(self, document: ConnectorConfig) -> None:
            document.key = "fetched"

    class Keyed(Connector):
        def collect(self) -> None:
            keys.append(self.key)

    installed.update(store=Store, keyed=Keyed)
    monkeypatch.setenv("GROVE_SECRET_HANDLER", "store")
    stream = config(connector="keyed", secrets={"key": "x"})
    assert collect(stream).count("succeeded") == 1
    assert keys == ["fetched"]
    # The document itself stays as it was read, for the next run to fetch again.
    assert stream.key == ""


def test_a_run_of_its_own_that_ends_well_has_succeeded(installed: dict[str, Any]) -> None:
    class Own(Connector):
        def run(self) -> None:
            self.outcome = ""

    installed["own"] = Own
    assert collect(config(connector="own")).streams["succeeded"] == ["acme"]


def test_a_wrong_store_concerns_only_who_uses_it(installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_SECRET_HANDLER", "no_such_store")
    report = collect(config("plain"), config("secret", secrets={"key": "x"}))
    assert (report.streams["succeeded"], report.streams["failed"]) == (["plain"], ["secret"])
    assert report.exit_code == 78


def test_a_connector_that_cannot_be_told_to_stop_is_left(
    installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    mailbox = Mailbox()

    leases: list[tuple[MemoryCache, str]] = []

    class Hanging(Connector):
        def collect(self) -> None:
            assert isinstance(self._cache, MemoryCache)
            leases.append((self._cache, self.cache_key("execution_lock")))
            assert leases[0][1] in self._cache._data
            mailbox.send(Stop(signal.SIGTERM))
            released.wait()

    installed["hanging"] = Hanging
    monkeypatch.setattr(oneshot, "GRACE", 0.05)
    left: list[int] = []
    collector = Collector(CONTEXT, mailbox=mailbox, leave=left.append)
    try:
        report = collector.run(Documents([config(connector="hanging")], []))
        ((cache, key),) = leases
        assert not cache._data.get(key)
    finally:
        released.set()
    assert left == [1]
    assert report.streams["failed"] == ["acme"]


def test_a_stream_that_hangs_does_not_hold_the_process(
    installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    class Hanging(Connector):
        def collect(self) -> None:
            released.wait()

    installed["hanging"] = Hanging
    monkeypatch.setattr(oneshot, "GRACE", 0.05)
    monkeypatch.setattr(oneshot, "PATROL", 0.05)
    monkeypatch.setenv("GROVE_WORKER_COUNT", "1")
    left: list[int] = []
    streams = [config("hanging", connector="hanging", run_timeout=0.2), config("late")]
    try:
        report = Collector(CONTEXT, leave=left.append).run(Documents(streams, []))
    finally:
        released.set()
    assert left == [1]
    assert (report.streams["failed"], report.streams["stopped"]) == (["hanging"], ["late"])


def test_a_stream_that_makes_progress_is_waited_for(installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    patrols: list[float] = []

    class Patrolled(Mailbox):
        def receive(self, timeout: float) -> object | None:
            patrols.append(timeout)
            return super().receive(timeout)

    class Busy(Connector):
        def collect(self) -> None:
            number = 0
            # Longer than its run_timeout as a whole, never without a page for that long.
            while len(patrols) < 30:
                number += 1
                self.save([{"id": number}])

    installed["busy"] = Busy
    monkeypatch.setattr(oneshot, "PATROL", 0.02)
    report = Collector(CONTEXT, mailbox=Patrolled()).run(Documents([config(connector="busy", run_timeout=0.2)], []))
    assert report.streams == {"succeeded": ["acme"]}


def test_after_a_signal_nothing_new_begins(installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_WORKER_COUNT", "1")
    mailbox = Mailbox()
    began: list[str] = []

    class Asking(Connector):
        def collect(self) -> None:
            began.append(self.name)
            mailbox.send(Stop(signal.SIGTERM))
            self.stopping.wait(30)
            self.save([{"id": 1}])

    installed["asking"] = Asking
    streams = [config(f"stream-{number}", connector="asking") for number in range(3)]
    report = Collector(CONTEXT, mailbox=mailbox).run(Documents(streams, []))
    assert report.streams["stopped"] == ["stream-0", "stream-1", "stream-2"]
    assert began == ["stream-0"]
    assert report.exit_code == 0


def test_signals_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    mailbox = Mailbox()
    with mailbox.signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert mailbox.receive(5) == Stop(signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_another_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[Any] = []

    def enter() -> None:
        with Mailbox().signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


def test_credentials_in_documents_are_kept_out_of_logs(
    installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Documented:
        problems = ("bad",)

        def get(self) -> list[ConnectorConfig]:
            return [
                config(
                    key="canary-key",
                    client_secret="canary-secret",
                    domain="example.com",
                    api_token="canary-token",
                ),
                config("off", disabled=True),
            ]

    installed["documented"] = Documented
    monkeypatch.setenv("GROVE_CONFIG_HANDLER", "documented")
    try:
        documents = runtime.load_documents()
        assert redact("canary-key canary-secret canary-token example.com") == " ".join(
            ["[redacted]"] * 3 + ["example.com"]
        )
    finally:
        forget_secrets()
    assert [stream.name for stream in documents.streams] == ["acme"]
    assert [str(problem) for problem in documents.problems] == ["documented: bad"]
    assert [stream.name for stream in base.configure()] == ["acme"]
    forget_secrets()


def test_a_connector_may_tell_apart_what_the_document_does_not(
    installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Separate(Connector):
        def cache_key(self, prefix: str = "pointer") -> str:
            return f"{super().cache_key(prefix)}.{self.configuration.domain}"

    class Documented:
        def get(self) -> list[ConnectorConfig]:
            return [
                config("one", connector="separate", identity="x", domain="a"),
                config("two", connector="separate", identity="x", domain="b"),
                config("three", identity="x", operation="login"),
                config("four", identity="x", operation="logout"),
            ]

    installed.update(separate=Separate, documented=Documented)
    monkeypatch.setenv("GROVE_CONFIG_HANDLER", "documented")
    assert runtime.load_documents().problems == []


def test_a_wrong_number_names_its_variable() -> None:
    with pytest.raises(ConfigurationException, match="GROVE_WORKER_COUNT is 'x'"):
        Settings.read({"GROVE_WORKER_COUNT": "x"})
