"""The daemon's HTTP port, over real sockets."""

import http.client
import json
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from grove.exceptions import ConfigurationException
from grove.health import server as server_module
from grove.health.facts import Facts
from grove.health.metrics import INFO, PROCESS_METRICS, RUNS, STREAM_METRICS
from grove.health.server import MOST_CONNECTIONS, StatusServer, parse_address
from grove.history import Counts, History

MOMENT = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)


def ask(server, path="/", method="GET", **headers):
    """Status, headers and body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server._server.server_port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def connect(server):
    return socket.create_connection(("127.0.0.1", server._server.server_port), timeout=30)


# --- where it listens ---


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        (" 0.0.0.0:80 ", ("0.0.0.0", 80)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "here", "1.2.3.4", "::1:80", "[::1]", "a:b:80", "127.0.0.1:65536", "http://a:80"])
def test_what_is_no_address(text):
    with pytest.raises(ConfigurationException, match="GROVE_STATUS_ADDRESS"):
        parse_address(text)


def test_a_port_that_is_taken(server, board):
    with pytest.raises(ConfigurationException, match=r"nothing can listen there.*Choose another port"):
        StatusServer(f"127.0.0.1:{server._server.server_port}", board.snapshot, board.send)


def test_ipv6(board):
    server = StatusServer("[::1]:0", board.snapshot, board.send)
    server.start()
    try:
        connection = http.client.HTTPConnection("::1", server._server.server_port, timeout=30)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()
        assert server.url == f"http://[::1]:{server._server.server_port}/"
    finally:
        server.close()


def test_a_port_that_others_can_reach_is_warned_about(board, caplog):
    server = StatusServer("0.0.0.0:0", board.snapshot, board.send)
    server.start()
    server.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# --- who may ask, and how ---


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9464", "localhost:1", "LOCALHOST", "a.localhost", "[::1]:80"])
def test_hosts_that_are_ours(server, host):
    assert ask(server, "/readyz", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "a@b", "[x]"]
)
def test_other_names_that_lead_here_are_refused(server, board, host):
    status, _, text = ask(server, "/status.json", Host=host)
    assert (status, board.taken) == (421, 0)
    assert "localhost" in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "BREW"])
def test_other_methods_are_refused(server, method):
    status, headers, _ = ask(server, "/", method)
    assert (status, headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics", "/healthz", "/readyz", "/nowhere"])
def test_headers_that_protect(server, path):
    _, headers, _ = ask(server, path)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/nowhere", "/../etc/passwd", "/healthz/", "/page.html", "*"])
def test_there_is_nothing_else(server, path):
    assert ask(server, path)[0] == 404


# --- what it says ---


def test_healthy_while_the_deciding_thread_answers(server, board, monkeypatch):
    assert ask(server, "/healthz")[::2] == (200, "ok\n")
    monkeypatch.setattr(server_module, "PATIENCE", 0.01)
    board.answers = False
    assert ask(server, "/healthz")[0] == 503
    assert ask(server, "/healthz")[0] == 503
    # It is asked once, and not once for everybody who wants to know.
    assert len(board.pings) == 2
    board.pings[-1].heard.set()
    board.answers = True
    assert ask(server, "/healthz")[0] == 200
    assert len(board.pings) == 3


def test_ready(server, board, monkeypatch):
    monkeypatch.setattr(server_module, "FRESH", 0.0)
    board.waiting_for = ("The cache is not open.",)
    assert ask(server, "/readyz")[::2] == (503, "The cache is not open.\n")
    board.waiting_for = ()
    assert ask(server, "/readyz")[::2] == (200, "ready\n")


def failed(error="no answer"):
    return Facts(History(MOMENT, MOMENT, "failed", MOMENT, error, Counts(), 1))


def test_the_status_as_json(server, board):
    board.add("quiet")
    board.add("broken", failed())
    status, headers, text = ask(server, "/status.json")
    found = json.loads(text)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert [(stream["name"], stream["state"]) for stream in found["streams"]] == [
        ("broken", "failing"),
        ("quiet", "new"),
    ]
    assert (found["well"], found["states"]["failing"], found["matching"]) == (False, 1, 2)


def test_a_part_of_the_streams(server, board):
    for number in range(5):
        board.add(f"stream-{number}", connector="Odd" if number == 3 else "even")
    assert [s["name"] for s in json.loads(ask(server, "/status.json?search=odd")[2])["streams"]] == ["stream-3"]
    found = json.loads(ask(server, "/status.json?limit=2")[2])
    assert (len(found["streams"]), found["matching"], found["states"]["new"]) == (2, 5, 5)
    assert ask(server, "/status.json?limit=x")[0] == 400


def test_one_snapshot_serves_everybody_for_a_moment(server, board, monkeypatch):
    monkeypatch.setattr(server_module, "FRESH", 1000.0)
    for path in ("/status.json", "/metrics", "/readyz", "/status.json"):
        ask(server, path)
    assert board.taken == 1


def test_a_defect_is_an_answer_and_no_end(server, board, caplog):
    board.views = [None]
    assert ask(server, "/status.json")[0] == 500
    assert "no one expected" in caplog.text
    board.views = []
    assert ask(server, "/status.json")[0] == 200


# --- metrics ---


def metrics(server, **headers):
    from prometheus_client.parser import text_string_to_metric_families

    status, _, text = ask(server, "/metrics", **headers)
    assert status == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics(server, board):
    pytest.importorskip("prometheus_client")
    board.add("good", Facts(History(MOMENT, MOMENT, "succeeded", MOMENT, "", Counts(), 0, MOMENT), "1795521600"))
    board.add('od"d\n\\', failed(), expect={"newest_within": 1})
    board.views[0].totals.add("succeeded", Counts(1, 20, 3, 4))
    found = metrics(server)
    good = (("stream", "good"),)
    assert found["grove_stream_newest_timestamp_seconds", good] == 1795521600
    assert found["grove_stream_last_success_timestamp_seconds", good] == MOMENT.timestamp()
    assert (found["grove_stream_entries_total", good], found["grove_stream_dropped_total", good]) == (20, 3)
    assert found["grove_stream_quarantined_total", good] == 4
    assert found["grove_stream_runs_total", (("outcome", "succeeded"), *good)] == 1
    assert found["grove_stream_runs_total", (("outcome", "failed"), *good)] == 0
    odd = (("stream", 'od"d\n\\'),)
    assert (found["grove_stream_failures", odd], found["grove_stream_stale", odd]) == (1, 1)
    assert ("grove_stream_newest_timestamp_seconds", odd) not in found
    assert found["grove_streams", (("state", "failing"),)] == 1
    assert found["grove_ready", ()] == 1
    assert ("process_cpu_seconds_total", ()) in found


def test_openmetrics_where_it_is_asked_for(server):
    pytest.importorskip("prometheus_client")
    _, headers, text = ask(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_streams_of_one_name_are_told_apart(server, board):
    pytest.importorskip("prometheus_client")
    board.add("same", identity="one")
    board.add("same", identity="two")
    names = [dict(labels)["stream"] for name, labels in metrics(server) if name == "grove_stream_info"]
    assert sorted(names) == ["same (made_up one all)", "same (made_up two all)"]


def test_without_the_package_metrics_say_so_in_a_line(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    status, _, text = ask(server, "/metrics")
    assert (status, text) == (501, "Metrics need the package prometheus-client: pip install 'grove[metrics]'.\n")
    assert ask(server, "/status.json")[0] == 200


def test_the_readme_names_every_metric():
    text = (Path(__file__).parent.parent.parent / "README.md").read_text()
    for metric, _ in (*PROCESS_METRICS, *STREAM_METRICS, (RUNS, None), (INFO, None)):
        name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
        labels = ", ".join((*(("stream",) if metric.name.startswith("grove_stream_") else ()), *metric.labels))
        assert f"| `{name}` | {labels} | {metric.about} |" in text


# --- clients that behave badly ---


def test_more_connections_than_are_answered(server):
    stalled = [connect(server) for _ in range(MOST_CONNECTIONS)]
    try:
        # Those are taken one after the other; what comes after them is taken after them.
        with connect(server) as one_more:
            assert one_more.recv(100).startswith(b"HTTP/1.1 503 ")
    finally:
        for connection in stalled:
            connection.close()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if ask(server, "/readyz")[0] == 200:
                return
        except OSError:
            continue
    raise AssertionError("the places of connections that are gone are not given away")


def test_a_silent_client_is_let_go(board, monkeypatch):
    monkeypatch.setattr(server_module._Handler, "timeout", 0.05)
    server = StatusServer("127.0.0.1:0", board.snapshot, board.send)
    server.start()
    try:
        with connect(server) as silent:
            assert silent.recv(1) == b""
    finally:
        server.close()


def test_a_client_that_drips_is_let_go(server, monkeypatch):
    monkeypatch.setattr(server_module, "LONGEST", 0.0)
    with connect(server) as dripping:
        dripping.sendall(b"GET / HTTP/1.1\r\nX-")
        assert dripping.recv(1) == b""


def test_a_client_that_does_not_take_its_answer_holds_up_nobody(server, board):
    for number in range(3000):
        board.add(f"stream-{number}")
    with connect(server) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert ask(server, "/readyz")[0] == 200


@pytest.mark.parametrize(
    "request_text",
    [
        b"\x00\xff\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request(server, request_text):
    with connect(server) as odd:
        try:
            odd.sendall(request_text)
            while odd.recv(65536):
                pass
        except ConnectionError:
            pass
    assert ask(server, "/readyz")[0] == 200


def test_closing_ends_its_thread(board):
    server = StatusServer("127.0.0.1:0", board.snapshot, board.send)
    server.start()
    server.close()
    server._thread.join(30)
    assert not server._thread.is_alive()
    assert threading.active_count() < 50
