"""The compiled core: hashing, deduplication, encoding and compression of one page of 1,000 entries."""

import pytest

from benchmarks import baseline
from benchmarks.conftest import METADATA, PAGE
from grove import _core
from grove.helpers.codecs import GZIP

pytestmark = pytest.mark.benchmark(group="core")


def test_hash(benchmark, kind):
    page = kind.page()
    benchmark(lambda: [_core.hash_entry(entry) for entry in page])


def test_hash_baseline(benchmark, kind):
    page = kind.page()
    benchmark(lambda: [baseline.hash_entry(entry) for entry in page])


def test_pointers(benchmark, kind):
    page, path = kind.page(), _core.pointer_path(kind.path)
    found = benchmark(path.pointers, page)
    assert len(found) == PAGE


def test_order(benchmark, kind):
    pointers = _core.pointer_path(kind.path).pointers(kind.page())
    assert benchmark(_core.order, pointers).ascending


@pytest.mark.parametrize("case", ["all_new", "all_seen", "all_tied", "empty"])
def test_dedup(benchmark, kind, case):
    page = [] if case == "empty" else kind.page()
    path = _core.pointer_path(kind.path)
    pointers = ["tied"] * len(page) if case == "all_tied" else path.pointers(page)
    seen = _core.Seen()
    if case in ("all_seen", "all_tied"):
        seen.remember(pointers, _core.encode(page, METADATA))
        seen.unseen(page, pointers)
    fresh = benchmark(seen.unseen, page, pointers)
    assert len(fresh) == (PAGE if case == "all_new" else 0)


def test_encode(benchmark, kind):
    page = kind.page()
    assert len(benchmark(_core.encode, page, METADATA)) == PAGE


def test_encode_baseline(benchmark, kind):
    page = kind.page()
    benchmark(baseline.encode, page, METADATA)


def test_gzip(benchmark, kind):
    data = _core.encode(kind.page(), METADATA).data
    packed = benchmark(GZIP.pack, data)
    benchmark.extra_info["times_smaller"] = round(len(data) / len(packed), 2)
