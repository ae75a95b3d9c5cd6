"""Objects in S3: a stand-in for it in a process of its own, and a link to it that loses requests and answers."""

import gzip
import json
import logging
import types
import uuid
from datetime import timedelta

import boto3
import botocore.endpoint
import pytest

from grove.exceptions import AccessException, ConfigurationException
from grove.helpers import aws, clock
from grove.logging import redact
from grove.outputs import aws_s3
from grove.outputs.aws_s3 import Handler
from grove.testing.output_contract import MOMENT, StagingOutputContract, object_name
from tests.outputs.stream import Stream
from tests.tcp_proxy import RESET_AFTER, RESET_BEFORE, SILENT_AFTER, SILENT_BEFORE, Proxy

PREFIX = "GROVE_OUTPUT_AWS_S3_"


def answer(status, code=None):
    """A reply of S3, with an error in it."""
    body = f"<Error><Code>{code}</Code><Message>made up</Message></Error>".encode() if code else b""
    head = f"HTTP/1.1 {status} Made Up\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture(scope="module")
def link(moto):
    """The way by which the output reaches S3."""
    with Proxy(moto.port) as found:
        yield found


@pytest.fixture(scope="module")
def s3(moto):
    """A reader's client, which has a way of its own."""
    session = boto3.session.Session("reader", "reader-secret", region_name="us-east-1")
    return session.client("s3", endpoint_url=f"http://127.0.0.1:{moto.port}")


