"""Batches for caches that have only `get`, `set` and `delete`.

The batch is written to one key, the stream's journal, with a condition on what was there: that write is the commit.
Its changes are then carried out, each on condition of the old value, and carried out again by whoever reads next, if
the writer has died meanwhile. Where `set` takes no condition, the keys are written in an order whose crash repeats a
page and never loses one.
"""

from __future__ import annotations

import inspect
import json
import logging
import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from grove.caches._batch import Batch, Key
from grove.exceptions import ConflictError, DataFormatException, NotFoundException

__all__ = ["apply", "read", "takes_constraint"]

logger = logging.getLogger(__name__)

JOURNAL = "journal"


class Store(Protocol):
    """What every cache has."""

    def get(self, pk: str, sk: str) -> str: ...
    def set(
        self, pk: str, sk: str, value: str, not_set: bool | None = False, constraint: str | None = None
    ) -> None: ...
    def delete(self, pk: str, sk: str, constraint: str | None = None) -> None: ...


def takes_constraint(kind: type) -> bool:
    """Whether this handler's `set` has the parameter `constraint`; says so once where it has not."""
    return _takes_constraint(kind)


@lru_cache(maxsize=64)
def _takes_constraint(kind: Any) -> bool:
    try:
        parameters = inspect.signature(kind.set).parameters
    except (TypeError, ValueError):
        return True
    found = "constraint" in parameters or any(
        item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values()
    )
    if not found:
        logger.warning(
            "This cache has no conditional writes, so it cannot fence off a second collector.",
            extra={"cache": kind.__module__},
        )
    return found


def apply(cache: Store, batch: Batch) -> None:
    """`BaseCache.apply` over `get`, `set` and `delete`."""
    if not batch.changes:
        _check(cache, batch)
        return
    if not takes_constraint(type(cache)):
        _check(cache, batch)
        for key, value in sorted(batch.changes.items(), key=_harmless_first):
            _write(cache, key, value)
        return
    place = _journal_key(next(iter(batch.changes)))
    before = _replay(cache, place)
    old = _check(cache, batch)
    for key in batch.changes:
        if key not in old:
            old[key] = _get(cache, key)
    record = json.dumps(
        {
            "id": uuid.uuid4().hex,
            "changes": [[*key, old[key], value] for key, value in batch.changes.items()],
        }
    )
    try:
        if before is None:
            cache.set(*place, record, not_set=True)
        else:
            cache.set(*place, record, constraint=before)
    except DataFormatException as err:
        raise ConflictError("Another process has written to this stream; nothing was changed.") from err
    _carry_out(cache, place, record)


def read(cache: Store, keys: Sequence[Key]) -> list[str | None]:
    """`BaseCache.read` over `get`, finishing an unfinished batch first."""
    if takes_constraint(type(cache)):
        for place in dict.fromkeys(_journal_key(key) for key in keys):
            _replay(cache, place)
    return [_get(cache, key) for key in keys]


def _journal_key(key: Key) -> Key:
    """All facts of one stream share a journal: the key without its kind."""
    _, _, stream = key.pk.partition(".")
    return key._replace(pk=f"{JOURNAL}.{stream}")


def _replay(cache: Store, place: Key) -> str | None:
    """Carry out what the journal holds, and return the text that is in it afterwards; None for no journal."""
    record = _get(cache, place)
    if record:
        _carry_out(cache, place, record)
        return _get(cache, place)
    return record


def _carry_out(cache: Store, place: Key, record: str) -> None:
    changes = json.loads(record).get("changes")
    if not changes:
        return
    for pk, sk, old, value in changes:
        key = place._replace(pk=pk, sk=sk)
        try:
            _write_over(cache, key, old, value)
        except DataFormatException:
            # Carried out already, by us or by another; what a later batch wrote must stay.
            continue
    done = json.dumps({"id": json.loads(record)["id"]})
    try:
        cache.set(*place, done, constraint=record)
    except DataFormatException:
        # Another process was faster.
        return


def _write_over(cache: Store, key: Key, old: str | None, value: str | None) -> None:
    if value is None:
        if old is not None:
            try:
                cache.delete(*key, constraint=old)
            except NotFoundException:
                return
    elif old is None:
        cache.set(*key, value, not_set=True)
    elif old != value:
        cache.set(*key, value, constraint=old)


def _check(cache: Store, batch: Batch) -> dict[Key, str | None]:
    found = {key: _get(cache, key) for key in batch.requires}
    for key, value in batch.requires.items():
        if found[key] != value:
            raise ConflictError(f"{key.pk} ({key.sk}) is not what it was; nothing was changed.")
    return found


def _harmless_first(item: tuple[Key, str | None]) -> tuple[bool, bool]:
    """Deletions last; before them the pointer, which makes everything else count."""
    key, value = item
    return value is None, key.pk.startswith("pointer.")


def _write(cache: Store, key: Key, value: str | None) -> None:
    if value is not None:
        cache.set(*key, value)
        return
    try:
        cache.delete(*key)
    except NotFoundException:
        return


def _get(cache: Store, key: Key) -> str | None:
    try:
        return cache.get(*key)
    except NotFoundException:
        return None
