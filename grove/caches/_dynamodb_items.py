"""How keys and values lie in a DynamoDB table: nothing here makes a request.

An item has the keys `pk` and `sk` and its value in `data`, all strings, as older deployments wrote them. Beside these:

* `chunks` stands in the place of `data` where a value is too big for one item: its bytes lie in items of their own,
  written before and never changed.
* `original_key` is there where the table cannot have the key as it is, and `pk` or `sk` holds a hash of it.
* `intent` says what a batch too big for one transaction is about to do (see `grove.caches._dynamodb_large`).

Limits: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from grove.caches import Batch, Key
from grove.helpers import clock

__all__ = [
    "INTERNAL",
    "RECORD",
    "Chunks",
    "Item",
    "Step",
    "Value",
    "age",
    "assignment",
    "expressions",
    "internal_name",
    "key_of",
    "new_id",
    "original_key",
    "place",
    "steps",
]

Item = dict[str, Any]

INLINE = 32_000
"""Bytes of a value that still lie in the item itself: a hundred such items stay below a transaction's 4 MB."""

CHUNK = 380_000
"""Bytes in one chunk: an item, names and all, may have 400 KB."""

INTERNAL = "grove:"
"""How partition keys begin that are not a caller's own."""

HASHED = f"{INTERNAL}key:"
PART = f"{INTERNAL}chunk:"
RECORD = f"{INTERNAL}batch:"

PK_LIMIT = 2048
SK_LIMIT = 1024


# --- keys ---


def place(key: Key) -> Item:
    """The key of the item that holds `key`."""
    return {"pk": {"S": _storable(key.pk, PK_LIMIT)}, "sk": {"S": _storable(key.sk, SK_LIMIT)}}


def key_of(item: Item) -> Key:
    """The key of which `place` made the item's."""
    if "original_key" in item:
        pk, sk = json.loads(item["original_key"]["S"])
        return Key(pk, sk)
    return Key(item["pk"]["S"], item["sk"]["S"])


def original_key(key: Key) -> Item | None:
    """What has to be kept of `key` beside its place; None where the place says it all."""
    found = place(key)
    if found["pk"]["S"] == key.pk and found["sk"]["S"] == key.sk:
        return None
    return {"S": json.dumps(key)}


def _storable(text: str, limit: int) -> str:
    data = text.encode("utf-8", "surrogatepass")
    if 0 < len(data) <= limit and not text.startswith(INTERNAL) and _is_unicode(text):
        return text
    return f"{HASHED}{blake3(data).hexdigest()}"


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def internal_name(item: Item) -> str | None:
    """The generation of which `item` is a chunk, or the batch of which it is the record; None for a caller's item."""
    pk: str = item["pk"]["S"]
    return pk.removeprefix(PART).removeprefix(RECORD) if pk.startswith((PART, RECORD)) else None


def new_id() -> str:
    """A name that nothing else has, and that says when it was made."""
    return f"{int(clock.now().timestamp()):010x}-{uuid.uuid4().hex}"


def age(name: str) -> float:
    """Seconds since `new_id` made `name`."""
    return clock.now().timestamp() - int(name.partition("-")[0], 16)


# --- values ---


@dataclass(frozen=True, slots=True)
class Chunks:
    """Where a big value lies: `count` items under the name `generation`, and the digest of them all together."""

    generation: str
    count: int
    digest: str

    def encode(self) -> Item:
        """The attribute that says so."""
        count = {"N": str(self.count)}
        return {"M": {"generation": {"S": self.generation}, "count": count, "digest": {"S": self.digest}}}

    @classmethod
    def decode(cls, attribute: Item) -> Chunks:
        """The inverse of `encode`."""
        found = attribute["M"]
        return cls(found["generation"]["S"], int(found["count"]["N"]), found["digest"]["S"])

    def places(self) -> Iterator[Item]:
        """The key of each chunk, in order."""
        for number in range(self.count):
            yield {"pk": {"S": f"{PART}{self.generation}"}, "sk": {"S": f"{number:06d}"}}


@dataclass(frozen=True, slots=True)
class Value:
    """A value as an item holds it: in `data`, or as `chunks` whose bytes are `parts`."""

    attribute: str
    content: Item
    chunks: Chunks | None = None
    parts: tuple[bytes, ...] = ()

    @classmethod
    def encode(cls, text: str) -> Value:
        """The form that `text` is stored in; TypeError for anything but text."""
        if not isinstance(text, str):
            raise TypeError(f"a cache holds text, not {type(text).__name__}")
        data = text.encode("utf-8", "surrogatepass")
        # What is no Unicode text cannot be a string of DynamoDB.
        if len(data) <= INLINE and _is_unicode(text):
            return cls("data", {"S": text})
        parts = tuple(data[start : start + CHUNK] for start in range(0, len(data), CHUNK))
        chunks = Chunks(new_id(), len(parts), blake3(data).hexdigest())
        return cls("chunks", chunks.encode(), chunks, parts)


# --- what a batch does to an item ---


@dataclass(frozen=True, slots=True)
class Step:
    """All that a batch asks of one key: a condition, a change, or both."""

    key: Key
    conditional: bool
    required: str | None
    changing: bool
    value: Value | None

    def condition(self) -> tuple[str, Item]:
        """The expression that has to hold, and its values. No item may be changed under another batch's intent."""
        free = "attribute_not_exists(intent)"
        if not self.conditional:
            return free, {}
        if self.required is None:
            return f"{free} AND attribute_not_exists(#data) AND attribute_not_exists(chunks)", {}
        required = Value.encode(self.required)
        if required.chunks is None:
            return f"{free} AND #data = :required", {":required": required.content}
        return f"{free} AND chunks.digest = :required", {":required": {"S": required.chunks.digest}}

    def action(self, table: str) -> Item:
        """What a transaction does for this step."""
        condition, values = self.condition()
        request: Item = {"TableName": table, "Key": place(self.key), "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        if not self.changing:
            return {"ConditionCheck": {**request, **expressions(condition, values)}}
        if self.value is None:
            return {"Delete": {**request, **expressions(condition, values)}}
        update, new = assignment(self.value.attribute, self.value.content, self.key)
        return {"Update": {**request, **expressions(condition, {**values, **new}, update)}}


def steps(batch: Batch) -> list[Step]:
    """The batch as one step per key: no two actions of a transaction may touch one item."""
    found = []
    for key in {**batch.requires, **batch.changes}:
        new = batch.changes.get(key)
        value = None if new is None else Value.encode(new)
        found.append(Step(key, key in batch.requires, batch.requires.get(key), key in batch.changes, value))
    return found


def assignment(attribute: str, content: Item, key: Key) -> tuple[str, Item]:
    """The update that puts a value into an item, free of any intent, and its values."""
    other = "chunks" if attribute == "data" else "#data"
    values = {":value": content}
    update = f"SET {'#data' if attribute == 'data' else attribute} = :value"
    name = original_key(key)
    if name is not None:
        update += ", original_key = :key"
        values[":key"] = name
    return f"{update} REMOVE {other}, intent", values


def expressions(condition: str, values: Item, update: str = "") -> Item:
    """The parameters of a request with these expressions. `data` is a reserved word, so it is spelt `#data`."""
    found: Item = {"ConditionExpression": condition}
    if update:
        found["UpdateExpression"] = update
    if "#data" in condition or "#data" in update:
        found["ExpressionAttributeNames"] = {"#data": "data"}
    if values:
        found["ExpressionAttributeValues"] = values
    return found
