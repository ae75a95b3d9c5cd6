"""The practice connectors, with the real engine and real files: through every fault, nothing is lost or repeated."""

import random

import pytest
import requests

from grove.testing.practice import NewestFirstConnector, PracticeAPI, PracticeConnector
from grove.testing.practice_bodies import error_body, html
from grove.testing.practice_faults import drip, rate_limited, reset, slow, stalled, status, truncated

ORDERS = ["oldest_first", "newest_first"]
PAGINGS = ["cursor", "next_link", "offset", "keyset"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("paging", "granularity"),
    [*((paging, "second") for paging in PAGINGS), ("cursor", "day"), ("keyset", "millisecond")],
)
def test_collections_with_new_tied_and_late_entries(folder, order, paging, granularity):
    with PracticeAPI(25, order=order, paging=paging, granularity=granularity, page_size=10) as api:
        for _ in range(3):
            assert folder.collect(api, lookback=60) == "succeeded"
            api.offer(3, tied=True)
            api.offer(4, late=30)
            api.offer(11)
        assert folder.collect(api, lookback=60) == "succeeded"
        report = api.compare(folder.delivered())
    assert report.exact, report


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "fault",
    [
        status(503),
        status(401),
        status(302, headers={"Location": "http://127.0.0.1:9/"}),
        rate_limited(30),
        reset(),
        reset(200),
        truncated(200),
        truncated(200, "chunked"),
        truncated(200, "close"),
        stalled(200),
        html(),
        error_body(),
        error_body(b'{"entries":null}'),
        error_body(b"[]"),
    ],
    ids=[
        "unavailable",
        "unauthorised",
        "redirect",
        "rate-limited",
        "reset",
        "reset-body",
        "cut",
        "cut-chunked",
        "cut-unnoticed",
        "stalled",
        "html",
        "error",
        "null",
        "list",
    ],
)
def test_a_failure_in_the_middle_loses_and_repeats_nothing(folder, order, fault):
    with PracticeAPI(30, order=order, page_size=7) as api:
        api.offer(10, tied=True)
        api.fault(3, fault)
        assert folder.collect(api, timeout=0.2) == "failed"
        assert len(folder.delivered()) == 14
        api.offer(12)
        assert folder.collect(api) == "succeeded"
        report = api.compare(folder.delivered())
    assert report.exact, report


@pytest.mark.parametrize("fault", [slow(0.02), drip(0.001, 100)], ids=["slow", "drip"])
def test_slow_answers_are_collected(folder, fault):
    with PracticeAPI(20, page_size=7) as api:
        api.fault(None, fault)
        assert folder.collect(api) == "succeeded"
        assert api.compare(folder.delivered()).exact


@pytest.mark.parametrize("seed", range(40))
def test_random_histories_without_http(folder, seed):
    chance = random.Random(seed)
    granularity = chance.choice(["day", "second", "millisecond"])
    # A filter that is coarser than the pointer gives back more than was asked for; the lookback has to cover it.
    lookback = 90_000 if granularity == "day" else 600
    api = PracticeAPI(
        chance.randrange(30),
        order=chance.choice(ORDERS),
        paging=chance.choice(["cursor", "next_link", "keyset"]),
        granularity=granularity,
        shape=chance.choice(["plain", "second", "unix"]),
        page_size=chance.choice([3, 5, 20]),
        spacing=chance.choice([0.2, 1.0, 30.0]),
    )
    for _ in range(6):
        if chance.random() < 0.5:
            api.fault(chance.randrange(1, 6), status(500))
        if chance.random() < 0.5:
            api.before(chance.randrange(1, 6), lambda: api.offer(chance.randrange(4), tied=chance.random() < 0.5))
        folder.collect(api, lookback=lookback)
        api.heal()
        api.offer(chance.randrange(8), tied=chance.random() < 0.3)
        api.offer(chance.randrange(3), late=chance.uniform(0, 500))
    assert folder.collect(api, lookback=lookback) == "succeeded"
    report = api.compare(folder.delivered())
    assert report.exact, f"seed {seed}: {report}"


def test_the_truth_would_show_a_loss(folder):
    api = PracticeAPI(30, page_size=7)
    # Without a lookback, what arrives behind the pointer is not asked for.
    assert folder.collect(api) == "succeeded"
    late = api.offer(2, late=20)
    api.offer(5)
    assert folder.collect(api) == "succeeded"
    report = api.compare(folder.delivered())
    assert (report.lost, report.twice, report.foreign) == (late, [], [])


def test_the_document_names_what_the_api_needs():
    with PracticeAPI(1, order="newest_first", shape="github", token="other") as api:
        document = api.document(lookback=5, name="mine")
        assert (document.name, document.key, document.lookback, document.url) == ("mine", "other", 5, api.url)
        connector = api.connector()
        assert type(connector) is NewestFirstConnector
        assert connector.POINTER_PATH == '"@timestamp"'
    assert type(PracticeAPI().connector()) is PracticeConnector


def test_the_token_goes_nowhere_else(folder):
    with PracticeAPI(20, paging="next_link", page_size=5) as api, PracticeAPI(20) as other:
        api.alter(1, lambda page: type(page)(page.entries, {"at": "elsewhere"}))
        api.fault(1, error_body(b'{"entries":[],"next":"%b"}' % other.url.encode()))
        assert folder.collect(api) == "failed"
        assert other.requests == []
        assert requests.get(other.url, timeout=5).status_code == 401


def test_a_document_without_an_address_is_an_error(folder):
    connector = PracticeConnector(PracticeAPI().document(), {}, cache=folder.cache, output=folder.output)
    connector.run()
    assert connector.outcome == "failed"


def test_the_page_size_can_be_asked_for(folder):
    with PracticeAPI(9, page_size=5) as api:
        assert folder.collect(api, page_size=2) == "succeeded"
        assert [request.query["limit"] for request in api.requests] == ["2"] * 5
        assert api.compare(folder.delivered()).exact
