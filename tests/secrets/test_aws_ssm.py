"""Secrets in parameters: how they are asked for, and what an error tells of them."""

import subprocess
import sys
import traceback
import uuid
from typing import Any

import pytest

from grove.exceptions import AccessException, NotFoundException
from grove.helpers import aws, plugin
from grove.logging import redact
from grove.secrets.aws_ssm import Handler
from tests.http.server import reply
from tests.ssm_link import Link

CANARY = "canary-5a1e"


@pytest.fixture
def name(ssm: Any) -> str:
    """A parameter that holds the canary."""
    name = f"/grove/{uuid.uuid4().hex}/token"
    ssm.put_parameter(Name=name, Value=CANARY, Type="SecureString")
    return name


def test_it_is_found_by_its_name(name: str) -> None:
    assert plugin.load_handler("aws_ssm", "grove.secrets").get(name) == CANARY


@pytest.mark.parametrize("kind", ["String", "StringList", "SecureString"])
def test_every_kind_of_parameter_is_a_secret(ssm: Any, kind: str) -> None:
    name = f"/grove/{uuid.uuid4().hex}/token"
    ssm.put_parameter(Name=name, Value="one,two", Type=kind)
    assert Handler().get(name) == "one,two"


def test_an_older_version_can_be_asked_for(ssm: Any, name: str) -> None:
    ssm.put_parameter(Name=name, Value="newer", Type="SecureString", Overwrite=True)
    assert (Handler().get(name), Handler().get(f"{name}:1")) == ("newer", CANARY)
    with pytest.raises(NotFoundException, match=":7' does not exist"):
        Handler().get(f"{name}:7")


def test_a_role_is_assumed_first(name: str, ssm_link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_SECRET_AWS_SSM_ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/grove")
    monkeypatch.setenv("GROVE_SECRET_AWS_SSM_SSM_REGION", "us-east-1")
    assert Handler().get(name) == CANARY
    (assumed,), (asked,) = ssm_link.named("AssumeRole"), ssm_link.named("GetParameter")
    assert assumed.parameters["RoleSessionName"] == "GroveSecretHandler"
    assert asked.key not in (assumed.key, "")


def test_the_keys_of_a_role_are_kept_out_of_the_logs(
    name: str, ssm_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROVE_SECRET_AWS_SSM_ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/grove")
    Handler().get(name)
    ((access, client),) = aws._clients.items()
    keys = client._request_signer._credentials
    assert redact(f"{keys.secret_key} {keys.token}") == "[redacted] [redacted]"
    assert keys.secret_key not in repr(access)


def test_every_stream_asks_through_one_client(name: str, ssm_link: Link) -> None:
    assert [Handler().get(name) for _ in range(3)] == [CANARY] * 3
    assert len(aws._clients) == 1


def test_throttling_ends(name: str, ssm_link: Link) -> None:
    ssm_link.fail("GetParameter", "ThrottlingException", times=4)
    assert Handler().get(name) == CANARY
    ssm_link.fail("GetParameter", "ThrottlingException", times=99)
    with pytest.raises(AccessException, match="ThrottlingException"):
        Handler().get(name)
    assert len(ssm_link.waits) == 2 * (aws.ATTEMPTS - 1)


def test_what_may_not_be_read_is_named(name: str, ssm_link: Link) -> None:
    ssm_link.fail("GetParameter", "AccessDeniedException")
    with pytest.raises(AccessException, match=rf"The SSM parameter '{name}' .*AccessDeniedException.*kms:Decrypt"):
        Handler().get(name)


def test_half_an_answer_is_not_quoted(name: str, ssm_link: Link) -> None:
    ssm_link.faults.append(lambda request: reply(b'{"Parameter": {"Value": "' + CANARY.encode() + b'"'))
    with pytest.raises(AccessException, match="what answers is not the parameter store") as failed:
        Handler().get(name)
    assert CANARY not in "".join(traceback.format_exception(failed.value))


@pytest.mark.parametrize("group", ["grove.configs", "grove.secrets"])
def test_a_missing_package_names_the_extra(group: str) -> None:
    code = f"""
import sys
sys.modules["boto3"] = sys.modules["botocore"] = None
from grove.helpers import plugin
try:
    plugin.load_class("aws_ssm", {group!r})
except Exception as err:
    print(type(err).__name__, err)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("ConfigurationException"), done.stderr
    assert "pip install 'grove[aws]'" in done.stdout
