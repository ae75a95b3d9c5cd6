"""R15: nobody else can enter or read, whatever the umask."""

import os
import stat
from pathlib import Path

import pytest

from grove.caches import Batch
from tests.caches.programs import KINDS, A, B, make, run


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("kind", KINDS)
def test_only_the_owner_can_enter(kind: str, tmp_path: Path, umask: int) -> None:
    root = tmp_path / "state"
    before = os.umask(umask)
    try:
        cache = make(kind, root / "grove" / "cache")
        cache.apply(Batch().set(A, "1").set(B, "2"))
        cache.reopen()
        cache.delete(*B)
    finally:
        os.umask(before)
    run("cache.set(*A, 'by another')", kind, root / "grove" / "cache")
    found = {path: path.lstat().st_mode for path in [root, *root.rglob("*")]}
    assert len([path for path, mode in found.items() if stat.S_ISREG(mode)]) >= 2
    for path, mode in found.items():
        assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), path
