"""What every connector has to do, as tests that the author of one inherits.

    class TestMyConnector(ConnectorContract):
        CONNECTOR = my_package.Connector

        def document(self, api):
            return {"url": api.url, "key": api.token}

The connector collects the practice API (`grove.testing.PracticeAPI`), which `api()` sets up: its order is taken from
the connector, its paging from `PAGING`. An API that looks like the vendor's own is a subclass of it. A document of
`http_json` is tested the same way: leave `CONNECTOR` as it is, and say its order in `ORDER`. A scenario that cannot
apply is skipped. At its end, pytest prints for each connector which scenarios hold, which do not, and which do not
apply, and why.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from grove.caches.local_lmdb import Handler as Cache
from grove.connectors import BaseConnector
from grove.connectors.http_json import Connector as HttpJson
from grove.connectors.rest import RestConnector
from grove.constants import CHRONOLOGICAL
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as Output
from grove.testing.practice import PracticeAPI
from grove.testing.practice_faults import Fault, rate_limited, status
from grove.testing.practice_truth import Report, read_delivered

__all__ = ["ConnectorContract"]

PAGE = 20
SECRET = "not-the-token-f00d"

# A REST connector saves small pages together: two at a time here, so that there is more than one step to a run.
GATHER = 2 * PAGE


class ConnectorContract:
    """Inherit it, and say what to collect. Entries are offered with ties, a second apart, in pages of 20."""

    CONNECTOR: ClassVar[type[BaseConnector]] = HttpJson
    """The class under test."""

    ORDER: ClassVar[str] = ""
    """"oldest_first" or "newest_first", where the class does not say it."""

    PAGING: ClassVar[str] = "cursor"
    """How the API pages: "cursor", "next_link", "offset" or "keyset"."""

    SHAPE: ClassVar[str] = "plain"
    """What its entries look like: see `grove.testing.practice_shapes`."""

    def document(self, api: PracticeAPI) -> dict[str, Any]:
        """The fields of the configuration document beside name, identity, connector and outputs."""
        raise NotImplementedError("say what the document of this connector is")

    def api(self, order: str) -> PracticeAPI:
        """The API to collect, with no entries yet; `order` is what the connector says of itself."""
        return PracticeAPI(0, order=order, paging=self.PAGING, page_size=PAGE, shape=self.SHAPE)  # type: ignore[arg-type]

    def rate_limited(self, api: PracticeAPI, seconds: int) -> Fault:
        """How the API says that it was asked too often, and to come back in that many seconds."""
        return rate_limited(seconds)

    def wrong_credentials(self, api: PracticeAPI) -> dict[str, str]:
        """Fields of the document with a credential that the API refuses; skips where none is known."""
        if api.token is None or self.document(api).get("key") != api.token:
            pytest.skip("the document's `key` is not the token of the API")
        return {"key": SECRET}

    # --- the stage ---

    @pytest.fixture(autouse=True)
    def _told(self, request: pytest.FixtureRequest) -> None:
        """Have the terminal tell how it went."""
        plugins = request.config.pluginmanager
        summary = plugins.get_plugin(_Summary.NAME)
        if summary is None:
            summary = _Summary()
            plugins.register(summary, _Summary.NAME)
        summary.expect(request.node.parent.nodeid, self.CONNECTOR)

    @pytest.fixture
    def stage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Stage]:
        """An API, a cache and a folder."""
        (tmp_path / "out").mkdir()
        monkeypatch.setenv("GROVE_CACHE_LOCAL_LMDB_PATH", str(tmp_path / "cache"))
        monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(tmp_path / "out"))
        made = _Stage(self, tmp_path / "out")
        with made.api:
            yield made

    # --- the scenarios ---

    def test_first_run(self, stage: _Stage) -> None:
        """Everything that is there arrives, over several pages."""
        stage.api.offer(3 * PAGE + 5)
        stage.succeeds()
        stage.is_exact()

    def test_resume(self, stage: _Stage) -> None:
        """Later runs deliver what is new, and nothing again."""
        stage.api.offer(PAGE)
        stage.succeeds()
        for count in (0, PAGE + 3, 1):
            stage.api.offer(count)
            stage.succeeds()
        stage.is_exact()

    def test_empty_page(self, stage: _Stage) -> None:
        """A source that has nothing is no error."""
        stage.succeeds()
        assert stage.delivered() == []
        stage.api.offer(2)
        stage.succeeds()
        stage.is_exact()

    def test_ties_over_a_page_edge(self, stage: _Stage) -> None:
        """Entries of one moment fill more than a page, and more of them arrive between two runs."""
        stage.api.offer(PAGE - 3)
        stage.api.offer(PAGE + 7, tied=True)
        stage.succeeds()
        stage.api.offer(3, tied=True)
        stage.api.offer(5)
        stage.succeeds()
        stage.is_exact()

    def test_repeated_page(self, stage: _Stage) -> None:
        """A page that comes twice is delivered once."""
        if self.PAGING in ("offset", "keyset"):
            pytest.skip(f"pages by {self.PAGING} are asked for by place, and none is given twice")
        stage.api.offer(3 * PAGE)
        stage.api.repeat(3)
        stage.succeeds()
        stage.is_exact()

    @pytest.mark.parametrize("number", [1, 2])
    def test_rate_limit(self, stage: _Stage, number: int) -> None:
        """A request that is refused for a second costs nothing, whether the run waits or ends."""
        stage.api.offer(3 * PAGE)
        stage.api.fault(number, self.rate_limited(stage.api, 1))
        stage.ends()
        stage.api.heal()
        stage.succeeds()
        stage.is_exact()

    def test_a_rate_limit_of_an_hour_is_not_waited_for(self, stage: _Stage) -> None:
        """The run ends, and gives the place of the stream to others."""
        stage.api.offer(2 * PAGE)
        stage.api.fault(None, self.rate_limited(stage.api, 3600))
        assert stage.ends() == "failed"
        stage.api.heal()
        stage.succeeds()
        stage.is_exact()

    @pytest.mark.parametrize("code", [500, 502, 503])
    def test_server_error_in_the_middle(self, stage: _Stage, code: int) -> None:
        """What came before is kept, what follows comes later, whether or not the request is made again at once."""
        stage.api.offer(4 * PAGE)
        stage.api.fault(3, status(code))
        stage.ends()
        stage.api.heal()
        stage.api.offer(PAGE)
        stage.succeeds()
        stage.is_exact()

    @pytest.mark.parametrize("number", [2, 3])
    def test_kill_in_the_middle(self, stage: _Stage, number: int) -> None:
        """The process is gone in the middle of a collection; the next one goes on, and repeats nothing."""
        stage.api.offer(4 * PAGE)
        stage.is_killed_at(number)
        stage.api.offer(3, tied=True)
        stage.succeeds()
        stage.is_exact()

    def test_late_arrival(self, stage: _Stage) -> None:
        """Entries that arrive late, within the document's `lookback`, are delivered, and no other one again."""
        stage.api.offer(PAGE)
        stage.succeeds(lookback=600)
        stage.api.offer(5, late=300)
        stage.api.offer(2)
        connector = stage.succeeds(lookback=600)
        if not (connector._asked_lookback or connector.cursor):
            pytest.skip("the connector asks from `pointer`, and not from `since`: it has no lookback")
        stage.is_exact()

    def test_cursor_loop(self, stage: _Stage) -> None:
        """An API that goes round in circles does not keep the run for ever, nor is anything delivered twice."""
        if self.PAGING != "cursor":
            pytest.skip(f"pages by {self.PAGING} have no cursor that could lead back")
        stage.api.offer(6 * PAGE)
        stage.api.loop(4, 2)
        stage.api.before(150, stage.api.heal)
        stage.ends()
        assert len(stage.api.requests) < 150, "it went round and round"
        stage.api.heal()
        stage.succeeds()
        stage.is_exact()

    def test_wrong_credentials(self, stage: _Stage, caplog: pytest.LogCaptureFixture) -> None:
        """The run fails, delivers nothing, and tells nobody what the credential was."""
        wrong = self.wrong_credentials(stage.api)
        stage.api.offer(3)
        with caplog.at_level(logging.DEBUG):
            assert stage.ends(**wrong) == "failed"
        assert stage.delivered() == []
        told = caplog.text + " ".join(str(vars(record)) for record in caplog.records)
        assert not [name for name, secret in wrong.items() if secret in told]
        stage.succeeds()
        stage.is_exact()


