"""`http_json`: a configuration document alone collects an API, whatever its order and paging."""

from typing import Any

import pytest

from grove.testing.practice import PracticeAPI
from grove.testing.practice_faults import status

from .conftest import PAGING, Streams, document


@pytest.fixture(params=["oldest_first", "newest_first"])
def order(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("paging", PAGING)
def test_every_order_and_paging(streams: Streams, order: Any, paging: Any) -> None:
    with PracticeAPI(420, order=order, paging=paging, page_size=50) as api:
        first = streams.run(document(api))
        assert first.failure is None
        assert first.outcome == "succeeded"
        api.offer(30, tied=True)
        api.offer(75)
        assert streams.run(document(api)).outcome == "succeeded"
        report = api.compare(streams.delivered())
    assert report.exact, report


@pytest.mark.parametrize("paging", PAGING)
def test_a_request_that_fails_in_the_middle(streams: Streams, order: Any, paging: Any) -> None:
    with PracticeAPI(420, order=order, paging=paging, page_size=50) as api:
        api.fault(4, status(400))
        failed = streams.run(document(api))
        assert failed.outcome == "failed"
        assert "answered status 400" in str(failed.failure)
        delivered = len(streams.delivered())
        assert 0 < delivered < 420
        api.offer(10, tied=True)
        assert streams.run(document(api)).outcome == "succeeded"
        report = api.compare(streams.delivered())
    assert report.exact, report
