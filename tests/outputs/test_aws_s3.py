"""Objects in S3: a stand-in for it in a process of its own, and a proxy in front that loses requests and answers."""

import gzip
import json
import uuid

import boto3
import pytest

from grove.outputs import aws_s3
from grove.outputs.aws_s3 import Handler
from grove.testing.output_contract import StagingOutputContract
from tests.servers import make_aws_server, running

PREFIX = "GROVE_OUTPUT_AWS_S3_"


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    with running(make_aws_server(tmp_path_factory.mktemp("aws"))) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
def s3(moto):
    """A client with rights of its own, as a reader has."""
    return boto3.session.Session("reader", "reader-secret", region_name="us-east-1").client("s3", endpoint_url=moto)


@pytest.fixture
def bucket(s3):
    name = f"logs-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """Nothing of the developer's own: no profile, and no waiting."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(aws_s3, "sleep", lambda seconds: None)


@pytest.fixture
def environment(monkeypatch, moto, bucket):
    settings = {
        "bucket": bucket,
        "endpoint_url": moto,
        "aws_access_key_id": "writer",
        "aws_secret_access_key": "writer-secret",
    }

    def put(**changes):
        for name, value in {**settings, **changes}.items():
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)

    put()
    return put


class TestContract(StagingOutputContract):
    @pytest.fixture
    def output(self, s3, bucket, environment):
        self.s3, self.bucket = s3, bucket
        return Handler()

    def objects(self, output):
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {one["Key"]: self.s3.get_object(Bucket=self.bucket, Key=one["Key"])["Body"].read() for one in found}

    def take(self, output):
        for key in self.objects(output):
            self.s3.delete_object(Bucket=self.bucket, Key=key)

    def hidden(self, output):
        found = self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [upload["Key"] for upload in found]

    def entries(self, output):
        return [
            json.loads(line) for data in self.objects(output).values() for line in gzip.decompress(data).splitlines()
        ]
