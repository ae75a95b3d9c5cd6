"""A run that does not come back: whatever it still tries, it commits nothing, and the next run need not wait."""

import pytest

from grove.caches import Key
from grove.exceptions import AccessException, GroveException
from tests.engine.conftest import plain


def abandon_at(monkeypatch, connector, handler, method):
    """Give the run up, as another thread would, when it comes to a step; the step itself then goes on."""
    real = getattr(handler, method)

    def step(*args, **kwargs):
        monkeypatch.undo()
        connector.abandon()
        return real(*args, **kwargs)

    monkeypatch.setattr(handler, method, step)


def hung(make, pages=([{"at": 1}], [{"at": 2}])):
    return make(pages=list(pages), run=False)


def pointer(cache, connector):
    return cache.read([Key(connector.cache_key("pointer"), "all")])[0]


@pytest.mark.parametrize("step", ["stage", "settle", "apply"])
def test_nothing_is_committed_after_a_run_was_given_up(make, cache, output, delivered, monkeypatch, step):
    connector = hung(make, [[{"at": 1}], [{"at": 2}]])
    make(pages=[[{"at": 0}]])
    handler = cache if step == "apply" else output

    def in_the_second_page(running):
        abandon_at(monkeypatch, running, handler, step)

    connector.pages = [[{"at": 1}], in_the_second_page, [{"at": 2}], [{"at": 3}]]
    connector.run()
    assert connector.outcome == "failed"
    assert plain(delivered()) == [{"at": 0}, {"at": 1}]
    assert pointer(cache, connector) == "1"
    # The next run has not waited, and repeats nothing.
    assert make(pages=[[{"at": 1}, {"at": 2}]]).outcome == "succeeded"
    assert plain(delivered()) == [{"at": 0}, {"at": 1}, {"at": 2}]


def test_a_page_that_was_committed_before_is_published_once(make, cache, output, delivered, monkeypatch):
    connector = hung(make)
    abandon_at(monkeypatch, connector, output, "publish")
    connector.run()
    assert connector.outcome == "stopped"
    assert make(pages=[[{"at": 1}, {"at": 2}]]).outcome == "succeeded"
    assert plain(delivered()) == [{"at": 1}, {"at": 2}]


def test_a_run_that_comes_back_while_the_next_one_runs_is_refused(make, cache, delivered):
    connector = hung(make)

    def meanwhile(running):
        running.abandon()
        make(pages=[[{"at": 1}, {"at": 2}, {"at": 3}]])

    connector.pages = [meanwhile, lambda running: setattr(running, "pointer", "0")]
    connector.run()
    assert connector.outcome == "failed"
    assert pointer(cache, connector) == "3"
    assert plain(delivered()) == [{"at": 1}, {"at": 2}, {"at": 3}]


def test_the_pointer_cannot_be_set_after_a_run_was_given_up(make, cache):
    connector = hung(make)
    connector.pages = [lambda running: running.abandon(), lambda running: setattr(running, "pointer", "7")]
    connector.run()
    assert connector.outcome == "failed"
    assert pointer(cache, connector) is None


def test_a_run_that_is_given_up_while_it_takes_its_lease_gives_it_back(make, cache, monkeypatch):
    connector = hung(make)
    # There is no run yet that could be revoked.
    abandon_at(monkeypatch, connector, cache, "apply")
    connector.run()
    assert connector.outcome == "failed"
    assert cache.read([Key(connector.cache_key("execution_lock"), "all")]) == [None]
    assert pointer(cache, connector) is None


def test_giving_up_takes_the_lease_and_ends_the_epoch(make, cache):
    connector = hung(make)
    connector.lock()
    keys = [Key(connector.cache_key(kind), "all") for kind in ("execution_lock", "epoch")]
    before = cache.read(keys)
    connector.abandon()
    connector.abandon()
    after = cache.read(keys)
    assert before[0] is not None
    assert after == [None, str(int(before[1]) + 1)]


def test_a_stream_that_somebody_else_has_by_now_is_left_alone(make, cache):
    connector = hung(make)
    connector.lock()
    keys = [Key(connector.cache_key(kind), "all") for kind in ("execution_lock", "epoch")]
    cache.set(*keys[0], "2999-01-01T00:00:00.000000Z")
    cache.set(*keys[1], "9")
    connector.abandon()
    assert cache.read(keys) == ["2999-01-01T00:00:00.000000Z", "9"]


def test_where_the_cache_does_not_answer_the_run_is_given_up_all_the_same(make, cache, output, delivered, monkeypatch):
    connector = hung(make)
    real = output.stage

    def stage(*args):
        def refuse(batch):
            raise AccessException("made up")

        with monkeypatch.context() as patch:
            patch.setattr(cache, "apply", refuse)
            with pytest.raises(AccessException):
                connector.abandon()
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(output, "stage", stage)
        connector.run()
    assert isinstance(connector.failure, GroveException)
    assert pointer(cache, connector) is None
    # This process knows that nobody holds that lease any more.
    assert make(pages=[[{"at": 1}]]).outcome == "succeeded"
    assert plain(delivered()) == [{"at": 1}]


def test_what_went_wrong_is_kept(make):
    error = KeyError("surprise")
    assert make(pages=[error]).failure is error
    assert make(pages=[AccessException("made up")]).failure.args == ("made up",)
    assert make(pages=[[{"at": 1}]]).failure is None
