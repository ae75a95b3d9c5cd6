"""The Redis cache, against real servers: the contract, a cluster, TLS, failing links, and what a crash leaves."""

import contextlib
import shutil
import subprocess
import time
import traceback
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from blake3 import blake3

from grove import logging as grove_logging
from grove.caches import BaseCache, Batch, Key, _redis_server
from grove.caches.redis import Handler
from grove.exceptions import AccessException, ConcurrencyException, ConfigurationException
from grove.state import StreamState
from grove.testing.cache_contract import CacheContract, Link
from tests.servers import Server, free_port, make_redis_server, running
from tests.tcp_proxy import FAULTS, RESET_AFTER, RESET_BEFORE, SILENT_AFTER, SILENT_BEFORE, Proxy

POINTER = Key("pointer.example_one.06dc0fd3c08a2bc6a33f5460da9fea10", "all")
EPOCH = POINTER._replace(pk=POINTER.pk.replace("pointer", "epoch"))
SEQUENCE = POINTER._replace(pk=POINTER.pk.replace("pointer", "sequence"))
PASSWORD = "correct horse/battery@staple#1"


def make_cache(tmp_path: Path, port: int, **settings: Any) -> Handler:
    """A cache with a prefix of this test's own."""
    prefix = blake3(str(tmp_path).encode()).hexdigest(8)
    return Handler(**{"url": f"redis://127.0.0.1:{port}", "prefix": prefix, **settings})


def ask(server: Server, *command: object) -> Any:
    """A command as an operator gives it."""
    with contextlib.closing(redis.Redis(port=server.port, decode_responses=True)) as client:
        return client.execute_command(*command)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_redis_server, "FIRST_WAIT", 0.002)


class TestContract(CacheContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server: Server) -> None:
        self.port = redis_server.port

    def make_cache(self, tmp_path: Path) -> BaseCache:
        return make_cache(tmp_path, self.port)

    @pytest.fixture
    def distant(self, tmp_path: Path) -> Iterator[tuple[BaseCache, Link]]:
        with Proxy(self.port) as link:
            yield make_cache(tmp_path, link.port), link