@pytest.fixture
def bucket(s3):
    name = f"logs-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path, link):
    """Nothing of the developer's own, no waiting, and a link in order."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(aws_s3, "sleep", lambda seconds: None)
    monkeypatch.setattr(botocore.endpoint, "time", types.SimpleNamespace(sleep=lambda seconds: None))
    link.fail("", times=0)


@pytest.fixture
def environment(monkeypatch, link, bucket):
    settings = {
        "bucket": bucket,
        "endpoint_url": f"http://127.0.0.1:{link.port}",
        "aws_access_key_id": "writer",
        "aws_secret_access_key": "writer-secret",
    }

    def put(**changes):
        for name, value in {**settings, **changes}.items():
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)

    put()
    return put


@pytest.fixture
def make(environment):
    """An output, set up; `make(bucket="b")` sets GROVE_OUTPUT_AWS_S3_BUCKET."""

    def build(**settings):
        environment(**settings)
        handler = Handler()
        handler.setup()
        return handler

    return build


@pytest.fixture(scope="module")
def impatient():
    """Clients that make no request twice, kept because they take long to make."""
    return {}


@pytest.fixture
def once(monkeypatch, impatient):
    """No request is made twice by botocore itself."""
    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    monkeypatch.setattr(aws, "_clients", impatient)


@pytest.fixture
def watch():
    """Collects the values of a header in the requests of an operation: `watch(output, "UploadPart", "Content-MD5")`."""
    watched = []

    def begin(output, operation, header):
        seen = []

        def look(request, **_):
            seen.append(request.headers.get(header))

        events, name = output._access.client().meta.events, f"before-send.s3.{operation}"
        events.register(name, look)
        watched.append((events, name, look))
        return seen

    yield begin
    for events, name, look in watched:
        events.unregister(name, look)


def keys(s3, bucket):
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def uploads(s3, bucket):
    return s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def read(s3, bucket):
    """Every delivered entry, parsed."""
    objects = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys(s3, bucket)]
    return [json.loads(line) for data in objects for line in gzip.decompress(data).splitlines()]


class TestContract(StagingOutputContract):
    @pytest.fixture
    def output(self, s3, bucket, environment):
        self.s3, self.bucket = s3, bucket
        return Handler()

    def objects(self, output):
        return {
            key: self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys(self.s3, self.bucket)
        }

    def take(self, output):
        for key in keys(self.s3, self.bucket):
            self.s3.delete_object(Bucket=self.bucket, Key=key)

    def hidden(self, output):
        return [upload["Key"] for upload in uploads(self.s3, self.bucket)]

    def entries(self, output):
        return read(self.s3, self.bucket)


# --- an object ---


def test_an_object_lies_where_a_file_would_and_says_what_it_is(s3, bucket, make):
    output = make()
    staged = output.stage(object_name(identity="corp"), b"payload")
    output.publish(staged)
    key = "logs/contract/corp/2024/02/29/all-2024-02-29T23:59:59Z.0-0123456789abcdef.json.gz"
    found = s3.head_object(Bucket=bucket, Key=key)
    assert found["ContentType"] == "application/gzip"
    assert found["Metadata"] == {"grove-blake3": staged["blake3"]}


def test_a_page_costs_three_requests(link, make):
    output = make()
    before = link.exchanges
    output.publish(output.stage(object_name(), b"payload"))
    output.settle([], [])
    assert link.exchanges - before == 3


def test_what_is_uploaded_carries_its_checksum(make, watch):
    output = make()
    seen = watch(output, "UploadPart", "Content-MD5")
    output.stage(object_name(), b"payload")
    assert seen == [b"Mhw89IbtUJFk7eweGYH+yA=="]


def test_an_object_is_finished_in_the_bucket_where_it_was_staged(s3, bucket, make):
    staged = make().stage(object_name(), b"payload")
    s3.create_bucket(Bucket=f"other-{bucket[:40]}")
    make(bucket=f"other-{bucket[:40]}").publish(staged)
    assert len(keys(s3, bucket)) == 1


# --- requests that fail ---


@pytest.mark.parametrize("fault", [RESET_BEFORE, RESET_AFTER, answer(500), answer(503, "SlowDown")], ids=str)
@pytest.mark.parametrize("request_number", range(3))
def test_a_request_is_made_again_by_itself(s3, bucket, link, make, request_number, fault):
    output = make()
    link.fail(fault, after=request_number)
    output.publish(output.stage(object_name(), b"payload"))
    assert link.met == 1
    assert len(keys(s3, bucket)) == 1


def test_an_answer_that_is_none_is_an_error_of_ours(link, make, once):
    output = make()
    for operation in (lambda: output.stage(object_name(), b"payload"), lambda: list(output._uploads("b", "p"))):
        link.fail(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
        with pytest.raises(AccessException, match="See whether S3 is in order"):
            operation()


def test_what_could_not_be_uploaded_is_removed(s3, bucket, link, make, once):
    output = make()
    link.fail(answer(500), after=1)
    with pytest.raises(AccessException, match=f"s3://{bucket}/logs/contract/.*next run"):
        output.stage(object_name(), b"payload")
    assert uploads(s3, bucket) == []


def test_a_conflict_is_tried_again(s3, bucket, link, make):
    output = make()
    staged = output.stage(object_name(), b"payload")
    link.fail(answer(409, "ConditionalRequestConflict"))
    output.publish(staged)
    assert len(keys(s3, bucket)) == 1
    assert link.met == 1


def test_a_conflict_that_lasts_is_an_error(s3, bucket, link, make):
    output = make()
    staged = output.stage(object_name(), b"payload")
    link.fail(answer(409, "ConditionalRequestConflict"), times=100)
    with pytest.raises(AccessException, match=r"s3://.*409"):
        output.publish(staged)
    assert len(uploads(s3, bucket)) == 1


@pytest.mark.parametrize("conflicts", [0, 1])
def test_an_object_that_is_not_ours_is_named(s3, bucket, link, make, conflicts):
    output = make()
    staged = output.stage(object_name(), b"payload")
    s3.put_object(Bucket=bucket, Key=staged["key"], Body=b"another")
    link.fail(answer(409, "ConditionalRequestConflict"), times=conflicts)
    with pytest.raises(AccessException, match=f"s3://{bucket}/logs/.*another object has that name"):
        output.publish(staged)
    assert len(uploads(s3, bucket)) == 1
    s3.delete_object(Bucket=bucket, Key=staged["key"])
    output.publish(staged)
    assert len(keys(s3, bucket)) == 1


def test_missing_rights_are_listed(link, make, once):
    output = make()
    staged = output.stage(object_name(), b"payload")
    link.fail(answer(403, "AccessDenied"))
    with pytest.raises(AccessException, match=r"Grant s3:PutObject.*s3:ListBucketMultipartUploads"):
        output.publish(staged)


def test_an_upload_that_disappeared_soon_was_completed(s3, bucket, make):
    output = make()
    staged = output.stage(object_name(), b"payload")
    output.discard(staged)
    output.publish(staged)
    assert keys(s3, bucket) == []


def test_an_upload_that_disappeared_in_time_may_be_lost(s3, bucket, make, monkeypatch):
    output = make()
    staged = output.stage(object_name(), b"payload")
    output.discard(staged)
    later = clock.now() + timedelta(days=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(AccessException, match=rf"{staged['key']}.*{staged['at']}.*put any object there"):
        output.publish(staged)
    # The way out that the error names.
    s3.put_object(Bucket=bucket, Key=staged["key"], Body=b"")
    output.publish(staged)


def test_an_endpoint_without_conditions_is_said_once(s3, bucket, link, make, watch, caplog):
    output = make()
    seen = watch(output, "CompleteMultipartUpload", "If-None-Match")
    for number in range(2):
        staged = output.stage(object_name(part=number), b"payload")
        if not number:
            link.fail(answer(501, "NotImplemented"))
        output.publish(staged)
    assert len(keys(s3, bucket)) == 2
    assert seen == [b"*", None, None]
    assert sum("conditional" in record.getMessage() for record in caplog.records) == 1


# --- what earlier attempts left ---


def sweep(output):
    return output.sweep(object_name(), "store-stream-", MOMENT.date(), set())


def test_a_sweep_that_fails_says_so_and_how_else_to_clean_up(link, make, once, caplog):
    output = make()
    link.fail(answer(403, "AccessDenied"))
    assert sweep(output) is False
    assert "lifecycle rule" in caplog.text


def test_a_sweep_looks_at_every_page_of_the_list(s3, bucket, link, make):
    output = make()
    staged = [output.stage(object_name(part=number), b"orphan") for number in range(2)]
    first = staged[0]
    body = (
        "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>"
        f"<NextKeyMarker>{first['key']}</NextKeyMarker><NextUploadIdMarker>{first['upload']}</NextUploadIdMarker>"
        f"<Upload><Key>{first['key']}</Key><UploadId>{first['upload']}</UploadId></Upload></ListMultipartUploadsResult>"
    ).encode()
    link.fail(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert sweep(output) is True
    assert uploads(s3, bucket) == []


# --- settings and credentials ---


def test_a_bucket_is_required():
    with pytest.raises(ConfigurationException, match="GROVE_OUTPUT_AWS_S3_BUCKET"):
        Handler()


@pytest.mark.parametrize("bucket_name", ["no-such-bucket-anywhere", "No Bucket!"])
def test_a_bucket_that_is_not_there_is_found_at_the_start(make, bucket_name):
    with pytest.raises(ConfigurationException, match=f"{bucket_name}.*GROVE_OUTPUT_AWS_S3_BUCKET"):
        make(bucket=bucket_name)


def test_a_bucket_is_asked_for_until_it_is_there_and_not_again(s3, link, make):
    name = f"logs-{uuid.uuid4().hex}"
    for _ in range(2):
        with pytest.raises(ConfigurationException, match=name):
            make(bucket=name)
    s3.create_bucket(Bucket=name)
    make(bucket=name)
    exchanges = link.exchanges
    make(bucket=name)
    assert link.exchanges == exchanges


def test_an_endpoint_that_is_no_address_is_found_at_the_start(make):
    with pytest.raises(ConfigurationException, match="GROVE_OUTPUT_AWS_S3_ENDPOINT_URL"):
        make(endpoint_url="nonsense")


def test_an_endpoint_that_is_down_may_come_back(make, once):
    output = make(endpoint_url="http://127.0.0.1:1")
    with pytest.raises(AccessException, match=r"s3://logs-.*127\.0\.0\.1:1"):
        output.stage(object_name(), b"payload")


def test_half_of_the_credentials_is_none(environment, monkeypatch):
    monkeypatch.delenv(f"{PREFIX}AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationException, match="AWS_SECRET_ACCESS_KEY"):
        Handler()


def test_without_credentials_nothing_starts(environment, monkeypatch):
    monkeypatch.delenv(f"{PREFIX}AWS_ACCESS_KEY_ID")
    monkeypatch.delenv(f"{PREFIX}AWS_SECRET_ACCESS_KEY")
    output = Handler()
    with pytest.raises(ConfigurationException, match="credentials"):
        output.setup()


def test_credentials_may_be_those_of_aws_tools(s3, bucket, environment, monkeypatch, tmp_path):
    monkeypatch.delenv(f"{PREFIX}AWS_ACCESS_KEY_ID")
    monkeypatch.delenv(f"{PREFIX}AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(aws, "_clients", {})
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    output = Handler()
    output.setup()
    output.publish(output.stage(object_name(), b"payload"))
    assert len(keys(s3, bucket)) == 1


def test_a_role_is_assumed_and_assumed_again_when_its_session_has_ended(s3, bucket, moto, link, make, monkeypatch):
    with Proxy(moto.port) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{sts.port}")
        output = make(assume_role_arn=f"arn:aws:iam::123456789012:role/{bucket}")
        assert sts.exchanges == 1
        output.publish(output.stage(object_name(), b"payload"))
        assert sts.exchanges == 1
        link.fail(answer(400, "ExpiredToken"))
        output.publish(output.stage(object_name(part=1), b"payload"))
        assert sts.exchanges == 2
        assert len(keys(s3, bucket)) == 2


def test_a_session_that_stays_ended_is_an_error(link, make):
    output = make()
    link.fail(answer(400, "ExpiredToken"), times=10)
    with pytest.raises(AccessException, match=r"ExpiredToken.*Check the credentials"):
        output.stage(object_name(), b"payload")


def test_all_handlers_of_a_process_share_one_client(make):
    assert make()._access.client() is make()._access.client()


def test_no_credential_is_shown(link, make, caplog, once):
    caplog.set_level(logging.DEBUG, logger="grove")
    output = make(aws_secret_access_key="s3cret-one", aws_session_token="s3cret-two")
    link.fail(answer(403, "AccessDenied"), times=10)
    with pytest.raises(AccessException) as caught:
        output.stage(object_name(), b"payload")
    assert "s3cret" not in f"{output.config!r} {output._access!r} {caught.value!r} {caught.value.__cause__!r}"
    assert "s3cret" not in caplog.text
    assert redact("s3cret-one s3cret-two") == "[redacted] [redacted]"


# --- R23: what the promise says, through the real engine ---

FAULTS = {
    "request lost": RESET_BEFORE,
    "answer lost": RESET_AFTER,
    "status 500": answer(500, "InternalError"),
    "status 503": answer(503, "SlowDown"),
    "status 429": answer(429, "TooManyRequests"),
    "status 409": answer(409, "ConditionalRequestConflict"),
    "status 412": answer(412, "PreconditionFailed"),
}


class Reader:
    """What is in the bucket; a `greedy` one takes it away at the end of each run."""

    def __init__(self, s3, bucket, greedy):
        self.s3, self.bucket, self.greedy = s3, bucket, greedy
        self.taken = []

    def arrived(self):
        found = [entry["id"] for entry in read(self.s3, self.bucket)]
        if self.greedy:
            self.taken += found
            for key in keys(self.s3, self.bucket):
                self.s3.delete_object(Bucket=self.bucket, Key=key)
            return self.taken
        return found


@pytest.fixture
def collect(s3, bucket, link, make):
    """Collects a stream whose requests meet `fault` from number `after` on, and then one that has got more."""

    def run(fault, after, times=1, newest_first=False, greedy=False):
        reader = Reader(s3, bucket, greedy)
        stream = Stream(make(), reader.arrived, newest_first=newest_first)
        stream.source.arrive([1, 3, 1])
        link.fail(fault, after=after, times=times)
        stream.run()
        assert link.met
        link.fail("", times=0)
        assert stream.goes_on() == 0
        assert uploads(s3, bucket) == []

    return run


EVERYWHERE = ("request lost", "answer lost", "status 500")


@pytest.mark.parametrize(
    ("fault", "number"), [(fault, number) for fault in FAULTS for number in range(9 if fault in EVERYWHERE else 3)]
)
def test_a_fault_loses_nothing_and_repeats_nothing(collect, once, fault, number):
    collect(FAULTS[fault], number, newest_first=number % 2 == 1, greedy=number % 3 == 1)


@pytest.mark.parametrize("greedy", [False, True], ids=["patient", "greedy"])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_outage_in_the_middle_is_survived(collect, once, fault, greedy):
    collect(FAULTS[fault], 4, times=1000, greedy=greedy)


@pytest.mark.parametrize("fault", [SILENT_BEFORE, SILENT_AFTER])
@pytest.mark.parametrize("number", [3, 5])
def test_silence_loses_nothing_and_repeats_nothing(collect, once, monkeypatch, fault, number):
    monkeypatch.setattr(aws, "READ_TIMEOUT", 0.5)
    monkeypatch.setattr(aws, "_clients", {})
    collect(fault, number)
