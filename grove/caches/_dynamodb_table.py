"""Requests to one DynamoDB table, with its errors as ours.

The client sends a request again where the connection fails or the table is throttled. Each one here may be: a
transaction carries a token by which DynamoDB knows it, and everything else either changes nothing the second time or
has a condition whose failure shows the state that the first attempt left.
"""

from __future__ import annotations

import contextlib
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from grove.caches._dynamodb_items import Chunks, Item, Value
from grove.exceptions import AccessException
from grove.helpers import aws

__all__ = ["TRANSACTION", "ConditionError", "DeniedError", "Table", "UnusableError"]

SNAPSHOT = 25
"""Items that one transaction reads: more than a stream has facts, and small enough for every stand-in of DynamoDB."""

TRANSACTION = 100
ATTEMPTS = 8
FIRST_WAIT = 0.025

# Reasons of a cancelled transaction that has met another one, or too little capacity: it may be tried again.
_NOT_NOW = frozenset(
    {"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"}
)
# DynamoDB's own codes, and those of STS where a role is assumed.
_DENIED = frozenset({"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException"})
_DENIED |= {"AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch"}
_NO_TABLE = frozenset({"ResourceNotFoundException", "ValidationException"})


class ConditionError(Exception):
    """A condition does not hold, and nothing was changed.

    `items` are those that it does not hold for, as they are (None: not there), by their place in the request.
    """

    def __init__(self, items: dict[int, Item | None]) -> None:
        super().__init__("a condition is not met")
        self.items = items


class DeniedError(AccessException):
    """These credentials may not do that, or there are none."""


class UnusableError(AccessException):
    """There is no such table, or it is not one of ours."""


class Table:
    """The table called `name`, reached by `access`. AccessException where it fails: a write may have been done."""

    def __init__(self, name: str, access: aws.Access) -> None:
        self.name = name
        self._access = access

    # --- items ---

    def get(self, keys: Sequence[Item]) -> list[Item | None]:
        """The items at `keys`, None where there is none; one snapshot for SNAPSHOT of them."""
        found: list[Item | None] = []
        for first in range(0, len(keys), SNAPSHOT):
            some = keys[first : first + SNAPSHOT]
            if len(some) == 1:
                answer = self._call("get_item", TableName=self.name, Key=some[0], ConsistentRead=True)
                found.append(answer.get("Item"))
                continue
            requests = [{"Get": {"TableName": self.name, "Key": key}} for key in some]
            answer = self._transact("transact_get_items", TransactItems=requests)
            found += [item.get("Item") for item in answer["Responses"]]
        return found

    def update(self, key: Item, **expressions: Any) -> Item:
        """Change an item, and return it as it was. ConditionError."""
        return self._change("update_item", key, expressions)

    def delete(self, key: Item, **expressions: Any) -> Item:
        """Remove an item, and return it as it was. ConditionError."""
        return self._change("delete_item", key, expressions)

    def _change(self, operation: str, key: Item, expressions: Item) -> Item:
        if "ConditionExpression" in expressions:
            expressions["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        answer = self._call(operation, TableName=self.name, Key=key, ReturnValues="ALL_OLD", **expressions)
        old: Item = answer.get("Attributes", {})
        return old

    def transact(self, actions: list[Item]) -> None:
        """All of at most TRANSACTION actions, or ConditionError."""
        self._transact("transact_write_items", TransactItems=actions)

    def scan(self, **expressions: Any) -> Iterator[Item]:
        """Every item of the table that the expressions let through."""
        start: Item = {}
        while True:
            answer = self._call("scan", TableName=self.name, ConsistentRead=True, **expressions, **start)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    # --- big values ---

    def write_parts(self, value: Value) -> None:
        """Write the chunks of `value`, which nothing refers to yet."""
        if value.chunks is not None:
            for key, part in zip(value.chunks.places(), value.parts, strict=True):
                update = {
                    "UpdateExpression": "SET content = :part",
                    "ExpressionAttributeValues": {":part": {"B": part}},
                }
                self._call("update_item", TableName=self.name, Key=key, **update)

    def read_parts(self, chunks: Chunks) -> bytes | None:
        """What lies in `chunks`; None where one is not there, so that they have been replaced or are lost."""
        parts = []
        for key in chunks.places():
            (item,) = self.get([key])
            if item is None:
                return None
            parts.append(bytes(item["content"]["B"]))
        return b"".join(parts)

    def drop_parts(self, chunks: Chunks | None) -> None:
        """Remove chunks that nothing refers to any more. What cannot be removed now is found by a later sweep."""
        if chunks is not None:
            with contextlib.suppress(AccessException):
                for key in chunks.places():
                    self._call("delete_item", TableName=self.name, Key=key)

    # --- requests ---

    def _transact(self, operation: str, **parameters: Any) -> Any:
        if operation == "transact_write_items":
            parameters["ClientRequestToken"] = uuid.uuid4().hex
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, FIRST_WAIT * 2**attempt))
            try:
                return self._call(operation, **parameters)
            except _CancelledError as err:
                codes = {reason.get("Code", "None") for reason in err.reasons}
                if "ConditionalCheckFailed" in codes:
                    failed = {
                        index: reason.get("Item")
                        for index, reason in enumerate(err.reasons)
                        if reason.get("Code") == "ConditionalCheckFailed"
                    }
                    raise ConditionError(failed) from err
                if not codes <= _NOT_NOW:
                    raise AccessException(f"The DynamoDB table {self.name} refused a transaction: {err}") from err
        raise AccessException(
            f"The DynamoDB table {self.name} is too busy; nothing was changed. Give it more capacity."
        )

    def _call(self, operation: str, **parameters: Any) -> Any:
        try:
            return self._access.call(operation, **parameters)
        except ClientError as err:
            raise self._translated(err) from err
        except (NoCredentialsError, PartialCredentialsError) as err:
            raise DeniedError(f"There are no AWS credentials for the DynamoDB table {self.name}: {err}") from err
        except (ParamValidationError, ValueError) as err:
            # A name, region or endpoint that cannot be one.
            raise UnusableError(f"The DynamoDB table {self.name!r} cannot be used: {err}") from err
        except BotoCoreError as err:
            raise AccessException(f"The DynamoDB table {self.name} does not answer: {err}") from err

    def _translated(self, err: ClientError) -> Exception:
        code = err.response["Error"]["Code"]
        if code == "ConditionalCheckFailedException":
            return ConditionError({0: err.response.get("Item")})
        if code == "TransactionCanceledException":
            return _CancelledError(err)
        if code in _DENIED:
            return DeniedError(f"The DynamoDB table {self.name} may not be used like this: {err}")
        if code in _NO_TABLE:
            return UnusableError(f"The DynamoDB table {self.name} cannot be used: {err}")
        return AccessException(f"The DynamoDB table {self.name} failed: {err}")


class _CancelledError(Exception):
    """A transaction was not done; `reasons` has one entry per action."""

    def __init__(self, err: ClientError) -> None:
        super().__init__(str(err))
        self.reasons: list[Item] = err.response.get("CancellationReasons", [])