# --- a cluster ---


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two servers that have half of the slots each."""
    with contextlib.ExitStack() as stack:
        servers, buses = [], []
        for name in ("one", "two"):
            folder = tmp_path_factory.mktemp(name)
            buses.append(free_port())
            options = ("--cluster-enabled", "yes", "--cluster-port", str(buses[-1]))
            servers.append(stack.enter_context(running(make_redis_server(folder, *options))))
        one, two = servers
        ask(one, "CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        ask(two, "CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        ask(one, "CLUSTER", "MEET", "127.0.0.1", two.port, buses[1])
        limit = time.monotonic() + 30
        while any("cluster_state:ok" not in str(ask(server, "CLUSTER", "INFO")) for server in servers):
            assert time.monotonic() < limit, "the cluster does not come together"
            time.sleep(0.05)
        yield servers


class TestCluster(CacheContract):
    FIGHTS = 20

    @pytest.fixture(autouse=True)
    def _cluster(self, cluster: list[Server], tmp_path: Path) -> None:
        # The one that has not got this test's slot: every test begins with being sent away.
        prefix = blake3(str(tmp_path).encode()).hexdigest(8)
        slot = ask(cluster[0], "CLUSTER", "KEYSLOT", f"{{{prefix}}}:")
        self.port = cluster[0 if slot >= 8192 else 1].port

    def make_cache(self, tmp_path: Path) -> BaseCache:
        return make_cache(tmp_path, self.port)


def test_a_cluster_keeps_the_keys_of_a_cache_together(cluster: list[Server], tmp_path: Path) -> None:
    cache = make_cache(tmp_path, cluster[0].port)
    cache.apply(Batch().set(POINTER, "1").set(EPOCH, "2").set(Key("store", "id"), "3"))
    found = [len(ask(server, "KEYS", f"{{{cache.config.prefix}}}:*")) for server in cluster]
    assert sorted(found) == [0, 3]
    # Whichever server is asked first.
    for server in cluster:
        found_first = make_cache(tmp_path, server.port).scan("")
        assert {key.pk for key, _ in found_first} == {POINTER.pk, EPOCH.pk, "store"}


def test_a_slot_may_move_to_another_server(cluster: list[Server], tmp_path: Path) -> None:
    cache = make_cache(tmp_path, cluster[0].port)
    cache.apply(Batch().set(POINTER, "1").set(EPOCH, "1"))
    tag = f"{{{cache.config.prefix}}}:"
    slot = ask(cluster[0], "CLUSTER", "KEYSLOT", tag)
    source, target = sorted(cluster, key=lambda server: not ask(server, "KEYS", f"{tag}*"))
    names = {server: ask(server, "CLUSTER", "MYID") for server in cluster}
    ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    ask(source, "MIGRATE", "127.0.0.1", target.port, f"{tag}{POINTER.pk}:all", 0, 5000)
    # One key is here and one is there: nobody can look at both.
    with pytest.raises(AccessException, match="cannot be used"):
        cache.read([POINTER, EPOCH])
    with pytest.raises(AccessException, match="cannot be used"):
        cache.apply(Batch().require(EPOCH, "1").set(POINTER, "2"))
    ask(source, "MIGRATE", "127.0.0.1", target.port, f"{tag}{EPOCH.pk}:all", 0, 5000)
    for server in (target, source):
        ask(server, "CLUSTER", "SETSLOT", slot, "NODE", names[target])
    cache.apply(Batch().require(EPOCH, "1").set(POINTER, "2"))
    assert cache.read([POINTER, EPOCH]) == ["2", "1"]
    assert len(list(cache.scan(""))) == 2


# --- what is stored ---


def test_the_keys_are_what_an_operator_expects(redis_server: Server) -> None:
    cache = Handler(url=f"redis://127.0.0.1:{redis_server.port}/3")
    cache.apply(Batch().set(POINTER, "2024-02-29T23:59:59Z").set(Key("a:b%", "c:d"), "2"))
    with contextlib.closing(redis.Redis(port=redis_server.port, db=3)) as client:
        found = {key: client.get(key) for key in client.scan_iter()}
        client.flushdb()
    assert found == {
        b"{grove}:pointer.example_one.06dc0fd3c08a2bc6a33f5460da9fea10:all": b"2024-02-29T23:59:59Z",
        b"{grove}:a%3Ab%25:c:d": b"2",
    }


def test_what_was_stored_is_read(redis_server: Server) -> None:
    with contextlib.closing(redis.Redis(port=redis_server.port, db=4)) as client:
        client.set("{golden}:pointer.example_one.06dc0fd3c08a2bc6a33f5460da9fea10:all", "17")
        client.set("{golden}:a%3Ab%25:c:d", "Zürich")
        cache = Handler(url=f"redis://127.0.0.1:{redis_server.port}/4", prefix="golden")
        assert cache.read([POINTER, Key("a:b%", "c:d")]) == ["17", "Zürich"]
        assert dict(cache.scan("")) == {POINTER: "17", Key("a:b%", "c:d"): "Zürich"}
        client.flushdb()


@pytest.mark.parametrize("text", ["\ud800 alone", "\udcff", "a\ud83d"], ids=ascii)
def test_text_that_is_no_unicode_is_kept(redis_server: Server, tmp_path: Path, text: str) -> None:
    cache = make_cache(tmp_path, redis_server.port)
    cache.set("pointer.a", text, text)
    assert cache.get("pointer.a", text) == text
    assert list(cache.scan("pointer")) == [(Key("pointer.a", text), text)]


@pytest.mark.parametrize(
    "prefix", ["pointer.*", "pointer.[a]", "pointer.?", "pointer.\\", "pointer.a:", "%", "pointer"]
)
def test_scan_takes_a_prefix_as_it_is(redis_server: Server, tmp_path: Path, prefix: str) -> None:
    cache = make_cache(tmp_path, redis_server.port)
    names = ["pointer.*", "pointer.[a]", "pointer.a", "pointer.?", "pointer.\\", "pointer.a:b", "%", "%3A", "pointer"]
    for name in names:
        cache.set(name, "all", "1")
    assert {key.pk for key, _ in cache.scan(prefix)} == {name for name in names if name.startswith(prefix)}


def test_scan_finds_thousands_among_the_keys_of_others(redis_server: Server, tmp_path: Path) -> None:
    cache, other = make_cache(tmp_path, redis_server.port), make_cache(tmp_path / "other", redis_server.port)
    batch = Batch()
    for number in range(2500):
        batch.set(Key(f"pointer.{number}", "all"), str(number))
    cache.apply(batch)
    other.apply(batch)
    other.set("pointer.other", "all", "1")
    assert dict(cache.scan("pointer.")) == {key: value for key, value in batch.changes.items()}


def test_two_prefixes_are_two_stores(redis_server: Server, tmp_path: Path) -> None:
    one, other = make_cache(tmp_path / "one", redis_server.port), make_cache(tmp_path / "other", redis_server.port)
    one.set(*POINTER, "1")
    assert other.read([POINTER]) == [None]


# --- links that fail ---


@pytest.mark.parametrize("fault", FAULTS)
def test_reading_goes_on_after_a_fault(redis_server: Server, tmp_path: Path, fault: str) -> None:
    with Proxy(redis_server.port) as link:
        cache = make_cache(tmp_path, link.port, timeout=0.1)
        cache.set(*POINTER, "1")
        link.fail(fault, times=2)
        assert cache.get(*POINTER) == "1"
        assert link.met == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_change_is_never_sent_twice(redis_server: Server, tmp_path: Path, fault: str) -> None:
    with Proxy(redis_server.port) as link:
        cache = make_cache(tmp_path, link.port, timeout=0.1)
        cache.set(*POINTER, "1")
        before = link.exchanges
        link.fail(fault)
        with pytest.raises(AccessException, match="may or may not"):
            cache.apply(Batch().require(POINTER, "1").set(POINTER, "2"))
        assert link.exchanges == before + 1
        cache.reopen()
        assert cache.get(*POINTER) == ("2" if fault in (RESET_AFTER, SILENT_AFTER) else "1")


@pytest.mark.parametrize("fault", [RESET_BEFORE, SILENT_BEFORE])
def test_what_was_not_sent_is_sent_again(redis_server: Server, tmp_path: Path, fault: str) -> None:
    make_cache(tmp_path, redis_server.port).set(*POINTER, "1")
    with Proxy(redis_server.port) as link:
        cache = make_cache(tmp_path, link.port, timeout=0.1)
        # Meets the first words of a connection, before any command.
        link.fail(fault, times=2)
        cache.apply(Batch().require(POINTER, "1").set(POINTER, "2"))
        assert link.met == 2
        assert cache.get(*POINTER) == "2"


def test_a_server_that_has_restarted_is_found_again(tmp_path: Path) -> None:
    with running(make_redis_server(tmp_path)) as server:
        cache = make_cache(tmp_path, server.port)
        cache.set(*POINTER, "1")
        server.kill()
        server.start()
        # The connection in hand is dead, which is seen before anything is sent; so is the lack of the script.
        cache.apply(Batch().require(POINTER, "1").set(POINTER, "2"))
        assert cache.get(*POINTER) == "2"


def test_a_server_that_is_gone_is_an_error_that_says_so(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, free_port(), password=PASSWORD)
    for use in (cache.setup, lambda: cache.get(*POINTER), lambda: cache.set(*POINTER, "1")):
        with pytest.raises(AccessException, match=r"cannot be used.*refused") as caught:
            use()
        assert PASSWORD not in _everything(caught.value)


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    with running(make_redis_server(tmp_path)) as server:
        cache = make_cache(tmp_path, server.port, timeout=0.05)
        cache.set(*POINTER, "1")
        server.pause()
        with pytest.raises(AccessException, match="cannot be used"):
            cache.get(*POINTER)
        server.resume()
        assert cache.get(*POINTER) == "1"


# --- servers that refuse ---


def test_a_forgotten_script_is_sent_again(redis_server: Server, tmp_path: Path) -> None:
    cache = make_cache(tmp_path, redis_server.port)
    cache.set(*POINTER, "1")
    ask(redis_server, "SCRIPT", "FLUSH")
    cache.set(*POINTER, "2", constraint="1")
    assert cache.get(*POINTER) == "2"


@pytest.mark.parametrize(
    ("setting", "wrong", "right"),
    [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")],
    ids=["no memory", "no replica"],
)
def test_a_server_that_cannot_write_changes_nothing(
    redis_server: Server, tmp_path: Path, setting: str, wrong: str, right: str
) -> None:
    cache = make_cache(tmp_path, redis_server.port)
    cache.apply(Batch().set(POINTER, "1").set(EPOCH, "1"))
    ask(redis_server, "CONFIG", "SET", setting, wrong)
    try:
        with pytest.raises(AccessException, match="changed nothing"):
            cache.apply(Batch().require(EPOCH, "1").set(POINTER, "2").delete(EPOCH))
    finally:
        ask(redis_server, "CONFIG", "SET", setting, right)
    assert cache.read([POINTER, EPOCH]) == ["1", "1"]


def test_a_batch_that_begins_by_making_room_is_not_cut_short(redis_server: Server, tmp_path: Path) -> None:
    cache = make_cache(tmp_path, redis_server.port)
    cache.apply(Batch().set(POINTER, "1").set(EPOCH, "1"))
    ask(redis_server, "CONFIG", "SET", "maxmemory", "1")
    try:
        # Deleting is allowed without memory, and what has begun goes on.
        cache.apply(Batch().delete(EPOCH).set(POINTER, "2" * 1000))
    finally:
        ask(redis_server, "CONFIG", "SET", "maxmemory", "0")
    assert cache.read([POINTER, EPOCH]) == ["2" * 1000, None]


def test_a_replica_is_not_written_to(tmp_path: Path) -> None:
    with running(make_redis_server(tmp_path, "--replicaof", "127.0.0.1", str(free_port()))) as server:
        cache = make_cache(tmp_path, server.port)
        with pytest.raises(AccessException, match="read only replica"):
            cache.set(*POINTER, "1")


def test_a_server_that_becomes_a_replica_is_left_for_the_one_at_its_address(
    redis_server: Server, tmp_path: Path
) -> None:
    with running(make_redis_server(tmp_path)) as former, Proxy(former.port) as address:
        cache = make_cache(tmp_path, address.port)
        cache.set(*POINTER, "1")
        make_cache(tmp_path, redis_server.port).set(*POINTER, "1")
        ask(former, "REPLICAOF", "127.0.0.1", redis_server.port)
        address.server_port = redis_server.port
        # The connection in hand still leads to the former one.
        cache.set(*POINTER, "2", constraint="1")
        assert make_cache(tmp_path, redis_server.port).get(*POINTER) == "2"


def test_a_key_that_others_use_otherwise_is_left_alone(redis_server: Server, tmp_path: Path) -> None:
    cache = make_cache(tmp_path, redis_server.port)
    name = f"{{{cache.config.prefix}}}:{POINTER.pk}:{POINTER.sk}"
    ask(redis_server, "RPUSH", name, "1")
    with pytest.raises(AccessException, match="changed nothing"):
        cache.apply(Batch().set(EPOCH, "1").require(POINTER, None))
    assert cache.read([EPOCH]) == [None]


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({}, "GROVE_CACHE_REDIS_URL"),
        ({"url": "http://localhost"}, "GROVE_CACHE_REDIS_URL"),
        ({"url": f"redis://:{PASSWORD}@localhost:6379"}, "GROVE_CACHE_REDIS_URL"),
        ({"url": f"redis://user:x@localhost:{PASSWORD}"}, "GROVE_CACHE_REDIS_URL"),
        ({"url": "redis://localhost?no_such_option=1"}, "GROVE_CACHE_REDIS_URL"),
        ({"url": "redis://localhost", "prefix": "a}b"}, "GROVE_CACHE_REDIS_PREFIX"),
        ({"url": "redis://localhost", "prefix": ""}, "GROVE_CACHE_REDIS_PREFIX"),
        ({"url": "redis://localhost", "timeout": 0}, "GROVE_CACHE_REDIS_TIMEOUT"),
        ({"url": "redis://localhost", "timeout": "soon"}, "GROVE_CACHE_REDIS_TIMEOUT"),
    ],
)
def test_a_wrong_setting_is_named_and_not_shown(settings: dict[str, Any], variable: str) -> None:
    with pytest.raises(ConfigurationException, match=variable) as caught:
        Handler(**settings)
    for piece in ("correct horse", "battery", "staple", "soon"):
        assert piece not in _everything(caught.value)


def test_settings_come_from_the_environment(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_CACHE_REDIS_URL", f"redis://127.0.0.1:{redis_server.port}/5")
    monkeypatch.setenv("GROVE_CACHE_REDIS_PREFIX", "from-env")
    monkeypatch.setenv("GROVE_CACHE_REDIS_TIMEOUT", "2.5")
    cache = Handler()
    cache.set("pointer.a", "all", "1")
    assert (cache.config.timeout, cache.SCOPE, cache.fenced) == (2.5, "shared", True)
    with contextlib.closing(redis.Redis(port=redis_server.port, db=5)) as client:
        assert client.keys() == [b"{from-env}:pointer.a:all"]
        client.flushdb()


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a password."""
    with running(make_redis_server(tmp_path_factory.mktemp("closed"), "--requirepass", PASSWORD)) as server:
        yield server


