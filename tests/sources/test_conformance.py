"""Every built-in source keeps the contract of connectors, with the pages, limits and credentials of its vendor."""

from __future__ import annotations

import pytest

from tests.practice.test_connector_contract import TestHttpJson as HttpJsonContract

from .conformance import BUILT_IN, NO_API, Table, contract_of
from .conftest import VENDORS

for _vendor in VENDORS.values():
    _contract = contract_of(_vendor)
    globals()[_contract.__name__] = _contract


class Test_http_json(HttpJsonContract):
    """Against the practice API, as it has no vendor of its own."""


# Named here only to be inherited.
del HttpJsonContract


def test_no_source_is_missing() -> None:
    here = {name.removeprefix("Test_") for name in globals() if name.startswith("Test_")}
    assert set(BUILT_IN.values()) - here - NO_API.keys() == set()


def report(test: str, outcome: str, why: str = "") -> pytest.TestReport:
    longrepr = ("contract.py", 1, f"Skipped: {why}") if outcome == "skipped" else None
    return pytest.TestReport(f"t.py::{test}", ("t.py", 1, test), {}, outcome, longrepr, "call")  # type: ignore[arg-type]


def test_the_table_says_what_holds_and_why_the_rest_does_not_apply() -> None:
    table = Table()
    for item in (
        report("Test_one::test_resume", "passed"),
        report("Test_one::test_cursor_loop", "skipped", "there is no cursor"),
        report("Test_two::test_rate_limit[1]", "failed"),
        report("Test_two::test_rate_limit[2]", "passed"),
        report("Test_two::test_resume", "skipped", "there is no cursor"),
        report("test_that_is_of_no_source", "failed"),
    ):
        table.pytest_runtest_logreport(item)
    lines = str(table).splitlines()
    heads = [head.strip() for head in lines[0].strip("|").split("|")]
    rows = {
        cells[0]: {head: cell for head, cell in zip(heads, cells, strict=True) if cell}
        for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if "|" in line)
    }
    assert rows["one"] == {"source": "one", "resume": "holds", "cursor loop": "- [1]"}
    assert rows["two"] == {"source": "two", "rate limit": "FAILS", "resume": "- [1]"}
    assert set(rows["local_heartbeat"].values()) == {"local_heartbeat", "- [2]"}
    assert "[1] does not apply: there is no cursor" in lines
