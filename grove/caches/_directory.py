"""A directory for state, which nobody else can enter: nor the directories above it that are made on the way."""

from __future__ import annotations

from pathlib import Path

from grove.helpers import files

__all__ = ["make_private"]


def make_private(path: Path) -> None:
    """Make `path` and what is missing above it, 0700 whatever the umask, durably. OSError where that fails."""
    if path.is_dir():
        return
    root = path
    while not root.is_dir():
        root = root.parent
    files.make_directories(path, root)