@pytest.mark.parametrize("place", ["setting", "url"])
def test_a_password_lets_in(closed_server: Server, place: str) -> None:
    quoted = urllib.parse.quote(PASSWORD, safe="")
    address = f"127.0.0.1:{closed_server.port}"
    if place == "url":
        cache = Handler(url=f"redis://:{quoted}@{address}")
    else:
        cache = Handler(url=f"redis://{address}", password=PASSWORD)
    cache.setup()
    cache.set(*POINTER, "1")
    assert cache.get(*POINTER) == "1"
    assert PASSWORD not in repr(cache.config)
    assert quoted not in repr(cache.config)


@pytest.mark.parametrize("settings", [{}, {"password": "wrong password"}], ids=["none", "wrong"])
def test_without_the_password_it_is_a_matter_of_settings(closed_server: Server, settings: dict[str, str]) -> None:
    cache = Handler(url=f"redis://127.0.0.1:{closed_server.port}", **settings)
    with pytest.raises(ConfigurationException, match="GROVE_CACHE_REDIS_PASSWORD") as caught:
        cache.setup()
    assert "wrong password" not in _everything(caught.value)


def test_a_password_is_taken_out_of_logs(closed_server: Server) -> None:
    Handler(url=f"redis://127.0.0.1:{closed_server.port}", password=PASSWORD)
    assert PASSWORD not in grove_logging.redact(f"the password is {PASSWORD}")
    grove_logging.forget_secrets()


