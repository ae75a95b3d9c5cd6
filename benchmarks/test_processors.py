"""Processors on a page of 1,000 entries, beside the same work in plain Python.

That asks `jmespath.search` for each expression, and copies entries by way of JSON. The ratio is measured in one run,
so that a busy machine slows both: `python -m pytest benchmarks/test_processors.py -s`
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.ratio import ratio
from benchmarks.work import PAGE
from grove import _core
from grove.helpers import plugin
from grove.models import ProcessorConfig
from grove.testing.entries import okta_entries
from tests.processors import reference

pytestmark = pytest.mark.benchmark(group="processors")

FIELDS = [
    {"destination": ["time"], "sources": ["published"]},
    {"destination": ["user", "name"], "sources": ["actor.displayName", "actor.alternateId"]},
    {"destination": ["source.ip"], "sources": ["client.ipAddress"]},
    {"destination": ["event", "action"], "sources": ["eventType"]},
    {"destination": ["event", "kind"], "static": "audit"},
    {"destination": ["event", "outcome"], "sources": ["outcome.result"]},
]
FILTERS = ["test", "actor.type == 'SystemPrincipal'", "outcome.reason"]
REMOVED = [["client", "ipAddress"], ["debugContext", "debugData"], ["securityContext"], ["nowhere"]]

Process = Callable[[dict[str, Any]], list[dict[str, Any]]]


def listed(entry: dict[str, Any]) -> dict[str, Any]:
    """With lists to split and zip, such as Google Workspace sends."""
    parameters = [{"name": f"parameter {number}", "value": number} for number in range(8)]
    return {**entry, "events": [{"name": "login", "parameters": parameters}, {"name": "logout"}]}


def copied(entry: dict[str, Any]) -> dict[str, Any]:
    """A copy that the next processor may change."""
    made: dict[str, Any] = json.loads(json.dumps(entry))
    return made


CASES: dict[str, tuple[dict[str, Any], Process]] = {
    "extract_paths": (
        {
            "fields": [
                {**field, "destination": ".".join(f"'{name}'" for name in field["destination"])} for field in FIELDS
            ]
        },
        lambda entry: reference.extract_paths(entry, FIELDS),
    ),
    "filter_entries": ({"filters": FILTERS}, lambda entry: reference.filter_entries(entry, FILTERS)),
    "filter_paths": (
        {"sources": [".".join(path) for path in REMOVED]},
        lambda entry: reference.filter_paths(entry, REMOVED),
    ),
    "split_path": (
        {"source": "events"},
        lambda entry: [copied(made) for made in reference.split_path(entry, "events", ["events"])],
    ),
    "zip_paths": (
        {"source": "events[0].parameters", "key": "name", "values": ["value", "intValue"]},
        lambda entry: reference.zip_paths(
            entry, "events[0].parameters", ["events", 0, "parameters"], "name", ["value", "intValue"]
        ),
    ),
}


@pytest.fixture
def page() -> list[dict[str, Any]]:
    return [listed(entry) for entry in okta_entries(PAGE)]


def ours(name: str) -> Process:
    config = ProcessorConfig.model_validate({"name": "bench", "processor": name, **CASES[name][0]})
    process: Process = plugin.load_handler(name, "grove.processors", config).process
    return process


def run(process: Process, page: list[dict[str, Any]], copy: Any = _core.copy_entry) -> list[dict[str, Any]]:
    """As a connector does it: processors are given a copy of the entry."""
    return [made for entry in page for made in process(copy(entry))]


@pytest.mark.parametrize("name", CASES)
def test_process(benchmark, page, name):
    process = ours(name)
    made = benchmark(run, process, page)
    assert made == run(CASES[name][1], page)


@pytest.mark.parametrize("name", CASES)
def test_ratio(benchmark, page, name):
    process, plain = ours(name), CASES[name][1]
    mine, theirs, found = benchmark.pedantic(
        lambda: ratio(lambda: run(process, page), lambda: run(plain, page, copied)), rounds=1
    )
    benchmark.extra_info.update(
        entries_per_second=round(PAGE / mine), plain=round(PAGE / theirs), ratio=round(found, 2)
    )
    print(f"{name}: {PAGE / mine:,.0f} entries/s, plain Python {PAGE / theirs:,.0f}, ratio {found:.1f}")
