"""Batches that are too big for one transaction of DynamoDB, and yet apply whole or not at all.

1. A record of the batch says `open`.
2. Each item gets an `intent`: the batch, and what it will do here. This checks the item's condition, and from now on
   nobody else changes the item.
3. The record goes from `open` to `committed`. That is the commit.
4. Each intent is carried out, and the record removed.

Whoever meets an intent asks the record. `committed`: carry it out. Still `open` after a while: set it to `aborted`,
which makes the commit impossible. `aborted`, or no record: take the intent away. A writer may stop anywhere.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Iterable, Sequence

from grove.caches._dynamodb_items import (
    RECORD,
    Chunks,
    Item,
    Step,
    assignment,
    expressions,
    key_of,
    new_id,
    original_key,
    place,
)
from grove.caches._dynamodb_table import ConditionError, Table
from grove.exceptions import AccessException
from grove.helpers import clock

__all__ = ["apply", "batch_of", "settle"]

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds for which another writer's open batch is waited for, before it is aborted."""

ATTEMPTS = 3
OPEN, COMMITTED, ABORTED = "open", "committed", "aborted"


def apply(table: Table, steps: Sequence[Step]) -> None:
    """Carry out all steps, or ConditionError. The parts of big values have to be there already."""
    # In one order for all, so that two writers do not wait for each other.
    ordered = sorted(enumerate(steps), key=lambda numbered: numbered[1].key)
    for _ in range(ATTEMPTS):
        batch = new_id()
        with contextlib.suppress(ConditionError):
            opened = {":decision": {"S": OPEN}}
            table.update(
                _record(batch), **expressions("attribute_not_exists(decision)", opened, "SET decision = :decision")
            )
        announced: list[Item] = []
        try:
            for index, step in ordered:
                announced.append(_announce(table, batch, step, index))
        except (AccessException, ConditionError):
            _undo(table, batch, announced)
            raise
        if _decide(table, batch, COMMITTED) == COMMITTED:
            _carry_out(table, batch, announced)
            return
        _undo(table, batch, announced)
    raise AccessException(f"Others kept a big batch out of the DynamoDB table {table.name}; nothing was changed.")


def settle(table: Table, items: Iterable[Item]) -> bool:
    """Carry out the intents on `items`, or take them away, as their batches were decided. Whether there were any."""
    found = [item for item in items if "intent" in item]
    for item in found:
        batch = batch_of(item)
        _end(table, batch, item, carry_out=_outcome(table, batch) == COMMITTED)
    return bool(found)


def batch_of(item: Item) -> str:
    """The batch whose intent lies on `item`."""
    name: str = item["intent"]["M"]["batch_id"]["S"]
    return name


# --- the record ---


def _record(batch: str) -> Item:
    return {"pk": {"S": f"{RECORD}{batch}"}, "sk": {"S": "record"}}


def _decide(table: Table, batch: str, decision: str) -> str:
    """Set what becomes of an open batch, and return what does: another may have been faster."""
    values = {":open": {"S": OPEN}, ":decision": {"S": decision}}
    try:
        table.update(_record(batch), **expressions("decision = :open", values, "SET decision = :decision"))
    except ConditionError as err:
        return _decision(next(iter(err.items.values()), None))
    return decision


def _decision(record: Item | None) -> str:
    return record["decision"]["S"] if record is not None else ABORTED


def _outcome(table: Table, batch: str) -> str:
    """What has become of another writer's batch; one that stays open is aborted."""
    started = clock.monotonic()
    while clock.monotonic() - started < PATIENCE:
        (record,) = table.get([_record(batch)])
        if _decision(record) != OPEN:
            return _decision(record)
        time.sleep(random.uniform(0.02, 0.1))
    return _decide(table, batch, ABORTED)


# --- intents ---


def _announce(table: Table, batch: str, step: Step, index: int) -> Item:
    """Put the intent on the step's item; the item with it. ConditionError names the step by `index`."""
    intent: Item = {"batch_id": {"S": batch}}
    if step.changing:
        intent["change"] = {"M": {step.value.attribute: step.value.content}} if step.value else {"NULL": True}
    condition, values = step.condition()
    update, values = "SET intent = :intent", {**values, ":intent": {"M": intent}}
    name = original_key(step.key)
    if name is not None:
        update, values = f"{update}, original_key = :key", {**values, ":key": name}
    while True:
        try:
            old = table.update(place(step.key), **expressions(condition, values, update))
        except ConditionError as err:
            item = err.items.get(0)
            if item is not None and "intent" in item and batch_of(item) == batch:
                # Ours, of which we have not heard.
                return item
            if item is None or not settle(table, [item]):
                raise ConditionError({index: item}) from err
        else:
            return {**old, **place(step.key), **({"original_key": name} if name else {}), "intent": {"M": intent}}


def _end(table: Table, batch: str, item: Item, *, carry_out: bool) -> None:
    """Carry out the intent on `item`, or take it away; nothing where somebody has."""
    key = {"pk": item["pk"], "sk": item["sk"]}
    change = item["intent"]["M"].get("change") if carry_out else None
    ours, values = "intent.batch_id = :batch", {":batch": {"S": batch}}
    try:
        if change is not None and "M" in change:
            ((attribute, content),) = change["M"].items()
            update, new = assignment(attribute, content, key_of(item))
            old = table.update(key, **expressions(ours, {**values, **new}, update))
        elif change is not None or not {"data", "chunks"} & item.keys():
            old = table.delete(key, **expressions(ours, values))
        else:
            table.update(key, **expressions(ours, values, "REMOVE intent"))
            return
    except ConditionError:
        return
    if "chunks" in old:
        table.drop_parts(Chunks.decode(old["chunks"]))


def _carry_out(table: Table, batch: str, announced: list[Item]) -> None:
    try:
        for item in announced:
            _end(table, batch, item, carry_out=True)
        table.delete(_record(batch))
    except AccessException as err:
        # It is committed; whoever meets one of its intents goes on with it.
        logger.warning("A committed batch is not carried out yet.", extra={"table": table.name, "exception": str(err)})


def _undo(table: Table, batch: str, announced: list[Item]) -> None:
    with contextlib.suppress(AccessException):
        # Without its record it cannot be committed.
        table.delete(_record(batch))
        for item in announced:
            _end(table, batch, item, carry_out=False)
