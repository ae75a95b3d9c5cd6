"""R11: whatever a source answers, no run hangs or crashes, the state passes nothing, and in the end all is there once.

Each response meets both orders, and both a connector without code and one that somebody wrote around the client.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from grove.exceptions import GroveException
from grove.testing.practice import PracticeAPI
from grove.testing.practice_faults import once, where

from .corpus import RESPONSES, Response
from .streams import Stream

# The third page of five is the one that something is the matter with.
_PAGE = 7
_BEFORE = 2 * _PAGE
_ATTEMPTS = 5

MakeStream = Callable[..., Stream]


def api_for(order: Any) -> PracticeAPI:
    api = PracticeAPI(23, order=order, paging="next_link", page_size=_PAGE, granularity="second")
    api.offer(9, tied=True)
    return api


def third_page(api: PracticeAPI) -> bytes:
    """What is only in the third page."""
    entries = api.available if api.order == "oldest_first" else api.available[::-1]
    return b'"id":"%b"' % entries[_BEFORE]["id"].encode()


def go_on(stream: Stream, api: PracticeAPI) -> None:
    """The fault is over, and entries arrived meanwhile: the next run delivers what is missing."""
    api.heal()
    api.offer(3, tied=True)
    api.offer(5)
    again = stream.run(api)
    assert again.outcome == "succeeded", again.failure
    report = stream.compare(api)
    assert report.exact, report


def test_there_are_enough_of_them() -> None:
    assert len({response.name for response in RESPONSES}) == len(RESPONSES) >= 80


@pytest.mark.parametrize(("order", "kind"), [("oldest_first", "http_json"), ("newest_first", "written")])
@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.name)
def test_a_source_that_goes_on_like_that(make_stream: MakeStream, order: str, kind: str, response: Response) -> None:
    stream = make_stream(kind)
    with api_for(order) as api:
        api.fault(None, where(third_page(api), *response.faults))
        run = stream.run(api, read_timeout=response.timeout)
        if response.meaning == "page":
            assert run.outcome == "succeeded", run.failure
            assert stream.compare(api).exact
        else:
            assert run.outcome == "failed"
            assert isinstance(run.failure, GroveException)
            assert re.search(response.told, str(run.failure)), run.failure
            assert len(stream.delivered()) == _BEFORE
            # It is asked again where that may help, and not otherwise.
            asked = len([request for request in api.requests if request.path == "/entries"])
            assert asked >= 2 + _ATTEMPTS if response.meaning == "passing" else asked == 3
        stream.check_position(api)
        go_on(stream, api)


@pytest.mark.parametrize(("order", "kind"), [("oldest_first", "written"), ("newest_first", "http_json")])
@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.name)
def test_a_source_that_answers_like_that_once(
    make_stream: MakeStream, order: str, kind: str, response: Response
) -> None:
    stream = make_stream(kind)
    with api_for(order) as api:
        api.fault(None, once(where(third_page(api), *response.faults)))
        run = stream.run(api, read_timeout=response.timeout)
        assert run.outcome == ("failed" if response.meaning == "error" else "succeeded"), run.failure
        stream.check_position(api)
        go_on(stream, api)
