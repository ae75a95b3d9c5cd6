"""State in a DynamoDB table, shared by any number of hosts; tables of older deployments keep working.

A batch is one transaction. Values too big for an item lie in chunks that are written first and switched to by the
transaction; batches too big for a transaction go through `grove.caches._dynamodb_large`. The permissions it needs are
those it always needed (GetItem, UpdateItem, DeleteItem, ConditionCheckItem), and Scan to list streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from blake3 import blake3
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.caches import Batch, Key, _dynamodb_large
from grove.caches._dynamodb_items import INTERNAL, Chunks, Item, Step, age, internal_name, key_of, place, steps
from grove.caches._dynamodb_table import (
    TRANSACTION,
    ConditionError,
    DeniedError,
    Table,
    UnusableError,
)
from grove.caches._native import NativeCache
from grove.exceptions import (
    AccessException,
    ConfigurationException,
    ConflictError,
    CorruptStateError,
    NotImplementedException,
)
from grove.helpers import aws, settings

__all__ = ["Handler"]

ENV_PREFIX = "GROVE_CACHE_AWS_DYNAMODB_"
SESSION_NAME = "GroveDynamoDBHandler"
ATTEMPTS = 20
MOST_KNOWN = 100_000
ABANDONED = 86400.0
"""Seconds after which what no item refers to was left by a writer that has died."""


class Configuration(BaseSettings):
    """GROVE_CACHE_AWS_DYNAMODB_TABLE and the rest. `url` is an endpoint other than the region's own."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", hide_input_in_errors=True)

    table: str = Field(default="grove", description="The table: partition key `pk`, sort key `sk`, both strings.")
    url: str | None = Field(default=None, description="An endpoint other than the region's own.")
    assume_role_arn: str | None = Field(default=None, description="A role to assume first.")
    table_region: str | None = Field(
        default=None, description="Its region; without it AWS_REGION, the profile's, or us-east-1."
    )


