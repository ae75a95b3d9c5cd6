"""Which streams are whose."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

__all__ = ["Share"]


@dataclass(frozen=True, slots=True)
class Share:
    """The streams of one worker process: `number`, from 1, of `count`. Whatever there is, where there is but one.

    A stream's key alone decides, so that no other document that comes or goes moves it to another process.
    """

    number: int = 1
    count: int = 1

    def has(self, key: tuple[str, ...]) -> bool:
        """Whether the stream with this key is collected here."""
        if self.count == 1:
            return True
        digest = blake3("\0".join(key).encode("utf-8", "surrogatepass")).digest(8)
        return int.from_bytes(digest) % self.count == self.number - 1

    @property
    def leads(self) -> bool:
        """Whether what concerns all processes is done and told by this one."""
        return self.number == 1

    def __str__(self) -> str:
        return f"{self.number} of {self.count}"
