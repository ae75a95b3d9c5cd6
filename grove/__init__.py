"""Grove collects audit logs from APIs that cannot push them.

Submodules, and the few functions of the core that are useful on their own, are loaded when they are first
used: importing this package costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from grove.__about__ import __copyright__, __license__, __title__, __version__

if TYPE_CHECKING:
    from grove import (
        caches,
        configs,
        connectors,
        constants,
        entrypoints,
        exceptions,
        helpers,
        logging,
        models,
        outputs,
        processors,
        secrets,
        types,
    )
    from grove._core import (
        PointerPath,
        RawPage,
        Seen,
        canonical,
        copy_entry,
        dedup_by_pointer,
        encode,
        group_hashes,
        hash_entry,
        order,
        pointer_path,
        rank,
    )

_CORE = frozenset(
    {
        "PointerPath",
        "RawPage",
        "Seen",
        "canonical",
        "copy_entry",
        "dedup_by_pointer",
        "encode",
        "group_hashes",
        "hash_entry",
        "order",
        "pointer_path",
        "rank",
    }
)

__all__ = [
    "PointerPath",
    "RawPage",
    "Seen",
    "__copyright__",
    "__license__",
    "__title__",
    "__version__",
    "caches",
    "canonical",
    "configs",
    "connectors",
    "constants",
    "copy_entry",
    "dedup_by_pointer",
    "encode",
    "entrypoints",
    "exceptions",
    "group_hashes",
    "hash_entry",
    "helpers",
    "logging",
    "models",
    "order",
    "outputs",
    "pointer_path",
    "processors",
    "rank",
    "secrets",
    "types",
]


def __getattr__(name: str) -> Any:
    if name in _CORE:
        value = getattr(importlib.import_module("grove._core"), name)
    elif name in __all__:
        value = importlib.import_module(f"grove.{name}")
    else:
        raise AttributeError(f"module 'grove' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
