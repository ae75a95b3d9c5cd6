"""A small collection whose source is deterministic, for processes that are going to be killed."""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grove.caches.local_lmdb import Handler as LmdbCache
from grove.outputs.local_file import Handler as FileOutput

from .truth import CONTEXT, Newest, Oldest, Source, document


def settle_in(root: Path) -> None:
    """Let this process, and those that come of it, work below `root`."""
    (root / "out").mkdir(exist_ok=True)
    os.environ["GROVE_OUTPUT_LOCAL_FILE_PATH"] = str(root / "out")
    os.environ["GROVE_CACHE_LOCAL_LMDB_PATH"] = str(root / "cache")


def source(moments: int, page_size: int = 4) -> Source:
    """What there is after that many moments: one to three entries each."""
    made = Source(page_size=page_size)
    made.arrive([1 + moment * 7 % 3 for moment in range(moments)])
    return made


def collect(moments: int, newest_first: bool, page_size: int = 4) -> Any:
    """One run over what there is by now; the connector tells how it ended."""
    cache = LmdbCache()
    cache.setup()
    output = FileOutput()
    output.setup()
    connector = (Newest if newest_first else Oldest)(document(), CONTEXT, cache=cache, output=output)
    connector.source = source(moments, page_size)
    connector.run()
    return connector


def visible(root: Path) -> Iterator[Path]:
    for path in (root / "out").rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not hidden:
            yield path


def delivered(root: Path) -> Counter[int]:
    """How often each entry is there. ValueError or zlib.error where a visible file is not whole."""
    found: Counter[int] = Counter()
    for path in visible(root):
        data = zlib.decompress(path.read_bytes(), wbits=31)
        if not data.endswith(b"\n"):
            raise ValueError(f"the last line of {path} is not complete")
        found.update(json.loads(line)["id"] for line in data.splitlines())
    return found


def offered(moments: int) -> Counter[int]:
    return Counter(number for _, number in source(moments).entries)


def left_behind(root: Path) -> list[str]:
    """Temporary files of objects."""
    return [path.name for path in (root / "out").rglob(".*.tmp") if not path.name.startswith(".grove-output")]
