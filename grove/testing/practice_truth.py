"""What was delivered, beside what was offered."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from grove.constants import GROVE_METADATA_KEY
from grove.exceptions import DataFormatException
from grove.testing.practice_shapes import Entry

__all__ = ["Report", "compare", "read_delivered"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Report:
    """How deliveries differ from the truth, as multisets.

    `lost` was offered and did not arrive, although the source still has it; `expired` did not arrive, and the source
    has dropped it since. `twice` holds every copy too many, and `foreign` what was never offered. `_grove` is left
    out throughout.
    """

    offered: int
    delivered: int
    lost: list[Entry] = field(default_factory=list)
    twice: list[Entry] = field(default_factory=list)
    foreign: list[Entry] = field(default_factory=list)
    expired: list[Entry] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether everything the source has arrived exactly once, and nothing else did."""
        return not (self.lost or self.twice or self.foreign)

    def __str__(self) -> str:
        lines = [f"offered {self.offered}, delivered {self.delivered}"]
        for name in ("lost", "twice", "foreign", "expired"):
            entries: list[Entry] = getattr(self, name)
            if entries:
                first = ", ".join(json.dumps(entry, ensure_ascii=False) for entry in entries[:_SHOWN])
                lines.append(f"{name} {len(entries)}: {first}{', ...' if len(entries) > _SHOWN else ''}")
        return "; ".join(lines)


def compare(offered: Iterable[Entry], delivered: Iterable[Entry], available: Iterable[Entry] | None = None) -> Report:
    """Compare as multisets. `available` is what the source still has, where that is less than all it offered."""
    known: dict[str, Entry] = {}
    wanted = _count(offered, known)
    found = _count(delivered, known)
    served = wanted if available is None else _count(available, known)
    missing = wanted - found
    lost = missing & served
    surplus = found - wanted
    foreign = Counter({mark: number for mark, number in surplus.items() if mark not in wanted})
    return Report(
        wanted.total(),
        found.total(),
        *([known[mark] for mark in part.elements()] for part in (lost, surplus - foreign, foreign, missing - lost)),
    )


def _count(entries: Iterable[Entry], known: dict[str, Entry]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for entry in entries:
        plain = {key: value for key, value in entry.items() if key != GROVE_METADATA_KEY}
        mark = json.dumps(plain, sort_keys=True)
        known.setdefault(mark, plain)
        counts[mark] += 1
    return counts


def read_delivered(directory: Path | str) -> list[Entry]:
    """Every entry in the gzip files below `directory`; what is hidden is not delivered.

    DataFormatException names the file that is not whole, or whose lines are not all complete JSON objects.
    """
    entries: list[Entry] = []
    for path in sorted(Path(directory).rglob("*.json.gz")):
        if not path.name.startswith("."):
            entries.extend(_read(path))
    return entries


def _read(path: Path) -> Iterable[Entry]:
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as err:
        raise DataFormatException(f"{path} is not a whole gzip file: {err}") from err
    *lines, last = data.split(b"\n")
    if last or not lines:
        raise DataFormatException(f"{path} does not end with a complete line.")
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line, parse_constant=_refuse)
        except ValueError as err:
            raise DataFormatException(f"Line {number} of {path} is not JSON: {err}") from err
        if not isinstance(entry, dict):
            raise DataFormatException(f"Line {number} of {path} is no JSON object.")
        yield entry


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
