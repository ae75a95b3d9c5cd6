"""Clients of AWS services: one per process and way of signing in, shared by its threads."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Any

from grove.logging import register_secret

__all__ = ["EXPIRED", "Access", "Keys"]

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
"""Error codes of credentials that were good once: S3 and STS, DynamoDB, EC2."""

DEFAULT_REGION = "us-east-1"
CONNECT_TIMEOUT = 5
READ_TIMEOUT = 15
ATTEMPTS = 5
CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials of one kind of AWS user; those of a session come with a token."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """How a service is reached: `region`, `role` (an ARN to assume) and `endpoint` are optional.

    Without `keys`, credentials are what AWS tools use: the environment, profiles, the machine's own.
    """

    service: str
    session_name: str
    region: str | None = None
    role: str | None = None
    endpoint: str | None = None
    keys: Keys | None = None

    def client(self) -> Any:
        """This process's client, made on first use. Raises what botocore raises where a role cannot be assumed."""
        found = _clients.get(self)
        if found is None:
            # Sessions are not safe for threads; clients are.
            with _guard:
                found = _clients.get(self)
                if found is None:
                    found = _clients[self] = self._make()
        return found

    def call(self, operation: str, **parameters: Any) -> Any:
        """The answer to a request, which is made again with new credentials where those at hand have expired.

        Raises what botocore raises. It repeats what is throttled, or fails on the way, ATTEMPTS times in all.
        """
        from botocore.exceptions import ClientError

        client = self.client()
        try:
            return getattr(client, operation)(**parameters)
        except ClientError as err:
            if err.response["Error"]["Code"] not in EXPIRED:
                raise
        # Refused before anything was done, so it can be sent again.
        self.renew(client)
        return getattr(self.client(), operation)(**parameters)

    def renew(self, expired: Any) -> None:
        """Sign in anew for the next call, unless another thread has already replaced the client `expired`."""
        with _guard:
            if _clients.get(self) is expired:
                del _clients[self]

    def _make(self) -> Any:
        import boto3
        from botocore.config import Config

        session = boto3.session.Session(**_named(self.keys))
        region = self.region or os.environ.get("AWS_REGION") or session.region_name or DEFAULT_REGION
        config = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            # Other makers' S3 refuse the newer checksums; where one matters, it is sent as MD5.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        if self.role:
            keys = self._assumed(session.client("sts", region_name=region, config=config))
            session = boto3.session.Session(**_named(keys))
        return session.client(self.service, region_name=region, endpoint_url=self.endpoint, config=config)

    def _assumed(self, sts: Any) -> Keys:
        """The keys of a session of the role."""
        from botocore.exceptions import HTTPClientError
        from botocore.parsers import ResponseParserError

        try:
            issued = sts.assume_role(RoleArn=self.role, RoleSessionName=self.session_name)["Credentials"]
        except ResponseParserError:
            # Not chained: that error quotes the answer, and so perhaps the keys.
            raise HTTPClientError(error="the answer of STS to AssumeRole cannot be read") from None
        register_secret(issued["SecretAccessKey"])
        register_secret(issued["SessionToken"])
        return Keys(issued["AccessKeyId"], issued["SecretAccessKey"], issued["SessionToken"])


def _named(keys: Keys | None) -> dict[str, str | None]:
    if keys is None:
        return {}
    return {
        "aws_access_key_id": keys.key_id,
        "aws_secret_access_key": keys.secret,
        "aws_session_token": keys.token,
    }


_clients: dict[Access, Any] = {}
_guard = threading.Lock()


def _forget_clients() -> None:
    """A forked child must not use its parent's connections."""
    global _guard
    _guard = threading.Lock()
    _clients.clear()


os.register_at_fork(after_in_child=_forget_clients)
