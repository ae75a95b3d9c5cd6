"""The documents for `http_json` collect the API that they are made for, whatever it is like."""

import pytest

from grove.connectors.http_json import Connector
from grove.models import ConnectorConfig
from grove.testing.practice import PracticeAPI
from grove.testing.practice_documents import http_json

ORDERS = ["oldest_first", "newest_first"]


def collect(folder, api, **fields):
    document = ConnectorConfig(**http_json(api, **fields))
    connector = Connector(document, {}, cache=folder.cache, output=folder.output)
    connector.run()
    assert connector.outcome == "succeeded", connector.failure


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", ["cursor", "next_link", "offset", "keyset"])
@pytest.mark.parametrize("filters", ["inclusive", "exclusive"])
@pytest.mark.parametrize("granularity", ["day", "second", "millisecond"])
def test_everything_arrives_once(folder, order, paging, filters, granularity):
    with PracticeAPI(50, order=order, paging=paging, filters=filters, granularity=granularity, page_size=20) as api:
        collect(folder, api)
        api.offer(9, tied=True)
        api.offer(30)
        collect(folder, api)
        report = api.compare(folder.delivered())
    assert report.exact, report


@pytest.mark.parametrize("shape", ["second", "unix", "date", "github", "okta"])
def test_every_shape_has_its_own_way_to_write_the_time(folder, shape):
    with PracticeAPI(15, shape=shape, page_size=10) as api:
        collect(folder, api)
        api.offer(5)
        collect(folder, api)
        assert api.compare(folder.delivered()).exact
        assert "since" in api.requests[-1].query
        assert {request.status for request in api.requests} == {200}


def test_tokens_are_asked_for(folder):
    with PracticeAPI(15, token="nobody knows", client=("corp", "hidden"), page_size=10) as api:
        collect(folder, api)
        assert api.compare(folder.delivered()).exact
        assert api.tokens_issued == 1
        # The document's own fields are what the credentials are made of, also where it does not say so.
        collect(folder, api, auth={"type": "oauth2", "token_url": api.token_url})
        assert api.tokens_issued == 1
    with PracticeAPI(5, token=None, ids=False) as api:
        assert "auth" not in http_json(api)


def test_fields_can_be_said_otherwise():
    with PracticeAPI(1) as api:
        assert http_json(api, lookback=5, name="mine") == {**http_json(api), "lookback": 5, "name": "mine"}
