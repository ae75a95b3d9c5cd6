"""The Redis cache: the contract, against a real server."""

from pathlib import Path

import pytest
from blake3 import blake3

from grove.caches import BaseCache
from grove.caches.redis import Handler
from grove.testing.cache_contract import CacheContract
from tests.servers import Server


class TestContract(CacheContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis: Server) -> None:
        self.url = f"redis://127.0.0.1:{redis.port}/0"

    def make_cache(self, tmp_path: Path) -> BaseCache:
        return Handler(url=self.url, prefix=blake3(str(tmp_path).encode()).hexdigest(8))
