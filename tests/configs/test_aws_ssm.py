"""Documents in parameters: how they are asked for, and what becomes of those that cannot be had."""

import json
import traceback
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from grove.configs.aws_ssm import Handler
from grove.exceptions import AccessException, ConfigurationException
from grove.helpers import aws, plugin
from grove.models import ConnectorConfig
from tests.http.server import Sent, reply
from tests.ssm_link import Link, Request, error

Put = Callable[..., str]


@pytest.fixture
def prefix(ssm_link: Link, monkeypatch: pytest.MonkeyPatch) -> str:
    path = f"/grove/{uuid.uuid4().hex}"
    monkeypatch.setenv("GROVE_CONFIG_AWS_SSM_PREFIX", f"{path}/")
    return path


@pytest.fixture
def put(ssm: Any, prefix: str) -> Put:
    """Keeps a document; the full name of its parameter."""

    def put(place: str, kind: str = "SecureString", text: str | None = None, **fields: Any) -> str:
        document = {"name": place, "identity": "one", "connector": "local_heartbeat", **fields}
        full = f"{prefix}/{place}"
        ssm.put_parameter(Name=full, Value=text or json.dumps(document), Type=kind, Overwrite=True)
        return full

    return put


def names(found: list[ConnectorConfig]) -> list[str]:
    return [config.name for config in found]


def test_it_is_found_by_its_name(put: Put) -> None:
    put("one")
    assert names(plugin.load_handler("aws_ssm", "grove.configs").get()) == ["one"]


def test_every_page_is_asked_for(put: Put, ssm_link: Link) -> None:
    expected = [f"stream{number}" for number in range(21)]
    for name in expected:
        put(name)
    assert names(Handler().get()) == sorted(expected)
    pages = ssm_link.named("GetParametersByPath")
    assert len(pages) == 3
    assert all(page.parameters["WithDecryption"] and page.parameters["Recursive"] for page in pages)


def test_documents_lie_at_any_depth_below_the_prefix(ssm: Any, put: Put, prefix: str) -> None:
    put("deep/er/one", name="deep")
    put("two", kind="String")
    ssm.put_parameter(Name=f"{prefix}x", Value="{", Type="String")
    handler = Handler()
    assert names(handler.get()) == ["deep", "two"]
    assert handler.problems == []


def test_an_empty_page_is_not_the_last_one(put: Put, ssm_link: Link) -> None:
    put("one")

    def first_page_is_empty(request: Request) -> Sent | None:
        if request.operation != "GetParametersByPath" or "NextToken" in request.parameters:
            return None
        return reply(b'{"Parameters": [], "NextToken": "0"}')

    ssm_link.faults.append(first_page_is_empty)
    assert names(Handler().get()) == ["one"]


def test_a_page_that_leads_to_itself_is_an_error(prefix: str, ssm_link: Link) -> None:
    ssm_link.faults.append(lambda request: reply(b'{"Parameters": [], "NextToken": "again"}'))
    with pytest.raises(AccessException, match="a page leads to itself"):
        Handler().get()


def test_a_parameter_may_hold_yaml(put: Put) -> None:
    put("one", text="name: one\nidentity: no\nconnector: local_heartbeat\n---\nname: two\n")
    handler = Handler()
    assert [(config.name, config.identity) for config in handler.get()] == [("one", "no")]
    assert [(problem.path, problem.line) for problem in handler.problems] == [("identity", 5), ("connector", 5)]


# --- who asks, and where ---


