"""Single values as batches of one, for caches whose store applies batches by itself."""

from __future__ import annotations

from grove.caches import BaseCache, Batch, Key
from grove.exceptions import NotFoundException

__all__ = ["NativeCache"]


class NativeCache(BaseCache):
    """A handler gives `read` and `apply`, with conditions that hold; the rest of the old interface follows."""

    @property
    def fenced(self) -> bool:
        """Always: `apply` checks its conditions and writes in one step."""
        return True

    def get(self, pk: str, sk: str) -> str:
        """The value. NotFoundException where there is none."""
        (found,) = self.read([Key(pk, sk)])
        if found is None:
            raise NotFoundException(f"Nothing is stored for {pk} ({sk}).")
        return found

    def set(self, pk: str, sk: str, value: str, not_set: bool | None = False, constraint: str | None = None) -> None:
        """Store a value, under a condition. ConflictError where it is not met."""
        if not_set and constraint is not None:
            raise ValueError("not_set and constraint exclude each other")
        batch = Batch().set(Key(pk, sk), value)
        if not_set:
            batch.require(Key(pk, sk), None)
        elif constraint is not None:
            batch.require(Key(pk, sk), constraint)
        self.apply(batch)

    def delete(self, pk: str, sk: str, constraint: str | None = None) -> None:
        """Remove a value, under a condition. ConflictError where it is not met."""
        batch = Batch().delete(Key(pk, sk))
        if constraint is not None:
            batch.require(Key(pk, sk), constraint)
        self.apply(batch)
