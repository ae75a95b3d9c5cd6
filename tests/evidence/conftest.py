"""A small archive with its manifests, made by real runs of a made-up source into files and LMDB."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from grove.caches.local_lmdb import Handler as LmdbCache
from grove.outputs.local_file import Handler as FileOutput
from grove.verify import Report, open_archive, verify
from tests.reliability.conftest import shm
from tests.reliability.truth import BOTH, CONTEXT, Halves, Oldest, Source, document
from tests.reliability.world import FOLDER

__all__ = ["Place", "shm"]


@dataclass
class Place:
    """Where a stream is collected into: `root` holds the directory `out` and the cache."""

    root: Path

    @property
    def out(self) -> Path:
        return self.root / "out"

    def cache(self) -> LmdbCache:
        cache = LmdbCache(self.root / "cache")
        cache.setup()
        return cache

    def collect(
        self, entries: int, *, manifest: bool = True, identity: str = "corp", script: Any = None, **fields: Any
    ) -> Any:
        """One run, after which `entries` entries are there; small pages, raw and processed."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(self.out))
            environment.setenv("GROVE_OUTPUT_LOCAL_FILE_MANIFEST", str(manifest).lower())
            output = FileOutput()
        output.setup()
        made = Oldest(document(outputs=BOTH, identity=identity, **fields), CONTEXT, cache=self.cache(), output=output)
        made._processors = [Halves()]  # type: ignore[list-item]
        made.script = script
        made.source = Source(page_size=3)
        made.source.arrive([1] * entries)
        made.run()
        return made

    def objects(self) -> list[Path]:
        """What readers see, in the order of the names."""
        found = [
            path for path in self.out.rglob("*") if path.is_file() and path.relative_to(self.out).parts[0][0] != "."
        ]
        return sorted(found)

    def manifests(self) -> list[Path]:
        return sorted((self.out / ".grove-manifest").rglob("*.jsonl"))

    def verify(self, *, with_cache: bool = False, manifests: Path | None = None) -> Report:
        return verify(
            open_archive(str(self.out)),
            self.cache() if with_cache else None,
            open_archive(str(manifests)) if manifests else None,
        )

    def name(self, path: Path) -> str:
        return str(path.relative_to(self.out))


@pytest.fixture(scope="module")
def template() -> Iterator[Place]:
    """Two streams, three runs each, two objects a page."""
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="grove-") as folder:
        place = Place(Path(folder) / "made")
        place.out.mkdir(parents=True)
        for entries in (4, 9, 10):
            assert place.collect(entries).outcome == "succeeded"
            assert place.collect(entries, identity="other corp").outcome == "succeeded"
        yield place


@pytest.fixture
def place(template: Place) -> Iterator[Place]:
    """A copy of it, to be tampered with; paths in its cache are those of the template."""
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="grove-") as folder:
        shutil.copytree(template.root, Path(folder) / "made", symlinks=True)
        yield Place(Path(folder) / "made")


@pytest.fixture
def fresh() -> Iterator[Place]:
    """Nothing yet."""
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="grove-") as folder:
        place = Place(Path(folder))
        place.out.mkdir()
        yield place
