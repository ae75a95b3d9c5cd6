"""The practice API: whatever the order, paging and granularity, a client that follows it gets the truth."""

import gzip
import json

import pytest
import requests

from grove.caches.local_memory import Handler as MemoryCache
from grove.models import ConnectorConfig
from grove.outputs.local_file import Handler as FileOutput
from grove.testing.entries import github_entries, okta_entries, okta_entry
from grove.testing.practice import (
    TOKEN,
    NewestFirstConnector,
    PracticeAPI,
    PracticeConnector,
    compare,
    read_delivered,
)


def fetch(api, since=None, token=TOKEN):
    """Every entry since a time, as a client without any state gets it."""
    found, url = [], api.url
    query = {} if since is None else {"since": since}
    while url:
        answer = requests.get(url, query, headers={"Authorization": f"Bearer {token}"}, timeout=10)
        answer.raise_for_status()
        page = answer.json()
        found.extend(page["entries"])
        following = answer.links.get("next", {}).get("url")
        if following:
            url, query = following, {}
        elif page.get("next_cursor"):
            query = {**query, "cursor": page["next_cursor"]}
        else:
            url = None
    return found


@pytest.mark.parametrize("paging", ["cursor", "next_link"])
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("granularity", ["millisecond", "second", "day"])
def test_a_client_that_follows_the_pages_gets_the_truth(paging, newest_first, granularity):
    entries = okta_entries(57)
    for number in (10, 11, 12, 13):
        entries[number]["published"] = entries[9]["published"]
    with PracticeAPI(entries, newest_first=newest_first, page_size=5, paging=paging, granularity=granularity) as api:
        assert compare(api.offered, fetch(api)).exact
        assert api.requests[0] == {}
        since = entries[9]["published"]
        found = fetch(api, since)
    times = [entry["published"] for entry in found]
    assert times == sorted(times, reverse=newest_first)
    wanted = [entry for entry in entries if entry["published"] >= since]
    assert not compare(wanted, found).lost
    coarser = len(found) - len(wanted)
    assert coarser == 0 if granularity == "millisecond" else coarser > 0


def test_late_and_tied_entries_take_their_place():
    api = PracticeAPI(okta_entries(10), page_size=100)
    api.offer([{**okta_entry(99), "published": okta_entry(3)["published"]}])
    assert [entry["published"] for entry in api.page({})["entries"]] == sorted(
        entry["published"] for entry in api.offered
    )
    assert len(api.offered) == 11


@pytest.mark.parametrize("query", [{"since": "yesterday"}, {"cursor": "!"}, {"limit": "0"}])
def test_a_query_that_cannot_be_understood_is_refused(query):
    with PracticeAPI(okta_entries(1)) as api:
        answer = requests.get(api.url, query, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_a_wrong_token_is_refused():
    with PracticeAPI(okta_entries(1)) as api, pytest.raises(requests.HTTPError, match="401"):
        fetch(api, token="wrong")


def test_entries_without_a_time_cannot_be_offered():
    with pytest.raises(ValueError, match="published"):
        PracticeAPI([{"published": "soon"}])


def test_compare_finds_what_is_lost_twice_or_foreign():
    entries = okta_entries(3)
    report = compare(entries, [entries[0], entries[0], {"foreign": 1}, {**entries[1], "_grove": {}}])
    assert report.lost == [entries[2]]
    assert {"foreign": 1} in report.twice
    assert len(report.twice) == 2
    assert not report.exact


def test_reading_refuses_files_that_are_not_whole(tmp_path):
    whole = gzip.compress(b'{"a":1}\n')
    path = tmp_path / "a.json.gz"
    path.write_bytes(whole)
    assert read_delivered(tmp_path) == [{"a": 1}]
    path.write_bytes(whole[:-4])
    with pytest.raises(ValueError, match=r"a\.json\.gz"):
        read_delivered(tmp_path)
    path.write_bytes(gzip.compress(b'{"a":1}'))
    with pytest.raises(ValueError, match="last line"):
        read_delivered(tmp_path)


# --- a real connector against it ---


@pytest.fixture
def collect(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(tmp_path / "out"))
    cache, output = MemoryCache(), FileOutput()
    cache._data = {}
    output.setup()

    def run(api, cls=PracticeConnector, **fields):
        config = ConnectorConfig(name="p", identity="i", connector="practice", key=TOKEN, url=api.url, **fields)
        connector = cls(config, {}, cache=cache, output=output)
        connector.run()
        return connector.outcome, read_delivered(tmp_path / "out")

    return run


@pytest.mark.parametrize("cls", [PracticeConnector, NewestFirstConnector])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"reset": True},
        {"truncate": 100},
        {"status": 200, "body": b'{"error":"try later"}'},
        {"status": 200, "body": b"<html>login</html>"},
        {"status": 500, "body": b""},
    ],
    ids=["unavailable", "reset", "truncated", "error-under-200", "html-under-200", "empty-500"],
)
def test_a_failure_in_the_middle_loses_and_repeats_nothing(collect, cls, fault):
    entries = okta_entries(60)
    for number in range(20, 26):
        entries[number]["published"] = entries[19]["published"]
    with PracticeAPI(entries, newest_first=cls is NewestFirstConnector, page_size=7) as api:
        api.fail(after=3, **fault)
        outcome, found = collect(api, cls)
        assert outcome == "failed"
        assert 0 < len(found) < 60
        api.offer(okta_entries(20, start=60))
        outcome, found = collect(api, cls)
        assert outcome == "succeeded"
        assert compare(api.offered, found).exact


def test_being_asked_to_wait_is_waited_for(collect):
    with PracticeAPI(okta_entries(10), page_size=5) as api:
        api.fail(429, after=1, headers={"Retry-After": "0.01"})
        outcome, found = collect(api)
        assert outcome == "succeeded"
        assert compare(api.offered, found).exact


def test_late_entries_arrive_within_the_lookback(collect):
    with PracticeAPI(okta_entries(50), page_size=20) as api:
        collect(api, lookback=5)
        api.offer([{**okta_entry(900), "published": okta_entry(40)["published"]}])
        api.offer(okta_entries(5, start=50))
        outcome, found = collect(api, lookback=5)
        assert outcome == "succeeded"
        assert compare(api.offered, found).exact


@pytest.mark.parametrize(
    ("entries", "size"), [(github_entries(1_000), 490), (okta_entries(1_000), 1_900)], ids=["small", "large"]
)
def test_entries_are_of_the_size_and_variety_of_real_ones(entries, size):
    data = b"\n".join(json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() for entry in entries)
    assert abs(len(data) / len(entries) - size) < size / 10
    assert 5 <= len(data) / len(gzip.compress(data, 9)) <= 8
