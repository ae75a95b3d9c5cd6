"""Pages and cursors that are odd on purpose: exclusive filters, overlaps, repeats, loops, and what expires or goes."""

from itertools import islice

import pytest

from grove.exceptions import RequestFailedException
from grove.testing.practice import PracticeAPI

ORDERS = ["oldest_first", "newest_first"]
PAGINGS = ["cursor", "next_link", "offset", "keyset"]


def ids(entries):
    return [entry["id"] for entry in entries]


def follow(api, query=None):
    """Every page that a client gets which believes each answer."""
    query = query or {}
    while query is not None:
        page = api.page(query)
        yield ids(page.entries)
        query = page.next


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("granularity", "since", "until", "expected"),
    [
        ("millisecond", "2025-03-05T00:00:00.250Z", "2025-03-05T00:00:00.750Z", [4]),
        ("second", "2025-03-04T23:59:59.750Z", "2025-03-05T00:00:01.250Z", [2, 3, 4, 5]),
        ("day", "2025-03-04", "2025-03-06", [2, 3, 4, 5, 6, 7]),
        ("day", "2025-03-04T10:00:00", "2025-03-05T00:00:00.250Z", []),
        ("second", "2025-03-05T00:00:00", "2025-03-05T00:00:00.900Z", []),
    ],
)
def test_exclusive_filters_leave_out_the_whole_unit(order, granularity, since, until, expected):
    moments = ["2025-03-04T23:59:59.500", "2025-03-04T23:59:59.750"]
    moments += [f"2025-03-05T00:00:{second}" for second in ("00.000", "00.250", "00.500", "00.750", "01.000", "01.250")]
    entries = [{"id": str(number), "at": f"{moment}Z"} for number, moment in enumerate(moments)]
    api = PracticeAPI(entries, order=order, granularity=granularity, filters="exclusive")
    assert sorted(int(number) for number in ids(api.page({"since": since, "until": until}).entries)) == expected


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", PAGINGS)
def test_pages_can_overlap(order, paging):
    api = PracticeAPI(12, order=order, paging=paging, page_size=5)
    straight = [row for page in follow(api) for row in page]
    api.overlap(None, 2)
    pages = list(follow(api))
    assert pages == [straight[:5], straight[3:10], straight[8:12]]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("paging", ["cursor", "next_link"])
def test_a_page_can_be_repeated_with_another_cursor(order, paging):
    api = PracticeAPI(12, order=order, paging=paging, page_size=5)
    straight = [row for page in follow(api) for row in page]
    api.repeat([2, 3])
    queries, query = [], {}
    while query is not None:
        queries.append(str(query))
        query = api.page(query).next
    assert len(set(queries)) == len(queries) == 5
    api.repeat([2, 3])
    assert list(follow(api)) == [straight[:5]] * 3 + [straight[5:10], straight[10:]]


@pytest.mark.parametrize("paging", ["cursor", "next_link"])
def test_empty_pages_have_cursors_of_their_own(paging):
    api = PracticeAPI(12, paging=paging, page_size=5)
    api.short(None, 0)
    query, queries = {}, set()
    for _ in range(50):
        page = api.page(query)
        assert page.entries == []
        query = page.next
        queries.add(str(query))
    assert len(queries) == 50
    api.heal()
    assert ids(api.page(query).entries) == ids(api.offered[:5])


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("paging", PAGINGS)
def test_pages_can_lead_back_for_ever(paging, length):
    api = PracticeAPI(70, paging=paging, page_size=10)
    straight = list(follow(api))
    api.loop(6, length)
    pages = list(islice(follow(api), 6 + 3 * length))
    assert pages[:6] == straight[:6]
    assert pages[6:] == straight[6 - length : 6] * 3
    api.heal()
    assert list(follow(api)) == straight


def test_a_loop_has_a_page():
    with pytest.raises(ValueError, match="at least one page"):
        PracticeAPI().loop(1, 0)


@pytest.mark.parametrize("paging", ["cursor", "next_link"])
@pytest.mark.parametrize("status", [400, 410])
def test_cursors_expire(paging, status):
    api = PracticeAPI(30, paging=paging, page_size=10)
    old = api.page().next
    api.expire_cursors(status)
    with pytest.raises(RequestFailedException, match=f"status {status}: the cursor has expired"):
        api.page(old)
    assert ids(api.page(api.page().next).entries) == ids(api.offered[10:20])


def test_entries_can_be_withdrawn():
    api = PracticeAPI(10, paging="offset", page_size=4)
    first = api.page()
    api.withdraw(api.offered[:3])
    # What moved up meanwhile is not seen by a client that counts.
    assert ids(api.page(first.next).entries) == ids(api.offered[7:])
    assert api.available == api.offered[3:]
    with pytest.raises(ValueError, match="no such entry"):
        api.withdraw(api.offered[:1])


def test_a_page_begins_with_no_more_than_there_was():
    api = PracticeAPI(6, page_size=3)
    api.overlap(None, 100)
    since = api.offered[1]["at"]
    assert [len(page) for page in follow(api, {"since": since})] == [3, 5]


def test_the_oldest_entry_that_is_served():
    api = PracticeAPI(10, beginning=1_700_000_000, spacing=5)
    assert api.oldest == 1_700_000_000
    api.retention = 10
    assert api.oldest == 1_700_000_035
    assert PracticeAPI().oldest is None
