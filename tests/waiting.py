"""Waiting for what can be read, whatever the numbers of its descriptors: `select.select` knows none above 1,023."""

import selectors
from collections.abc import Sequence
from typing import Any

__all__ = ["readable"]


def readable(files: Sequence[Any], within: float | None = None) -> list[Any]:
    """Those of `files` (descriptors, or what has one) that can be read within that many seconds; None is for ever."""
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(within)]
