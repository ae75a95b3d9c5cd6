"""Credentials that run out, are taken back, replaced or not enough: renewed once, said in words, and never shown."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from grove.exceptions import RequestFailedException
from grove.logging import GroveFormatter
from grove.testing.practice import PracticeAPI
from grove.testing.practice_faults import status

from .streams import Stream

ORDERS = ["oldest_first", "newest_first"]
SECRET = "canary-77f1"


def with_client(order: Any, **how: Any) -> PracticeAPI:
    return PracticeAPI(45, order=order, page_size=10, token="nobody-s", client=("corp", SECRET), **how)


def collect(stream: Stream, api: PracticeAPI, **fields: Any) -> None:
    run = stream.run(api, **fields)
    assert run.outcome == "succeeded", run.failure
    report = stream.compare(api)
    assert report.exact, report


@pytest.mark.parametrize("order", ORDERS)
def test_a_token_that_is_taken_back_is_fetched_anew(stream: Stream, order: Any) -> None:
    with with_client(order) as api:
        api.before(2, api.revoke)
        collect(stream, api)
        assert [request.status for request in api.requests].count(401) == 1
        assert api.tokens_issued == 2


@pytest.mark.parametrize("order", ORDERS)
def test_a_token_whose_time_is_over_is_fetched_anew(stream: Stream, order: Any) -> None:
    with with_client(order, clock=stream.clock, token_lifetime=600) as api:
        # By the server's clock; here, hardly any time has passed.
        api.before(2, lambda: setattr(stream.clock, "now", stream.clock.now + 600))
        collect(stream, api)
        assert api.tokens_issued == 2


@pytest.mark.parametrize("order", ORDERS)
def test_a_token_that_is_refused_however_new_it_is(stream: Stream, order: Any) -> None:
    with with_client(order) as api:
        api.fault(range(3, 100), status(401))
        run = stream.run(api)
        assert isinstance(run.failure, RequestFailedException)
        assert "answered status 401" in str(run.failure)
        assert "Check that the credentials are complete, in force, and of this tenant." in str(run.failure)
        # Once with the old one and once with the new one.
        assert len(api.requests) == 4
        assert api.tokens_issued == 2
        stream.check_position(api)
        api.heal()
        collect(stream, api)


@pytest.mark.parametrize("order", ORDERS)
def test_no_token_is_to_be_had(stream: Stream, order: Any) -> None:
    with with_client(order) as api:
        run = stream.run(api, client_secret="another")
        assert isinstance(run.failure, RequestFailedException)
        assert "/token" in str(run.failure)
        assert "Check the client id, the client secret" in str(run.failure)
        assert api.requests == []
        collect(stream, api)


@pytest.mark.parametrize("order", ORDERS)
def test_a_key_that_is_replaced(stream: Stream, order: Any) -> None:
    with PracticeAPI(45, order=order, page_size=10, token=SECRET) as api:
        api.before(3, lambda: setattr(api, "token", "the new one"))
        run = stream.run(api)
        # The page that was being asked for already is let in; the one after it is not.
        assert "answered status 401" in str(run.failure)
        assert [request.status for request in api.requests] == [200, 200, 200, 401]
        stream.check_position(api)
        assert stream.run(api, key=SECRET).outcome == "failed"
        collect(stream, api)


@pytest.mark.parametrize("order", ORDERS)
def test_a_key_that_may_not_read_the_log(stream: Stream, order: Any) -> None:
    with PracticeAPI(45, order=order, page_size=10) as api:
        api.fault(range(3, 100), status(403))
        run = stream.run(api)
        assert "Check that the credentials may read this log, and that the tenant's plan includes it." in str(
            run.failure
        )
        assert len(api.requests) == 3
        stream.check_position(api)
        api.heal()
        collect(stream, api)


@pytest.mark.parametrize("code", [400, 401, 403, 500])
def test_no_error_shows_the_credentials(stream: Stream, caplog: pytest.LogCaptureFixture, code: int) -> None:
    caplog.set_level(logging.DEBUG, logger="grove")
    with with_client("oldest_first") as api:
        api.fault(range(2, 100), status(code, f'{{"you sent":"{SECRET} issued-1"}}'.encode()))
        run = stream.run(api)
        assert f"status {code}" in str(run.failure)
        shown = str(run.failure) + "".join(GroveFormatter({}).format(record) for record in caplog.records)
    assert SECRET not in shown
    assert "issued-1" not in shown
