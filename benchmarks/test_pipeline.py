"""A page, as objects and as text, through a durable save() into gzip files and LMDB; a commit; an idle run."""

import json

import orjson
import pytest

from benchmarks.work import METADATA, NewestSaver, Saver
from grove import RawPage
from grove.caches import Batch, Key

pytestmark = pytest.mark.benchmark(group="pipeline")


@pytest.mark.parametrize("cls", [Saver, NewestSaver], ids=["oldest_first", "newest_first"])
def test_save(benchmark, kind, connector, cls):
    pages = iter(kind.pages(40))
    target = connector(kind.path, cls)
    target.lock()

    def page():
        entries = next(pages)
        return ((entries[::-1] if cls is NewestSaver else entries,), {})

    benchmark.pedantic(target.save, setup=page, rounds=30, warmup_rounds=3)
    target.unlock()


@pytest.mark.parametrize("cls", [Saver, NewestSaver], ids=["oldest_first", "newest_first"])
def test_save_raw(benchmark, kind, connector, cls):
    pages = [page[::-1] if cls is NewestSaver else page for page in kind.pages(40)]
    bodies = iter([orjson.dumps(page) for page in pages])
    target = connector(kind.path, cls)
    target.lock()
    # A page is scanned as it is made, which is a part of the work.
    benchmark.pedantic(
        lambda body: target.save(RawPage(body, "", kind.path)),
        setup=lambda: ((next(bodies),), {}),
        rounds=30,
        warmup_rounds=3,
    )
    target.unlock()


def test_save_raw_baseline(benchmark, kind, plain):
    bodies = iter(kind.bodies(12))
    collector = plain(kind.path)
    benchmark.pedantic(
        lambda body: collector.save(json.loads(body), METADATA),
        setup=lambda: ((next(bodies),), {}),
        rounds=8,
        warmup_rounds=1,
    )


def test_save_baseline(benchmark, kind, plain):
    pages = iter(kind.pages(12))
    collector = plain(kind.path)
    benchmark.pedantic(collector.save, setup=lambda: ((next(pages), METADATA), {}), rounds=8, warmup_rounds=1)


def test_save_all_seen(benchmark, kind, connector):
    page = kind.page()
    target = connector(kind.path)
    target.save(page)
    benchmark(target.save, page)
    target.unlock()


def test_commit(benchmark, cache):
    number = iter(range(10_000_000))

    def commit():
        value = str(next(number))
        batch = Batch()
        for kind in ("pointer", "pointer_previous", "boundary", "sequence", "pending", "epoch"):
            batch.set(Key(f"{kind}.benchmark.0123456789abcdef", "all"), value * 4)
        cache.apply(batch)

    benchmark(commit)


def test_idle_run(benchmark, connector):
    target = connector(frequency=1)
    benchmark(target.run)
