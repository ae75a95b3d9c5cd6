"""Pages over HTTP, to a real receiver that refuses, breaks off, stays silent or loses its answers."""

import gzip
import itertools
import logging
from datetime import UTC, datetime, timedelta

import pytest
import requests

from grove.exceptions import AccessException, ConfigurationException
from grove.helpers import clock
from grove.logging import redact
from grove.outputs import remote_http
from grove.outputs.remote_http import Handler
from grove.testing.output_contract import OutputContract
from tests.http.certificates import Authority
from tests.outputs.receiver import LOST, OK, REFUSED, SILENT, Answer, running_receiver
from tests.outputs.stream import Stream

PREFIX = "GROVE_OUTPUT_REMOTE_HTTP_"


@pytest.fixture
def receiver():
    with running_receiver() as found:
        yield found


@pytest.fixture
def waits(monkeypatch):
    """Nothing waits; how long it would have, in seconds."""
    found = []
    monkeypatch.setattr(remote_http, "sleep", found.append)
    return found


@pytest.fixture
def make(receiver, waits, monkeypatch):
    """An output, set up; `make(retries="3")` sets GROVE_OUTPUT_REMOTE_HTTP_RETRIES."""

    def build(**settings):
        for name, value in {"url": receiver.url, **settings}.items():
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
        handler = Handler()
        handler.setup()
        return handler

    return build


def submit(output, *entries, **changes):
    data = output.serialize(list(entries), {})
    output.submit(data=data, **{"connector": "c", "identity": "i", "operation": "all", **changes})


class TestContract(OutputContract):
    @pytest.fixture
    def output(self, receiver, monkeypatch):
        monkeypatch.setenv(f"{PREFIX}URL", receiver.url)
        self.receiver = receiver
        return Handler()

    def entries(self, output):
        return self.receiver.entries()


class TestContractCompressed(TestContract):
    @pytest.fixture(autouse=True)
    def _compressed(self, monkeypatch):
        monkeypatch.setenv(f"{PREFIX}GZIP", "true")


# --- a request ---


def test_a_page_is_one_request_of_lines(receiver, make):
    submit(make(), {"id": 1}, {"id": 2})
    (request,) = receiver.requests
    assert request.body == b'{"id":1,"_grove":{}}\n{"id":2,"_grove":{}}\n'
    assert request.headers["Content-Type"] == "application/x-ndjson"
    assert request.headers["Content-Encoding"] is None


def test_a_page_may_be_compressed(receiver, make):
    submit(make(gzip="true"), {"id": 1})
    (request,) = receiver.requests
    assert request.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(request.body) == b'{"id":1,"_grove":{}}\n'


def test_headers_are_added_and_replace_ours_in_any_case(receiver, make):
    submit(make(headers="content-type: application/json|Authorization: Bearer a:b|X-Empty:"), {"id": 1})
    (request,) = receiver.requests
    assert request.headers.get_all("Content-Type") == ["application/json"]
    assert request.headers["Authorization"] == "Bearer a:b"
    assert request.headers["X-Empty"] == ""


def test_the_headers_can_be_looked_at(make):
    assert make(headers="content-type: a/b|Example: My-Example")._headers == {
        "content-type": "a/b",
        "Example": "My-Example",
    }


def test_user_and_password_in_the_address_are_sent_as_such(receiver, make):
    submit(make(url=receiver.url.replace("http://", "http://me:s%40cret@")), {"id": 1})
    assert receiver.requests[0].headers["Authorization"] == "Basic bWU6c0BjcmV0"


