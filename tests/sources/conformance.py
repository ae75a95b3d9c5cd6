"""The contract of connectors, for every built-in source and its simulated vendor.

`python -m tests.sources.conformance` runs `test_conformance.py`, and prints which scenarios hold for which source; with
names of sources, for these.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from grove.constants import PLUGIN_GROUP_CONNECTOR
from grove.helpers import clock, plugin
from grove.http import _tokens, client
from grove.http._breaker import Breaker
from grove.testing import ConnectorContract, Report, compare
from grove.testing.practice_faults import Fault, Reply
from grove.testing.practice_script import Script

from .conftest import Impatient
from .vendor import NOW, Answered, Asked, Vendor, relocated

BUILT_IN = {
    found.value.partition(":")[0]: name
    for name, found in plugin.available(PLUGIN_GROUP_CONNECTOR).items()
    if found.value.startswith("grove.")
}
"""The names of all built-in sources, by their modules."""

NO_API = {"local_heartbeat": "it makes its entries itself, and asks no one"}
"""Sources without a vendor: why."""

SCENARIOS = [name.removeprefix("test_") for name in vars(ConnectorContract) if name.startswith("test_")]

# What a list of everything there is cannot be asked for.
_NO_STREAM = dict.fromkeys(
    (
        "resume",
        "ties_over_a_page_edge",
        "rate_limit",
        "server_error_in_the_middle",
        "kill_in_the_middle",
        "late_arrival",
        "cursor_loop",
        "repeated_page",
    ),
    "each run delivers the whole list, whatever the one before delivered",
)


class VendorAPI(Script):
    """A simulated vendor that is told what is to happen, as the practice API is. Pages are counted, not details."""

    token = None

    def __init__(self, vendor: Vendor) -> None:
        super().__init__()
        self.vendor = vendor
        self.unheard = False
        vendor.compact()
        vendor.intercept = self._intercept

    def __enter__(self) -> VendorAPI:
        return self

    def __exit__(self, *_: object) -> None:
        self.vendor.close()

    def offer(self, count: int, *, tied: bool = False, late: float | None = None) -> None:
        """More entries."""
        if not count:
            return
        if late is not None:
            self.vendor.offer_late(count, late)
        elif tied:
            self.vendor.tie(count)
        else:
            self.vendor.offer(count)

    def compare(self, delivered: Iterable[dict[str, Any]]) -> Report:
        """What was delivered beside what was offered, by the numbers of the entries."""
        self._look_for_the_unheard()
        assert not self.unheard, "the vendor cannot do what it was told, and should say so in `reserves`"
        return compare(
            [{"number": number} for _, number in self.vendor.entries],
            [{"number": self.vendor.number_of(entry)} for entry in delivered],
        )

    def heal(self) -> None:
        """Forget what is scripted, and what became of it."""
        super().heal()
        if hasattr(self, "vendor"):
            self.vendor.back.clear()

    def _look_for_the_unheard(self) -> None:
        self.unheard = self.unheard or self.vendor.repeats or bool(self.vendor.loops)

    def _intercept(self, asked: Asked) -> Answered | None:
        if not self.vendor.is_page(asked):
            return None
        self._look_for_the_unheard()
        request = self._arrive(asked.path, asked.query, asked.headers)
        self._act(request)
        self.vendor.repeats = bool(self._repeats.take(request.number))
        self.vendor.loops = max([0, *self._loops.take(request.number)])
        reply = Reply(200, {}, b"{}")
        faults = self._disturbances(request)
        for fault in faults:
            reply = fault(reply)
        return Answered(json.loads(reply.body), reply.status, dict(reply.headers)) if faults else None


class VendorContract(ConnectorContract):
    """The contract, for one source."""

    VENDOR: ClassVar[type[Vendor]]

    @pytest.fixture(autouse=True)
    def simulated(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """At the simulated vendors' time, and without what an earlier test has left in the process."""
        scenario = request.function.__name__.removeprefix("test_")
        reserves = {**(_NO_STREAM if self.VENDOR.snapshot else {}), **self.VENDOR.reserves}
        if scenario in reserves:
            pytest.skip(reserves[scenario])
        monkeypatch.setattr(clock, "now", lambda: NOW)
        monkeypatch.setattr(client, "_breaker", Breaker())
        _tokens._slots.clear()

    # Which request it is, and which status, makes no difference between sources: one case of each will do.

    @pytest.mark.parametrize("number", [2])
    def test_rate_limit(self, stage: Any, number: int) -> None:
        """As in the contract."""
        super().test_rate_limit(stage, number)

    @pytest.mark.parametrize("code", [503])
    def test_server_error_in_the_middle(self, stage: Any, code: int) -> None:
        """As in the contract."""
        super().test_server_error_in_the_middle(stage, code)

    @pytest.mark.parametrize("number", [3])
    def test_kill_in_the_middle(self, stage: Any, number: int) -> None:
        """As in the contract."""
        super().test_kill_in_the_middle(stage, number)

    # --- the vendor ---

    def api(self, order: str) -> VendorAPI:  # type: ignore[override]
        """The vendor, with no entries yet."""
        vendor = self.VENDOR()
        kind = relocated(vendor.connector, vendor.url, vendor.page_size if vendor.page_size < 20 else 20)

        class Hurried(kind):  # type: ignore[valid-type, misc]
            def __init__(self, *given: Any, **named: Any) -> None:
                super().__init__(*given, **named)
                self.stopping = Impatient()

        Hurried.__module__ = kind.__module__
        self.CONNECTOR = Hurried  # type: ignore[misc]
        return VendorAPI(vendor)

    def document(self, api: VendorAPI) -> dict[str, Any]:  # type: ignore[override]
        """The vendor's."""
        return api.vendor.document

    def rate_limited(self, api: VendorAPI, seconds: int) -> Fault:  # type: ignore[override]
        """In the vendor's own words."""
        said = api.vendor.limited(seconds)
        return lambda reply: Reply(said.status, said.headers, json.dumps(said.body).encode())

    def wrong_credentials(self, api: VendorAPI) -> dict[str, Any]:  # type: ignore[override]
        """The vendor's."""
        return api.vendor.wrong