def test_a_user_that_may_only_use_its_keys_is_enough(closed_server: Server) -> None:
    with contextlib.closing(redis.Redis(port=closed_server.port, password=PASSWORD)) as client:
        client.acl_setuser(
            "grove",
            enabled=True,
            passwords=["+secret"],
            keys=["{mine}:*"],
            commands=["+@read", "+@write", "+@scripting"],
        )
    cache = Handler(url=f"redis://grove:secret@127.0.0.1:{closed_server.port}", prefix="mine")
    cache.setup()
    cache.apply(Batch().set(POINTER, "1").delete(EPOCH))
    assert list(cache.scan("pointer.")) == [(POINTER, "1")]
    other = Handler(url=f"redis://grove:secret@127.0.0.1:{closed_server.port}", prefix="theirs")
    with pytest.raises(ConfigurationException):
        other.setup()


def test_over_tls_the_server_has_to_be_who_it_says(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    port = free_port()
    options = ("--tls-port", str(port), "--tls-auth-clients", "no")
    with running(make_redis_server(tmp_path, *options, "--tls-cert-file", certificate, "--tls-key-file", key)):
        cache = Handler(url=f"rediss://localhost:{port}?ssl_ca_certs={certificate}")
        cache.setup()
        cache.set(*POINTER, "1")
        assert cache.get(*POINTER) == "1"
        stranger = Handler(url=f"rediss://localhost:{port}")
        with pytest.raises(AccessException, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.setup()


def test_over_a_socket_in_the_file_system(tmp_path: Path) -> None:
    place = tmp_path / "redis.sock"
    with running(make_redis_server(tmp_path, "--unixsocket", str(place))):
        cache = Handler(url=f"unix://{place}")
        cache.set(*POINTER, "1")
        assert cache.get(*POINTER) == "1"


@pytest.mark.parametrize(
    ("setting", "value", "warned"),
    [
        ("maxmemory-policy", "allkeys-lru", "maxmemory-policy"),
        ("maxmemory-policy", "volatile-lru", None),
        ("appendonly", "no", "appendonly"),
        ("appendonly", "yes", None),
    ],
)
def test_a_server_that_would_lose_state_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: str, value: str, warned: str | None
) -> None:
    with running(make_redis_server(tmp_path, f"--{setting}", value)) as server:
        make_cache(tmp_path, server.port).setup()
    assert [warned in record.message for record in caplog.records if warned] == [True] * (warned is not None)
    assert warned is not None or caplog.records == []


# --- what a crash of the server leaves ---


@pytest.mark.parametrize("durability", ["always", "everysec"])
def test_a_killed_server_comes_back_with_a_state_that_was(tmp_path: Path, durability: str) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with running(make_redis_server(folder, "--appendfsync", durability)) as server:
        cache = make_cache(tmp_path, server.port)
        state = stream(cache)
        for kills in range(6):
            for number in range(kills + 1):
                state.commit({"pointer": f"{kills}.{number}", "boundary": f"{kills}.{number}" * 50})
            server.kill()
            server.start()
            cache.reopen()
            after = stream(cache)
            assert (after.get("boundary") or "") == (after.get("pointer") or "") * 50
            assert after.sequence == state.sequence or (durability == "everysec" and after.sequence < state.sequence)
            state = after


def test_a_server_that_has_lost_its_last_second_is_older_and_never_torn(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with running(make_redis_server(folder, "--appendfsync", "always")) as server:
        cache = make_cache(tmp_path, server.port)
        state = stream(cache)
        for number in range(1, 6):
            state.commit({"pointer": str(number), "boundary": str(number) * 50})
        server.kill()
        (journal,) = (folder / "appendonlydir").glob("*.incr.aof")
        whole = journal.read_bytes()
        found = set()
        # The power failed: any part of what was not yet synced is missing, down to the middle of a batch.
        for end in range(len(whole) - 1, len(whole) // 2, -53):
            journal.write_bytes(whole[:end])
            server.start()
            cache.reopen()
            after = stream(cache, taken=True)
            sequence = after.sequence
            assert after.get("pointer") == (str(sequence) if sequence else None)
            assert after.get("boundary") == (str(sequence) * 50 if sequence else None)
            found.add(sequence)
            # The engine goes on from there.
            after.commit({"pointer": "next"})
            server.kill()
        assert len(found) > 1
        assert max(found) == 4


def test_a_holder_is_refused_once_the_server_has_gone_back(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    with running(make_redis_server(folder, "--appendfsync", "always")) as server:
        cache = make_cache(tmp_path, server.port)
        state = stream(cache)
        state.commit({"pointer": "1"})
        (journal,) = (folder / "appendonlydir").glob("*.incr.aof")
        older = journal.read_bytes()
        state.commit({"pointer": "2"})
        server.kill()
        journal.write_bytes(older)
        server.start()
        cache.reopen()
        # What it knows to be committed is gone: it must not write as if it were there.
        with pytest.raises(ConcurrencyException):
            state.commit({"pointer": "3"})
        assert stream(cache, taken=True).get("pointer") == "1"


def stream(cache: Handler, *, taken: bool = False) -> StreamState:
    """A stream's state as its holder sees it; taken first, unless it was."""
    state = StreamState(cache, lambda kind: f"{kind}.example.06dc0fd3c08a2bc6a33f5460da9fea10", "all")
    state.load()
    if not taken:
        state.take({"lease": "mine"}, expected_lock=None)
    return state


def _certificate(folder: Path) -> tuple[str, str]:
    """A certificate for localhost that signs itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl: install it to run this test")
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    subprocess.run([openssl, *new, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


def _everything(err: BaseException | None) -> str:
    """All that a log could show of an error."""
    return "".join(traceback.format_exception(err)) if err is not None else ""
