"""Whatever the order, paging and granularity: a client that follows the pages gets the truth."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
import requests

import grove.testing
from grove.exceptions import RequestFailedException
from grove.testing.practice import TOKEN, PracticeAPI
from grove.testing.practice_shapes import SHAPES

ORDERS = ["oldest_first", "newest_first"]
PAGINGS = ["cursor", "next_link", "offset", "keyset"]


def ids(entries):
    return [entry["id"] for entry in entries]


def times(entries):
    return [entry["at"] for entry in entries]


@pytest.mark.parametrize("paging", PAGINGS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("granularity", ["day", "second", "millisecond"])
@pytest.mark.parametrize("ties", ["arrival", "shuffled"])
def test_a_client_that_follows_the_pages_gets_the_truth(client, paging, order, granularity, ties):
    with PracticeAPI(30, order=order, paging=paging, granularity=granularity, ties=ties, page_size=7) as api:
        api.offer(9, tied=True)
        api.offer(5, late=20)
        api.offer(2)
        found = client(api)
        assert api.compare(found).exact
        assert times(found) == sorted(times(found), reverse=order == "newest_first")
        assert len(api.requests) == 7
        assert api.served == 46


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("granularity", "since", "until", "expected"),
    [
        ("millisecond", "2025-03-05T00:00:00.250Z", "2025-03-05T00:00:00.750Z", [3, 4, 5]),
        ("second", "2025-03-05T00:00:00.250Z", "2025-03-05T00:00:00.750Z", [2, 3, 4, 5]),
        ("day", "2025-03-05T00:00:00.250Z", "2025-03-05T00:00:00.750Z", [2, 3, 4, 5, 6, 7]),
        ("day", "2025-03-04", "2025-03-04", [0, 1]),
        ("second", "2025-03-04T23:59:59+00:00", "2025-03-04T23:59:59", [0, 1]),
        ("millisecond", "2025-03-04T23:59:59.750Z", "2025-03-04T23:59:59.750Z", [1]),
        ("millisecond", "2030-01-01", "2031-01-01", []),
    ],
)
def test_filters_are_inclusive_and_no_finer_than_the_granularity(order, granularity, since, until, expected):
    days = ["2025-03-04T23:59:59.500", "2025-03-04T23:59:59.750"]
    days += [f"2025-03-05T00:00:{second}" for second in ("00.000", "00.250", "00.500", "00.750", "01.000", "01.250")]
    entries = [{"id": str(number), "at": f"{moment}Z"} for number, moment in enumerate(days)]
    api = PracticeAPI(entries, order=order, granularity=granularity)
    page = api.page({"since": since, "until": until})
    assert sorted(int(number) for number in ids(page.entries)) == expected
    assert page.next is None


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", ["cursor", "next_link", "keyset"])
def test_pages_by_place_do_not_shift_when_entries_arrive(client, order, paging):
    with PracticeAPI(20, order=order, paging=paging, page_size=6) as api:
        there = ids(api.offered)
        api.before(2, lambda: api.offer(4))
        api.before(3, lambda: api.offer(1, late=19))
        found = ids(client(api))
    assert len(set(found)) == len(found)
    assert set(there) <= set(found)


def test_pages_by_offset_shift_when_entries_arrive(client):
    with PracticeAPI(10, order="newest_first", paging="offset", page_size=5) as api:
        api.before(2, lambda: api.offer(2))
        found = ids(client(api))
    assert len(found) == 12
    assert len(set(found)) == 10


def test_ties_can_lie_in_another_order_than_they_arrived():
    arrived, shuffled = PracticeAPI(1), PracticeAPI(1, ties="shuffled")
    for api in (arrived, shuffled):
        api.offer(20, tied=True)
    assert arrived.page().entries == arrived.offered
    assert shuffled.page().entries != shuffled.offered
    assert shuffled.compare(shuffled.page().entries).exact


def test_entries_arrive_where_their_time_says():
    api = PracticeAPI(3, spacing=60)
    first, second, third = times(api.offered)
    assert times(api.offer(2, tied=True)) == [third, third]
    assert times(api.offer(2, at=second)) == [second, second]
    late = times(api.offer(2, late=90))
    assert first < late[0] < second < late[1] < third
    assert times(api.offer(1))[0] > third
    assert times(api.page().entries) == sorted(times(api.offered))
    assert len(set(ids(api.offered))) == 10


def test_entries_are_taken_as_they_are():
    api = PracticeAPI([{"at": "2025-01-02"}, {"at": "2025-01-01T23:00:00+01:00"}, {"no": "time"}], ids=False)
    assert api.page().entries == [{"at": "2025-01-01T23:00:00+01:00"}, {"at": "2025-01-02"}, {"no": "time"}]
    assert "id" not in api.offer(1)[0]


@pytest.mark.parametrize("entry", [{"at": 1}, {"at": "x", "id": "e-0000000"}])
def test_an_entry_that_cannot_be_served_is_refused(entry):
    with pytest.raises((TypeError, ValueError)):
        PracticeAPI(1, paging="keyset").offer([entry])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ORDERS)
def test_every_shape_pages_and_filters(shape, order):
    api = PracticeAPI(40, shape=shape, order=order, page_size=9, spacing=0.3)
    pointer = api.shape.pointer
    middle = api.offered[25][pointer]
    found, query = [], {"since": str(middle)}
    while query is not None:
        page = api.page(query)
        found, query = found + page.entries, page.next
    wanted = [entry for entry in api.offered if entry[pointer] >= middle]
    assert len(wanted) >= 15
    assert sorted(ids(found)) == sorted(ids(wanted))


@pytest.mark.parametrize("shape", ["second", "unix"])
def test_coarse_times_tie_within_a_second_and_go_on_after_it(shape):
    api = PracticeAPI(8, shape=shape, spacing=0.25)
    for _ in range(8):
        api.offer(1)
    values = times(api.offered)
    assert [values.count(value) for value in sorted(set(values))] == [4, 4, 4, 4]


def test_old_entries_are_not_served_any_more():
    api = PracticeAPI(10, retention=3)
    assert api.page().entries == api.available == api.offered[-4:]
    api.retention = None
    api.expire(6)
    assert api.page().entries == api.available == api.offered[-4:]
    report = api.compare(api.offered[5:9])
    assert (len(report.lost), len(report.expired)) == (1, 5)


def test_short_and_altered_pages(client):
    with PracticeAPI(10, page_size=4) as api:
        api.short(1, 0)
        api.short(3, 1)
        assert ids(client(api)) == ids(api.offered)
        assert len(api.requests) == 5
        api.alter(1, lambda page: type(page)(page.entries[:1], None))
        assert ids(client(api)) == ids(api.offered[:1])


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"until": ""},
        {"cursor": "!"},
        {"cursor": "WzFd"},
        {"limit": "0"},
        {"limit": "many"},
        {"offset": "-1"},
        {"after": "nobody"},
        {"form": "long"},
    ],
)
def test_a_query_that_cannot_be_understood_is_refused(query):
    with PracticeAPI(3) as api:
        answer = requests.get(api.url, query, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
        assert answer.status_code == api.requests[-1].status == 400
        assert answer.json()["error"]
        with pytest.raises(RequestFailedException, match="400"):
            api.page(query)


@pytest.mark.parametrize(
    ("path", "token", "status"), [("", TOKEN, 200), ("", "wrong", 401), ("", "", 401), ("/more", TOKEN, 404)]
)
def test_the_token_and_the_path_have_to_be_right(path, token, status):
    with PracticeAPI(1) as api:
        answer = requests.get(api.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=10)
        assert (answer.status_code, api.requests[0].status) == (status, status)
        api.token = None
        assert requests.get(api.url, timeout=10).status_code == 200


def test_requests_are_recorded():
    with PracticeAPI(1) as api:
        requests.get(
            api.url, {"since": "2025-01-01", "limit": 5}, headers={"Authorization": "Bearer practice"}, timeout=10
        )
    (request,) = api.requests
    assert (request.number, request.query) == (1, {"since": "2025-01-01", "limit": "5"})
    assert request.headers["Authorization"] == "Bearer practice"
    assert "Bearer" not in repr(request)


@pytest.mark.parametrize(
    "choice", [{"order": "sideways"}, {"paging": "page"}, {"granularity": "minute"}, {"ties": "random"}]
)
def test_a_choice_that_does_not_exist_is_named(choice):
    (value,) = choice.values()
    with pytest.raises(ValueError, match=value):
        PracticeAPI(**choice)


def test_without_a_server_there_is_no_url():
    with pytest.raises(RuntimeError, match="with PracticeAPI"):
        PracticeAPI().url  # noqa: B018


def test_what_json_can_say_is_served_as_it_is(client):
    odd = {"id": "1", "at": "2025-01-01", "lone": "\ud83d", "big": 10**30, "text": "ü\u2028\n", "nested": [{}, None]}
    with PracticeAPI([odd]) as api:
        assert client(api) == [odd]


def test_the_clock_shows_in_the_date_header():
    moment = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    with PracticeAPI(clock=moment.timestamp, token=None) as api:
        assert requests.get(api.url, timeout=10).headers["Date"] == "Tue, 06 May 2031 07:08:09 GMT"


def test_names_of_the_package_are_loaded_when_they_are_used():
    code = "import sys, grove.testing as t; print('requests' in sys.modules, t.PracticeAPI.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False PracticeAPI\n"
    assert [name for name in grove.testing.__all__ if not hasattr(grove.testing, name)] == []
    with pytest.raises(AttributeError, match="nothing_here"):
        grove.testing.nothing_here  # noqa: B018
