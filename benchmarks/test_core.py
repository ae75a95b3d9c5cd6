"""The compiled core on one page of 1,000 entries, as objects and as text: hashed, deduplicated, encoded, compressed."""

import pytest

from benchmarks import baseline
from benchmarks.work import METADATA, PAGE
from grove import RawPage, _core
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


def test_scan(benchmark, kind):
    (body,) = kind.bodies(1)
    assert len(benchmark(RawPage, body)) == PAGE


@pytest.mark.parametrize("told", [True, False], ids=["told when scanned", "looked for later"])
def test_raw_pointers(benchmark, kind, told):
    (body,) = kind.bodies(1)
    path = _core.pointer_path(kind.path)

    def page():
        return (RawPage(body, "", kind.path if told else ""),), {}

    assert None not in benchmark.pedantic(path.pointers, setup=page, rounds=200, warmup_rounds=5)


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


@pytest.mark.parametrize("codec", [None, GZIP], ids=["lines", "gzip"])
def test_encode_raw(benchmark, kind, codec):
    (body,) = kind.bodies(1)
    page = RawPage(body, "", kind.path)

    def encode():
        # Lines that nobody has compressed are put together when they are asked for.
        made = _core.encode(page, METADATA, codec)
        return made.data if codec is None else made.packed

    assert benchmark(encode)


def test_encode_baseline(benchmark, kind):
    page = kind.page()
    benchmark(baseline.encode, page, METADATA)


def test_gzip(benchmark, kind):
    data = _core.encode(kind.page(), METADATA).data
    packed = benchmark(GZIP.pack, data)
    benchmark.extra_info["times_smaller"] = round(len(data) / len(packed), 2)
