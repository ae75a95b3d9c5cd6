"""Clients of AWS services: one per process and way of signing in, shared by its threads."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

__all__ = ["EXPIRED", "Access"]

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
"""Error codes of credentials that were good once: S3 and STS, DynamoDB, EC2."""

DEFAULT_REGION = "us-east-1"
CONNECT_TIMEOUT = 5
READ_TIMEOUT = 15
ATTEMPTS = 5
CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Access:
    """How a service is reached: `region`, `role` (an ARN to assume) and `endpoint` are optional."""

    service: str
    session_name: str
    region: str | None = None
    role: str | None = None
    endpoint: str | None = None

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

    def renew(self, expired: Any) -> None:
        """Sign in anew for the next call, unless another thread has already replaced the client `expired`."""
        with _guard:
            if _clients.get(self) is expired:
                del _clients[self]

    def _make(self) -> Any:
        import boto3
        from botocore.config import Config

        session = boto3.session.Session()
        region = self.region or os.environ.get("AWS_REGION") or session.region_name or DEFAULT_REGION
        config = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        if self.role:
            sts = session.client("sts", region_name=region, config=config)
            issued = sts.assume_role(RoleArn=self.role, RoleSessionName=self.session_name)["Credentials"]
            session = boto3.session.Session(
                aws_access_key_id=issued["AccessKeyId"],
                aws_secret_access_key=issued["SecretAccessKey"],
                aws_session_token=issued["SessionToken"],
            )
        return session.client(self.service, region_name=region, endpoint_url=self.endpoint, config=config)


_clients: dict[Access, Any] = {}
_guard = threading.Lock()


def _forget_clients() -> None:
    """A forked child must not use its parent's connections."""
    global _guard
    _guard = threading.Lock()
    _clients.clear()


os.register_at_fork(after_in_child=_forget_clients)
