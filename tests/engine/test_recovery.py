"""Streams whose document was removed after their process died."""

import pytest

from grove.exceptions import AccessException
from grove.recovery import recover_unconfigured
from tests.engine.conftest import Scripted, plain


class Death(BaseException):
    """The process is gone before it could publish."""


def die_before_publishing(make, output, monkeypatch, **fields):
    with monkeypatch.context() as patch:
        patch.setattr(output, "publish", lambda staged: (_ for _ in ()).throw(Death))
        connector = make(Scripted, [[{"at": 1}]], run=False, **fields)
        with pytest.raises(Death):
            connector.run()
    return connector


def test_a_committed_page_of_a_removed_stream_is_published(make, cache, output, delivered, monkeypatch):
    connector = die_before_publishing(make, output, monkeypatch)
    assert delivered() == []
    assert recover_unconfigured(cache, output, set(), 300) == 1
    assert plain(delivered()) == [{"at": 1}]
    assert recover_unconfigured(cache, output, set(), 300) == 0
    assert cache.get(connector.cache_key("pointer"), "all") == "1"


def test_configured_streams_are_left_to_their_own_runs(make, cache, output, delivered, monkeypatch):
    connector = die_before_publishing(make, output, monkeypatch)
    configured = {(connector.configuration.reference(), "all")}
    assert recover_unconfigured(cache, output, configured, 300) == 0
    assert delivered() == []
    make(pages=[[{"at": 1}, {"at": 2}]])
    assert plain(delivered()) == [{"at": 1}, {"at": 2}]


def test_a_stream_that_is_held_elsewhere_is_left_alone(make, cache, output, delivered, monkeypatch):
    connector = die_before_publishing(make, output, monkeypatch)
    other = {"execution_lock": "2999-01-01T00:00:00.000000Z"}
    cache.set(connector.cache_key("execution_lock"), "all", other["execution_lock"])
    cache.set(connector.cache_key("lease"), "all", '{"owner": "1-other", "nonce": "x", "since": "2025-01-01"}')
    assert recover_unconfigured(cache, output, set(), 300) == 0
    assert delivered() == []


def test_a_cache_that_cannot_be_searched_recovers_nothing(output):
    from grove.caches import BaseCache

    assert recover_unconfigured(BaseCache(), output, set(), 300) == 0


def test_where_the_search_fails_it_is_said_and_nothing_else_happens(cache, output, monkeypatch, caplog):
    def refuse(prefix):
        raise AccessException("made up")

    monkeypatch.setattr(cache, "scan", refuse)
    assert recover_unconfigured(cache, output, set(), 300) == 0
    (record,) = caplog.records
    assert (record.levelname, record.exception) == ("WARNING", "made up")


def test_what_cannot_be_finished_is_said_and_keeps_no_other_stream_from_it(
    make, cache, output, delivered, monkeypatch, caplog
):
    connector = die_before_publishing(make, output, monkeypatch)
    die_before_publishing(make, output, monkeypatch, identity="other")
    real = output.publish

    def publish(staged):
        if "/corp/" in staged["path"]:
            raise AccessException("made up: it cannot be renamed")
        real(staged)

    with monkeypatch.context() as patch:
        patch.setattr(output, "publish", publish)
        assert recover_unconfigured(cache, output, set(), 300) == 1
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "cannot be renamed" in record.exception
    assert (record.stream, record.operation) == (connector.configuration.reference(), "all")
    assert len(delivered()) == 1
    assert recover_unconfigured(cache, output, set(), 300) == 1
    assert len(delivered()) == 2


def test_collecting_once_finishes_what_removed_streams_left(tmp_path, monkeypatch):
    from grove.caches.local_lmdb import Handler as Cache
    from grove.models import ConnectorConfig
    from grove.oneshot import Collector
    from grove.outputs.local_file import Handler as Output
    from grove.runtime import Documents, Settings
    from tests.engine.conftest import read_objects

    (tmp_path / "out").mkdir()
    monkeypatch.setenv("GROVE_CACHE_LOCAL_LMDB_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(tmp_path / "out"))
    cache, output = Cache(), Output()
    output.setup()
    gone = ConnectorConfig(name="gone", identity="old", connector="scripted", key="k")
    with monkeypatch.context() as patch:
        patch.setattr(output, "publish", lambda staged: (_ for _ in ()).throw(Death))
        connector = Scripted(gone, {}, cache=cache, output=output)
        connector.pages = [[{"at": 1}]]
        with pytest.raises(Death):
            connector.run()
    beat = ConnectorConfig(name="beat", identity="new", connector="local_heartbeat", key="k", count=1, interval=0)
    report = Collector({}, Settings(output="local_file")).run(Documents(streams=[beat], problems=[]))
    assert report.exit_code == 0
    assert len(read_objects(tmp_path / "out" / "logs" / "scripted")) == 1