class _Stage:
    """One stream of the connector under test."""

    def __init__(self, contract: ConnectorContract, folder: Path) -> None:
        self._contract = contract
        self._folder = folder
        declared = "oldest_first" if contract.CONNECTOR.LOG_ORDER == CHRONOLOGICAL else "newest_first"
        self.api = contract.api(contract.ORDER or declared)

    @property
    def _gathers(self) -> bool:
        return issubclass(self._contract.CONNECTOR, RestConnector)

    def _connector(self, **fields: Any) -> BaseConnector:
        cache, output = Cache(), Output()
        cache.setup()
        output.setup()
        kind = self._contract.CONNECTOR
        document = {
            "name": "contract",
            "identity": "corp",
            "connector": kind.CONNECTOR,
            "outputs": {"logs": "raw"},
            **({"gather": GATHER} if self._gathers else {}),
            **self._contract.document(self.api),
            **fields,
        }
        return kind(ConnectorConfig(**document), {}, cache=cache, output=output)

    def ends(self, **fields: Any) -> str:
        """How one run ends."""
        connector = self._connector(**fields)
        connector.run()
        return connector.outcome

    def succeeds(self, **fields: Any) -> BaseConnector:
        """One run, which has to succeed."""
        connector = self._connector(**fields)
        connector.run()
        assert connector.outcome == "succeeded", connector.failure
        return connector

    def is_killed_at(self, number: int) -> None:
        """One run in a process of its own, which is killed when its `number`-th request arrives.

        By the third one, the first page has been committed.
        """
        fields = {"gather": 1} if self._gathers else {}
        worker = os.fork()
        if not worker:
            code = 1
            try:
                # The parent serves the requests, and kills.
                self._connector(**fields).run()
                code = 0
            finally:
                os._exit(code)
        self.api.before(number, lambda: os.kill(worker, signal.SIGKILL))
        _, ended = os.waitpid(worker, 0)
        assert os.WIFSIGNALED(ended), f"it made fewer than {number} requests, and ended with {ended}"

    def delivered(self) -> list[dict[str, Any]]:
        """Every entry that has arrived."""
        return read_delivered(self._folder)

    def is_exact(self) -> None:
        """What was delivered is what was offered, nothing lost and nothing twice."""
        report: Report = self.api.compare(self.delivered())
        assert report.exact, report


