"""Grove as a Lambda function, with its documents, secrets, state and output in AWS, or on the instance."""

import gzip
import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from .conftest import Grove

BOOTSTRAP = Path(__file__).with_name("lambda_bootstrap.py")
HANDLER = "grove.entrypoints.aws_lambda.entrypoint"
SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event"}
CANARY = "canary-5a1e"


@dataclass
class Invoked:
    """What a process did that was invoked some times."""

    answers: list[dict[str, Any]]
    logs: list[dict[str, Any]]
    stderr: str


def invoke(environment: dict[str, str], times: int = 1, seconds: float = 60) -> Invoked:
    command = [sys.executable, str(BOOTSTRAP), HANDLER, str(seconds), *[json.dumps(SCHEDULED)] * times]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Invoked(
        [json.loads(line) for line in done.stdout.splitlines()],
        [json.loads(line) for line in done.stderr.splitlines()],
        done.stderr,
    )


@pytest.fixture
def on_disk(grove: Grove, tmp_path: Path) -> dict[str, str]:
    """The environment of a function that keeps everything on its instance."""
    (tmp_path / "out").mkdir()
    return {
        **grove.environment,
        "GROVE_OUTPUT_HANDLER": "local_file",
        "GROVE_OUTPUT_LOCAL_FILE_PATH": str(tmp_path / "out"),
    }


def test_everything_in_aws(ssm: Any, grove: Grove) -> None:
    place = uuid.uuid4().hex
    s3, dynamodb = (boto3.client(service, region_name="us-east-1") for service in ("s3", "dynamodb"))
    s3.create_bucket(Bucket=place)
    dynamodb.create_table(
        TableName=place,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    secret = f"/grove/{place}/secrets/key"
    document = {"name": "beats", "identity": "beats", "connector": "local_heartbeat", "count": 1, "interval": 0}
    ssm.put_parameter(Name=secret, Value=CANARY, Type="SecureString")
    ssm.put_parameter(
        Name=f"/grove/{place}/streams/beats",
        Value=json.dumps({**document, "secrets": {"key": secret}}),
        Type="SecureString",
    )
    environment = {
        **grove.environment,
        "GROVE_CONFIG_HANDLER": "aws_ssm",
        "GROVE_CONFIG_AWS_SSM_PREFIX": f"/grove/{place}/streams/",
        "GROVE_SECRET_HANDLER": "aws_ssm",
        "GROVE_CACHE_HANDLER": "aws_dynamodb",
        "GROVE_CACHE_AWS_DYNAMODB_TABLE": place,
        "GROVE_OUTPUT_HANDLER": "aws_s3",
        "GROVE_OUTPUT_AWS_S3_BUCKET": place,
    }
    # The second invocation finds the instance warm; a third one is another instance.
    done = invoke(environment, times=2)
    assert done.answers == [{"answer": {"Status": "OKAY"}}] * 2
    assert invoke(environment).answers == [{"answer": {"Status": "OKAY"}}]
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=place)["Contents"]]
    lines = [
        json.loads(line)
        for key in keys
        for line in gzip.decompress(s3.get_object(Bucket=place, Key=key)["Body"].read()).splitlines()
    ]
    assert len(lines) == 1
    runtime = lines[0]["_grove"]["runtime"]
    assert runtime.pop("runtime").endswith("aws_lambda.py")
    assert runtime == {
        "runtime_id": "2026/11/24/[$LATEST]0123456789abcdef",
        "lambda_function_arn": "arn:aws:lambda:eu-central-1:123456789012:function:grove",
        "lambda_function_memory_size": "256",
        "lambda_request_id": "request-1",
    }
    assert {line["context"]["lambda_request_id"] for line in done.logs} == {"request-1", "request-2"}
    assert {line["level"] for line in done.logs} == {"INFO"}
    assert CANARY not in done.stderr
    for client in (s3, dynamodb):
        client.close()


def test_a_stream_that_fails_fails_the_invocation(grove: Grove, on_disk: dict[str, str], tmp_path: Path) -> None:
    grove.document("beats", count=1, interval=0)
    grove.probe("bad", "surprised", key=CANARY)
    done = invoke(on_disk)
    (error,) = done.answers
    assert (error["errorType"], error["errorMessage"]) == (
        "GroveException",
        "At least one stream could not be collected; the log says which, and why.",
    )
    assert {path.parts[-5] for path in (tmp_path / "out").rglob("*.json.gz")} == {"beats", "bad"}
    assert CANARY not in done.stderr + json.dumps(done.answers)


@pytest.mark.parametrize("kind", ["document", "setting", "place"])
def test_a_wrong_configuration_fails_the_invocation(grove: Grove, on_disk: dict[str, str], kind: str) -> None:
    if kind == "document":
        (grove.documents / "broken.json").write_text('{"key": "' + CANARY + '"')
    elif kind == "setting":
        on_disk["GROVE_WORKER_COUNT"] = "many"
    else:
        on_disk["GROVE_CONFIG_LOCAL_FILE_PATH"] = "/nowhere"
    done = invoke(on_disk)
    (error,) = done.answers
    assert error["errorMessage"].startswith("A configuration document or a setting is wrong")
    assert any(line["level"] in ("ERROR", "CRITICAL") for line in done.logs)
    assert CANARY not in done.stderr + json.dumps(done.answers)


def test_streams_stop_before_time_runs_out(grove: Grove, on_disk: dict[str, str], tmp_path: Path) -> None:
    grove.document("slow", count=100, interval=3600, frequency=1)
    on_disk["GROVE_LOCK_DURATION"] = "3600"
    done = invoke(on_disk, seconds=4)
    assert done.answers == [{"answer": {"Status": "OKAY"}}]
    assert [line["detail"]["signal"] for line in done.logs if line["message"] == "Stopping."] == ["SIGTERM"]
    assert len(list((tmp_path / "out").rglob("*.json.gz"))) == 1
    # Its lease was given back: another instance goes on at once.
    invoke(on_disk, seconds=4)
    assert len(list((tmp_path / "out").rglob("*.json.gz"))) == 2


def test_state_that_goes_with_the_instance_is_warned_about(grove: Grove, on_disk: dict[str, str]) -> None:
    grove.document("beats", count=1, interval=0)
    warned = [line for line in invoke(on_disk).logs if line["level"] == "WARNING"]
    assert ["State on this instance is lost with it" in line["message"] for line in warned] == [True]