def contract_of(vendor: type[Vendor]) -> type[VendorContract]:
    """The tests of one source, as a class for pytest to collect."""
    name = f"Test_{BUILT_IN.get(vendor.connector.__module__, vendor.connector.CONNECTOR)}"
    members = {"VENDOR": vendor, "CONNECTOR": vendor.connector, "PAGING": vendor.pages_by}
    return type(name, (VendorContract,), members)


class Table:
    """A plugin of pytest's that keeps how each scenario went for each source."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, str]] = {}
        self._reasons: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A scenario with several cases holds if all of them do."""
        _, _, place = report.nodeid.partition("::Test_")
        name, _, test = place.partition("::")
        if not test or not (report.when == "call" or report.failed or report.skipped):
            return
        scenario = test.partition("[")[0].removeprefix("test_")
        cells = self.cells.setdefault(name, {})
        if cells.get(scenario) != "FAILS":
            cells[scenario] = self._cell(report)

    def _cell(self, report: pytest.TestReport) -> str:
        if not isinstance(report.longrepr, tuple):
            return "FAILS" if report.failed else "holds"
        return self._note(report.longrepr[2].removeprefix("Skipped: "))

    def _note(self, reason: str) -> str:
        if reason not in self._reasons:
            self._reasons.append(reason)
        return f"- [{self._reasons.index(reason) + 1}]"

    def __str__(self) -> str:
        missing = {name: dict.fromkeys(SCENARIOS, self._note(reason)) for name, reason in NO_API.items()}
        heads = ["source", *(scenario.replace("_", " ") for scenario in SCENARIOS)]
        rows = [
            [name, *(cells.get(scenario, "") for scenario in SCENARIOS)]
            for name, cells in sorted({**self.cells, **missing}.items())
        ]
        table = ["| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *rows)]
        notes = [f"[{number}] does not apply: {reason}" for number, reason in enumerate(self._reasons, 1)]
        return "\n".join([*table, "", *notes])


def main(names: list[str]) -> int:
    """Run them, and print the table; 0 where nothing fails."""
    table = Table()
    tests = Path(__file__).with_name("test_conformance.py")
    chosen = [f"{tests}::Test_{name}" for name in names] or [str(tests)]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", *chosen], plugins=[table])
    # What pytest says is of interest only where something is wrong.
    print(f"{said.getvalue() if code else ''}{table}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
