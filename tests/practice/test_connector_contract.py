"""The contract of connectors holds for those of the practice API and for `http_json`, and notices what breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from grove.testing import ConnectorContract, NewestFirstConnector, PracticeAPI, PracticeConnector

TEN_YEARS = 10 * 365 * 86_400

pytest_plugins = ("pytester",)


class TestOldestFirst(ConnectorContract):
    CONNECTOR = PracticeConnector

    def document(self, api: PracticeAPI) -> dict[str, Any]:
        return {"url": api.url, "key": api.token}


class TestNewestFirst(TestOldestFirst):
    CONNECTOR = NewestFirstConnector
    PAGING = "next_link"


class TestHttpJson(ConnectorContract):
    ORDER = "newest_first"

    def document(self, api: PracticeAPI) -> dict[str, Any]:
        return {
            "url": api.url,
            "key": api.token,
            "auth": {"type": "header"},
            "params": {"since": "{since}", "limit": 20},
            "entries": "entries",
            "first_run": TEN_YEARS,
            "paging": {"type": "token", "path": "next_cursor", "param": "cursor"},
            "pointer_path": "at",
            "order": "newest_first",
        }


class TestHttpJsonByOffset(TestHttpJson):
    ORDER = "oldest_first"
    PAGING = "offset"

    def document(self, api: PracticeAPI) -> dict[str, Any]:
        paging = {"type": "offset", "size": 20, "size_param": "limit"}
        return {**super().document(api), "order": self.ORDER, "paging": paging}


BROKEN = """
from grove.constants import CHRONOLOGICAL
from grove.testing import ConnectorContract, PracticeConnector

class Forgetful(PracticeConnector):
    def collect(self):
        # It asks for everything each time, and moves its pointer before it has saved.
        for entries in self._by_http({}):
            if entries:
                self.pointer = entries[-1]["at"]
            self.save(entries)

class TestForgetful(ConnectorContract):
    CONNECTOR = Forgetful

    def document(self, api):
        return {"url": api.url, "key": api.token}
"""


def test_a_connector_that_breaks_it_is_found_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(BROKEN)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] >= 2
    result.stdout.fnmatch_lines(["*FAILED*test_resume*"])
    result.stdout.fnmatch_lines(["*connector contract*", "*::TestForgetful (practice)", "  DOES NOT HOLD: *resume*"])


KEPT = """
from grove.testing import ConnectorContract

class TestMine(ConnectorContract):
    ORDER, PAGING = "oldest_first", "offset"

    def document(self, api):
        return {
            "url": api.url, "key": api.token, "auth": {"type": "header"}, "params": {"since": "{since}", "limit": 20},
            "entries": "entries", "first_run": 1e9, "paging": {"type": "offset", "size": 20, "size_param": "limit"},
            "pointer_path": "at", "order": "oldest_first",
        }
"""


def test_what_holds_and_what_does_not_apply_is_printed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(KEPT)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*connector contract*",
            "*::TestMine (http_json)",
            "  holds: first run, resume, empty page, ties over a page edge, rate limit, *kill in the middle, *",
            "  does not apply: repeated page, because pages by offset are asked for by place, and none is given twice",
            "  does not apply: cursor loop, because pages by offset have no cursor that could lead back",
        ]
    )