def test_a_password_in_netrc_stays_there(receiver, make, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    submit(make(headers="Authorization: Bearer ours"), {"id": 1})
    assert receiver.requests[0].headers["Authorization"] == "Bearer ours"


def test_one_connection_serves_many_pages(receiver, make):
    receiver.always = Answer(body=b"thank you", kept=True)
    output = make()
    for number in range(5):
        submit(output, {"id": number})
    assert len({request.connection for request in receiver.requests}) == 1


def test_no_cookie_is_kept(receiver, make):
    receiver.always = Answer(headers={"Set-Cookie": "session=1"}, kept=True)
    output = make()
    submit(output, {"id": 1})
    submit(output, {"id": 2})
    assert receiver.requests[1].headers["Cookie"] is None


@pytest.mark.parametrize("limit", ["bytes", "seconds"])
def test_an_endless_answer_is_not_read_to_its_end(receiver, make, monkeypatch, limit):
    seconds = itertools.count(step=60) if limit == "seconds" else itertools.repeat(0)
    monkeypatch.setattr(clock, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(remote_http, "_MOST_DRAINED", 1 << 14 if limit == "bytes" else 1 << 60)
    receiver.always = Answer(endless=True, kept=True)
    submit(make(), {"id": 1})
    assert receiver.entries() == [{"id": 1, "_grove": {}}]


# --- attempts ---


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_repeated_with_the_same_bytes_and_key(receiver, make, status):
    receiver.plan = {0: Answer(status), 1: LOST, 2: REFUSED}
    submit(make(), {"id": 1})
    assert len(receiver.requests) == 4
    assert len({(request.body, request.key) for request in receiver.requests}) == 1
    assert receiver.requests[0].key.strip('"').isalnum()


@pytest.mark.parametrize("changes", [{"part": 1}, {"descriptor": "d"}, {"connector": "d"}, {"identity": "\ud800"}])
def test_another_page_has_another_key(receiver, make, changes):
    output = make()
    submit(output, {"id": 1})
    submit(output, {"id": 2})
    submit(output, {"id": 1}, **changes)
    assert len({request.key for request in receiver.requests}) == 3


def test_a_receiver_that_knows_the_key_stores_the_page_once(receiver, make):
    receiver.remembers = True
    receiver.plan = {0: LOST, 1: Answer(409), 2: LOST}
    submit(make(), {"id": 1})
    assert receiver.entries() == [{"id": 1, "_grove": {}}]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 412, 413, 422])
def test_what_is_refused_is_not_repeated(receiver, make, status):
    receiver.always = Answer(status, headers={"Location": "/elsewhere"})
    with pytest.raises(AccessException, match=rf"127\.0\.0\.1.*status {status}"):
        submit(make(), {"id": 1})
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "HEADERS"), (302, "Redirects"), (413, "smaller pages"), (404, "URL")]
)
def test_a_refusal_says_what_to_do(receiver, make, status, advice):
    receiver.always = Answer(status)
    with pytest.raises(AccessException, match=advice):
        submit(make(), {"id": 1})


@pytest.mark.parametrize("retries", [1, 3])
def test_attempts_are_counted(receiver, make, waits, retries):
    receiver.always = Answer(500)
    with pytest.raises(AccessException, match=f"{retries} attempts.*status 500"):
        submit(make(retries=str(retries)), {"id": 1})
    assert len(receiver.requests) == retries
    assert len(waits) == retries - 1


def test_waits_grow_and_are_drawn_at_random(receiver, make, waits):
    receiver.always = Answer(503)
    for _ in range(20):
        with pytest.raises(AccessException):
            submit(make(), {"id": 1})
    by_attempt = [waits[number::4] for number in range(4)]
    assert [max(drawn) <= 2**number for number, drawn in enumerate(by_attempt)] == [True] * 4
    assert max(by_attempt[3]) > 1
    assert len(set(waits)) == len(waits)


@pytest.mark.parametrize(
    "text",
    ["7", "7.0", lambda: (datetime.now(UTC) + timedelta(seconds=7.9)).strftime("%a, %d %b %Y %H:%M:%S GMT")],
    ids=["seconds", "fraction", "date"],
)
def test_a_receiver_may_say_how_long_to_wait(receiver, make, waits, text):
    # Against a clock of its own, as any server's may be: what it says is meant relative to its Date.
    receiver.plan = {0: Answer(429, headers={"Retry-After": text() if callable(text) else text})}
    submit(make(), {"id": 1})
    assert len(waits) == 1
    assert 5 <= waits[0] <= 9


def test_a_run_does_not_wait_for_ever(receiver, make, waits):
    receiver.always = Answer(429, headers={"Retry-After": "3600"})
    with pytest.raises(AccessException, match="wait for 3600 seconds"):
        submit(make(), {"id": 1})
    assert (len(receiver.requests), waits) == (1, [])
    receiver.always = Answer(503, headers={"Retry-After": "100"})
    with pytest.raises(AccessException, match="2 attempts"):
        submit(make(), {"id": 1})


def test_a_silent_receiver_is_given_up(receiver, make):
    receiver.plan = {0: SILENT}
    submit(make(timeout="0.2", retries="10"), {"id": 1})
    assert len(receiver.requests) >= 2


def test_nobody_listening_is_an_error_that_names_the_host(make, receiver):
    with pytest.raises(AccessException, match=r"127\.0\.0\.1:1/x did not accept.*connection refused"):
        submit(make(url="http://127.0.0.1:1/x?token=s3cret"), {"id": 1})


# --- settings ---