class Handler(NativeCache):
    """A table with the string keys `pk` and `sk`, and the value in the string `data`.

    The settings are those of `Configuration`, from the environment; arguments replace them. The region is
    `table_region`, `AWS_REGION`, the one of the AWS profile, or us-east-1.
    """

    SCOPE: ClassVar[str] = "shared"
    EXTRA: ClassVar[str | None] = "aws"

    def __init__(self, **given: Any) -> None:
        self.config = settings.read(Configuration, **given)
        access = aws.Access(
            service="dynamodb",
            session_name=SESSION_NAME,
            region=self.config.table_region or None,
            role=self.config.assume_role_arn or None,
            endpoint=self.config.url or None,
        )
        self._table = Table(self.config.table, access)
        # Where the big values lie that a change would leave behind, as far as they have been seen.
        self._known: dict[Key, Chunks | None] = {}

    def setup(self) -> None:
        """Reach the table. ConfigurationException where it is missing, is another's, or may not be used."""
        try:
            self.read([Key("store", "id")])
        except DeniedError as err:
            raise ConfigurationException(
                f"{err}. Grant dynamodb:GetItem, UpdateItem, DeleteItem and ConditionCheckItem on it, and Scan."
            ) from err
        except UnusableError as err:
            raise ConfigurationException(
                f"{err}. Create it with the partition key pk and the sort key sk, both strings, or correct "
                f"{ENV_PREFIX}TABLE and {ENV_PREFIX}TABLE_REGION."
            ) from err

    def reopen(self) -> None:
        """Forget what is known of the table. Connections take care of themselves."""
        self._known.clear()

    # --- values ---

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`: one snapshot for up to 25 of them, consistent beyond."""
        wanted = list(dict.fromkeys(keys))
        missing: set[str] = set()
        for _ in range(ATTEMPTS):
            found = dict(zip(wanted, self._table.get([place(key) for key in wanted]), strict=True))
            if _dynamodb_large.settle(self._table, filter(None, found.values())):
                continue
            self._note(found)
            try:
                values = {key: None if item is None else self._value(item, missing) for key, item in found.items()}
            except _ReplacedError:
                continue
            return [values[key] for key in keys]
        raise AccessException(
            f"The DynamoDB table {self.config.table} could not be read: it is being changed too fast."
        )

    def apply(self, batch: Batch) -> None:
        """All of `batch`, or ConflictError. AccessException: it may have been done, unless the error says otherwise."""
        todo = steps(batch)
        if not todo:
            return
        unknown = [key for key in batch.changes if key not in self._known]
        if unknown:
            self._note(dict(zip(unknown, self._table.get([place(key) for key in unknown]), strict=True)))
        replaced = [self._known.pop(key, None) for key in batch.changes]
        written = [step.value for step in todo if step.value is not None]
        for value in written:
            self._table.write_parts(value)
        try:
            self._carry_out(todo)
        except ConditionError as err:
            for value in written:
                self._table.drop_parts(value.chunks)
            raise ConflictError(f"{_named(todo, err)} is not what it was; nothing was changed.") from err
        for chunks in replaced:
            self._table.drop_parts(chunks)
        self._known.update({step.key: step.value.chunks if step.value else None for step in todo if step.changing})

    def _carry_out(self, todo: list[Step]) -> None:
        if len(todo) > TRANSACTION:
            _dynamodb_large.apply(self._table, todo)
            return
        actions = [step.action(self.config.table) for step in todo]
        for _ in range(ATTEMPTS):
            try:
                self._table.transact(actions)
                return
            except ConditionError as err:
                if not _dynamodb_large.settle(self._table, filter(None, err.items.values())):
                    raise
        raise AccessException(f"The DynamoDB table {self.config.table} is being changed too fast; nothing was changed.")

    def _note(self, found: dict[Key, Item | None]) -> None:
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        for key, item in found.items():
            self._known[key] = Chunks.decode(item["chunks"]) if item is not None and "chunks" in item else None

    def _value(self, item: Item, missing: set[str]) -> str:
        """What an item holds. CorruptStateError names it.

        _ReplacedError the first time that a part is missing: `missing` tells what was replaced since from what is lost.
        """
        if "chunks" not in item:
            try:
                text: str = item["data"]["S"]
            except KeyError as err:
                raise CorruptStateError(f"{_shown(key_of(item))} has no string in `data`. {_RESTORE}") from err
            return text
        chunks = Chunks.decode(item["chunks"])
        data = self._table.read_parts(chunks)
        if data is None:
            if chunks.generation in missing:
                raise CorruptStateError(f"{_shown(key_of(item))} lacks a part. {_RESTORE}")
            missing.add(chunks.generation)
            raise _ReplacedError
        if blake3(data).hexdigest() != chunks.digest:
            raise CorruptStateError(f"{_shown(key_of(item))} is damaged. {_RESTORE}")
        return data.decode("utf-8", "surrogatepass")

    # --- listing ---

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value. NotImplementedException without the permission.

        The whole table is read for it, so what dead writers have left in it is removed on the way.
        """
        expressions: Item = {
            "ProjectionExpression": "pk, sk, #data, chunks, intent, original_key",
            "ExpressionAttributeNames": {"#data": "data"},
        }
        if prefix:
            internal = "begins_with(pk, :internal) OR attribute_exists(chunks) OR attribute_exists(intent)"
            expressions["FilterExpression"] = (
                f"begins_with(pk, :prefix) OR attribute_exists(original_key) OR {internal}"
            )
            expressions["ExpressionAttributeValues"] = {":prefix": {"S": prefix}, ":internal": {"S": INTERNAL}}
        try:
            items = list(self._table.scan(**expressions))
        except DeniedError as err:
            raise NotImplementedException(f"{err}. Grant dynamodb:Scan on it to list what it holds.") from err
        self._sweep(items)
        for item in items:
            if internal_name(item) is None and key_of(item).pk.startswith(prefix):
                (value,) = [item["data"]["S"]] if "data" in item and "intent" not in item else self.read([key_of(item)])
                if value is not None:
                    yield key_of(item), value

    def _sweep(self, items: list[Item]) -> None:
        """Remove chunks and records of batches that nothing refers to, once no writer can be at work on them."""
        used = {_dynamodb_large.batch_of(item) for item in items if "intent" in item}
        used |= {chunks.generation for item in items for chunks in _chunks_of(item)}
        for item in items:
            name = internal_name(item)
            if name is not None and name not in used and age(name) > ABANDONED:
                self._table.delete({"pk": item["pk"], "sk": item["sk"]})


class _ReplacedError(Exception):
    """A big value was replaced between its item and its parts: both have to be read again."""


def _chunks_of(item: Item) -> Iterator[Chunks]:
    """What an item refers to, now or once its intent is carried out."""
    change = item.get("intent", {}).get("M", {}).get("change", {}).get("M", {})
    for attributes in (item, change):
        if "chunks" in attributes:
            yield Chunks.decode(attributes["chunks"])


def _named(todo: list[Step], err: ConditionError) -> str:
    key = todo[next(iter(err.items))].key
    return f"{key.pk} ({key.sk})"


def _shown(key: Key) -> str:
    return f"The cached value of {key.pk!a} ({key.sk!a})"


_RESTORE = "Restore the table from a backup, or delete this item to start its stream again."
