"""Generated entries are the same every time, and of the size and variety of real ones."""

import gzip
import json
from itertools import pairwise

import pytest

from grove import _core
from grove.testing.entries import github_entries, okta_entries
from grove.testing.practice import PracticeAPI


def encoded(entries):
    return b"\n".join(json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() for entry in entries)


@pytest.mark.parametrize("start", [0, 50_000])
@pytest.mark.parametrize(("make", "size"), [(github_entries, 490), (okta_entries, 1_900)], ids=["github", "okta"])
def test_size_and_variety(make, size, start):
    data = encoded(make(1_000, start))
    assert abs(len(data) / 1_000 - size) < size / 10
    assert 5 <= len(data) / len(gzip.compress(data, 9)) <= 8


@pytest.mark.parametrize(
    ("make", "path", "kind"), [(github_entries, '"@timestamp"', int), (okta_entries, "published", str)]
)
def test_pointers_ascend_and_entries_differ(make, path, kind):
    entries = make(500)
    assert {type(_core.pointer_path(path).search(entry)) for entry in entries} == {kind}
    assert _core.order(_core.pointer_path(path).pointers(entries)).ascending
    assert len({_core.hash_entry(entry) for entry in entries}) == 500


@pytest.mark.parametrize("make", [github_entries, okta_entries])
def test_the_same_number_is_the_same_entry(make):
    assert make(10, start=5) == make(15)[5:]


def test_large_entries_are_nested_and_not_all_ascii():
    data = encoded(okta_entries(50))
    assert len(data) > len(data.decode())
    assert all(isinstance(entry["request"]["ipChain"][0], dict) for entry in okta_entries(5))


@pytest.mark.parametrize("shape", ["plain", "github", "okta"])
def test_the_api_gives_each_an_id_and_its_own_time(shape):
    api = PracticeAPI(100, shape=shape, spacing=2)
    assert len({entry["id"] for entry in api.offered}) == 100
    moments = [api.shape.read(entry[api.shape.pointer]) for entry in api.offered]
    assert {later - earlier for earlier, later in pairwise(moments)} == {2_000_000}
    assert _core.pointer_path(api.shape.path).search(api.offered[0]) == api.offered[0][api.shape.pointer]