def test_a_role_is_assumed_once_for_all_handlers(put: Put, ssm_link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    put("one")
    role = "arn:aws:iam::123456789012:role/grove"
    monkeypatch.setenv("GROVE_CONFIG_AWS_SSM_ASSUME_ROLE_ARN", role)
    for _ in range(2):
        assert names(Handler().get()) == ["one"]
    (assumed,) = ssm_link.named("AssumeRole")
    assert (assumed.parameters["RoleArn"], assumed.key) == (role, "AKIAEXAMPLE")
    assert assumed.parameters["RoleSessionName"] == "GroveConfigurationHandler"
    assert {page.key for page in ssm_link.named("GetParametersByPath")}.isdisjoint({"AKIAEXAMPLE", ""})


def test_an_answer_with_keys_is_not_quoted(put: Put, ssm_link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_CONFIG_AWS_SSM_ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/grove")
    half = b"<AssumeRoleResponse><Credentials><SecretAccessKey>canary-5a1e</SecretAccessKey>"
    ssm_link.faults.append(
        lambda request: reply(half, content_type="text/xml") if request.operation == "AssumeRole" else None
    )
    with pytest.raises(AccessException, match="the answer of STS to AssumeRole cannot be read") as failed:
        Handler().get()
    assert "canary" not in "".join(traceback.format_exception(failed.value))


def test_a_role_that_may_not_be_assumed_is_an_error(put: Put, ssm_link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_CONFIG_AWS_SSM_ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/grove")
    ssm_link.fail("AssumeRole", "AccessDenied")
    with pytest.raises(AccessException, match=r"\(AccessDenied\).*AssumeRole is refused"):
        Handler().get()


@pytest.mark.parametrize(
    ("environment", "region"),
    [
        ({"GROVE_CONFIG_AWS_SSM_SSM_REGION": "eu-west-1", "AWS_REGION": "eu-west-2"}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-2"),
        ({"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        ({"GROVE_CONFIG_AWS_SSM_SSM_REGION": ""}, "us-east-1"),
        ({}, "us-east-1"),
    ],
)
def test_the_region_is_the_nearest_that_is_named(
    prefix: str, ssm_link: Link, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], region: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    Handler().get()
    assert [request.region for request in ssm_link.requests] == [region]


@pytest.mark.parametrize("prefix", ["grove/", "", "grove"])
def test_a_prefix_is_a_path(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_CONFIG_AWS_SSM_PREFIX", prefix)
    with pytest.raises(ConfigurationException, match=r"GROVE_CONFIG_AWS_SSM_PREFIX: .*begin with a slash"):
        Handler()


# --- what goes wrong on the way ---


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken"])
def test_expired_credentials_are_renewed_once(
    put: Put, ssm_link: Link, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    put("one")
    monkeypatch.setenv("GROVE_CONFIG_AWS_SSM_ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/grove")
    ssm_link.fail("GetParametersByPath", code)
    assert names(Handler().get()) == ["one"]
    assert len(ssm_link.named("AssumeRole")) == 2
    first, second = ssm_link.named("GetParametersByPath")
    assert first.key != second.key

    ssm_link.fail("GetParametersByPath", code, times=2)
    with pytest.raises(AccessException, match=code):
        Handler().get()


@pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 400), ("InternalServerError", 500)])
def test_what_is_throttled_is_asked_again_some_times(put: Put, ssm_link: Link, code: str, status: int) -> None:
    put("one")
    ssm_link.fail("GetParametersByPath", code, times=4, status=status)
    assert names(Handler().get()) == ["one"]
    assert len(ssm_link.waits) == 4

    ssm_link.waits.clear()
    before = len(ssm_link.requests)
    ssm_link.fail("GetParametersByPath", code, times=99, status=status)
    with pytest.raises(AccessException, match=code):
        Handler().get()
    assert len(ssm_link.requests) - before == aws.ATTEMPTS
    assert len(ssm_link.waits) == aws.ATTEMPTS - 1
    assert all(0 <= wait <= 20 for wait in ssm_link.waits)


def test_a_store_that_is_not_there_is_an_error(
    ssm_link: Link, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port}")
    with pytest.raises(AccessException, match=r"below '/grove/connectors/' cannot be read: Could not connect"):
        Handler().get()


def test_missing_credentials_are_an_error(ssm_link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessException, match="Unable to locate credentials"):
        Handler().get()


def test_who_may_not_list_is_told_what_to_grant(prefix: str, ssm_link: Link) -> None:
    ssm_link.fail("GetParametersByPath", "AccessDeniedException", times=9)
    with pytest.raises(AccessException, match="Grant ssm:GetParameter and ssm:GetParametersByPath"):
        Handler().get()


# --- one that is unreadable ---


@pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidKeyId"])
def test_a_value_that_cannot_be_decrypted_costs_its_own_document_only(put: Put, ssm_link: Link, code: str) -> None:
    sealed = put("sealed")
    put("open", kind="String")
    put("good")

    def sealed_key(request: Request) -> Sent | None:
        listing = request.operation == "GetParametersByPath" and request.parameters["WithDecryption"]
        return error(code) if listing or request.parameters.get("Name") == sealed else None

    handler = Handler()
    assert names(handler.get()) == ["good", "open", "sealed"]
    ssm_link.faults.append(sealed_key)
    # The version that was read before is kept, and a new handler has none.
    assert names(handler.get()) == ["good", "open", "sealed"]
    for again in (handler, Handler()):
        found = names(again.get())
        (problem,) = again.problems
        assert f"SSM parameter {sealed}: " in str(problem)
        assert code in str(problem)
    assert found == ["good", "open"]


def test_a_listing_that_fails_makes_nothing_be_forgotten(put: Put, ssm_link: Link) -> None:
    put("one", frequency=60)
    handler = Handler()
    (before,) = handler.get()
    ssm_link.fail("GetParametersByPath", "ValidationException")
    with pytest.raises(AccessException):
        handler.get()
    put("one", text="{")
    (kept,) = handler.get()
    assert kept is before
