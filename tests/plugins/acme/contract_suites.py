"""What the authors of these plugins test them with: `pytest contract_suites.py`."""

import gzip
import json

import pytest
from acme_grove.caches import sqlite
from acme_grove.outputs import lines, spool
from acme_grove.processors import mask

from grove.testing import CacheContract, OutputContract, ProcessorContract


class TestCache(CacheContract):
    def make_cache(self, tmp_path):
        cache = sqlite.Handler()
        cache.path = str(tmp_path / "state.sqlite")
        return cache


class TestProcessor(ProcessorContract):
    HANDLER = mask.Handler

    def settings(self):
        return {"fields": ["actor"]}


class TestSpool(OutputContract):
    @pytest.fixture
    def output(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ACME_SPOOL", str(tmp_path))
        self.folder = tmp_path
        return spool.Handler()

    def entries(self, output):
        pages = [gzip.decompress(path.read_bytes()) for path in self.folder.iterdir()]
        return [json.loads(line) for page in pages for line in page.splitlines()]


class TestLines(OutputContract):
    @pytest.fixture
    def output(self, tmp_path, monkeypatch):
        monkeypatch.setenv("GROVE_OUTPUT_ACME_LINES_PATH", str(tmp_path))
        self.folder = tmp_path
        return lines.Handler()

    def entries(self, output):
        pages = [path.read_bytes() for path in (self.folder / "logs").iterdir()]
        return [json.loads(line) for page in pages for line in page.splitlines()]
