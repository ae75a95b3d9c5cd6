"""Tables of the stand-in for DynamoDB, as a deployment has made them for Grove, and the items in them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import boto3

__all__ = ["CREDENTIALS", "REGION", "plain_client", "table"]

REGION = "eu-central-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "no-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Those of nobody, as variables of the environment."""


@functools.cache
def plain_client(port: int) -> Any:
    """A plain client of the server at `port`, as an operator or an older deployment has one."""
    session = boto3.session.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    return session.client("dynamodb", region_name=REGION, endpoint_url=f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def table(port: int, name: str) -> Iterator[None]:
    """The table `name`. Gone afterwards: moto's transactions copy all there are."""
    keys = {"pk": "HASH", "sk": "RANGE"}
    plain_client(port).create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    try:
        yield
    finally:
        plain_client(port).delete_table(TableName=name)