def test_an_address_is_required():
    with pytest.raises(ConfigurationException, match="GROVE_OUTPUT_REMOTE_HTTP_URL"):
        Handler()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "logs.example.com"),
        ("url", "ftp://logs.example.com"),
        ("url", "http://[::1"),
        ("url", "http://s3cret\n.example"),
        ("retries", "0"),
        ("timeout", "0"),
        ("timeout", "s3cret"),
        ("headers", "s3cret"),
        ("headers", ": s3cret"),
        ("headers", "X: s3cret\nY: 1"),
        ("headers", "X: s3cret\u2028x"),
        ("headers", "A: 1|B s3cret"),
    ],
)
def test_a_wrong_setting_is_named_and_not_shown(make, name, value):
    with pytest.raises(ConfigurationException, match=f"{PREFIX}{name.upper()}") as caught:
        make(**{name: value})
    err = caught.value
    while err is not None:
        assert "s3cret" not in str(err)
        err = err.__cause__


def test_no_credential_is_shown(receiver, make, caplog):
    caplog.set_level(logging.DEBUG)
    receiver.always = Answer(500)
    output = make(
        url=f"{receiver.url.replace('http://', 'http://me:s3cret1@')}?token=s3cret2",
        headers="X-Key: Bearer s3cret3|X-Scope: team",
    )
    with pytest.raises(AccessException) as caught:
        submit(output, {"id": 1})
    shown = "\n".join([repr(output.config), str(output.config), str(caught.value), repr(caught.value.__context__)])
    logged = redact("\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records))
    assert "s3cret" not in shown + logged
    assert redact("me:s3cret1 and Bearer s3cret3") == "me:[redacted] and [redacted]"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.mark.parametrize(
    ("trusted", "insecure", "accepted"), [(True, "false", True), (False, "false", False), (False, "true", True)]
)
def test_certificates_are_checked_unless_told_otherwise(make, authority, monkeypatch, trusted, insecure, accepted):
    # What the environment trusts does not matter where nothing is checked.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.path) if trusted else requests.certs.where())
    with running_receiver(authority.server("127.0.0.1")) as receiver:
        output = make(url=receiver.url, insecure=insecure)
        if accepted:
            submit(output, {"id": 1})
        else:
            with pytest.raises(AccessException, match="certificate verify failed"):
                submit(output, {"id": 1})
        assert len(receiver.requests) == accepted


def test_an_unchecked_certificate_is_warned_about(receiver, make, caplog):
    make(insecure="true", url="https://127.0.0.1:1/")
    assert "insecure" in [getattr(record, "event", "") for record in caplog.records]


# --- R23: what the promise says, through the real engine ---

FAULTS = {
    "refused": (REFUSED, False),
    "status 500": (Answer(500), False),
    "status 429": (Answer(429), False),
    "status 409": (Answer(409), False),
    "status 412": (Answer(412), False),
    "answer lost": (LOST, True),
    "stored and status 500": (Answer(500, kept=True), True),
}


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
@pytest.mark.parametrize("retries", [1, 3])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", range(4))
def test_a_fault_loses_nothing_and_repeats_at_most_its_page(receiver, make, number, fault, retries, newest_first):
    answer, ambiguous = FAULTS[fault]
    receiver.plan = {number: answer}
    stream = Stream(
        make(retries=str(retries)), lambda: [e["id"] for e in receiver.entries()], newest_first=newest_first
    )
    stream.source.arrive([1, 3, 1, 2])
    first = stream.run()
    assert first == ("succeeded" if retries > 1 and fault != "status 412" else "failed")
    assert stream.goes_on() <= (stream.source.page_size if ambiguous else 0)


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest_first", "newest_first"])
def test_an_outage_in_the_middle_is_survived(receiver, make, newest_first):
    stream = Stream(make(retries="2"), lambda: [e["id"] for e in receiver.entries()], newest_first=newest_first)
    stream.source.arrive([1, 3, 1, 2])
    receiver.plan = {0: OK, 1: OK}
    receiver.always = REFUSED
    assert stream.run() == "failed"
    for _ in range(3):
        stream.source.arrive([1])
        assert stream.run() == "failed"
    receiver.always = None
    stream.until_quiet()
    assert stream.lost() == []
    assert stream.repeated() == 0


def test_silence_loses_nothing(receiver, make):
    receiver.plan = {1: SILENT}
    stream = Stream(make(retries="1", timeout="0.5"), lambda: [e["id"] for e in receiver.entries()])
    stream.source.arrive([1, 3, 1])
    stream.until_quiet()
    assert stream.lost() == []
    assert stream.repeated() >= 1
