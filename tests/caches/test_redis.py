"""The Redis cache: the contract, against a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from grove.caches import BaseCache
from grove.caches.redis import Handler
from grove.testing.cache_contract import CacheContract, Link
from tests.servers import Server
from tests.tcp_proxy import Proxy


class TestContract(CacheContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis: Server) -> None:
        self.port = redis.port

    def make_cache(self, tmp_path: Path) -> BaseCache:
        return make_cache(tmp_path, self.port)

    @pytest.fixture
    def distant(self, tmp_path: Path) -> Iterator[tuple[BaseCache, Link]]:
        with Proxy(self.port) as link:
            yield make_cache(tmp_path, link.port), link


def make_cache(tmp_path: Path, port: int) -> BaseCache:
    return Handler(url=f"redis://127.0.0.1:{port}", prefix=blake3(str(tmp_path).encode()).hexdigest(8))