class _Summary:
    """A plugin of pytest's that tells, at the end, which scenarios hold for each connector."""

    NAME = "grove-connector-contract"

    def __init__(self) -> None:
        self._connectors: dict[str, str] = {}
        self._outcomes: dict[str, dict[str, tuple[str, str]]] = {}

    def expect(self, nodeid: str, connector: type[BaseConnector]) -> None:
        """The tests below `nodeid` are those of a connector."""
        self._connectors[nodeid] = connector.CONNECTOR
        self._outcomes.setdefault(nodeid, {})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how one scenario went; one with several cases holds if all of them do."""
        name, _, test = report.nodeid.rpartition("::")
        if name not in self._outcomes or not (report.when == "call" or report.failed or report.skipped):
            return
        scenario = test.partition("[")[0].removeprefix("test_").replace("_", " ")
        why = str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        if self._outcomes[name].get(scenario, ("", ""))[0] != "failed":
            self._outcomes[name][scenario] = (report.outcome, why)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write all of it."""
        terminalreporter.section("connector contract")
        for name, connector in self._connectors.items():
            outcomes = self._outcomes[name].items()
            terminalreporter.write_line(f"{name} ({connector})")
            for outcome, words in (("passed", "holds"), ("failed", "DOES NOT HOLD")):
                found = [scenario for scenario, (ended, _) in outcomes if ended == outcome]
                if found:
                    terminalreporter.write_line(f"  {words}: {', '.join(found)}")
            for scenario, (ended, why) in outcomes:
                if ended == "skipped":
                    terminalreporter.write_line(f"  does not apply: {scenario}, because {why}")
