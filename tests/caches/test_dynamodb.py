"""The DynamoDB cache: the contract, against moto."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from blake3 import blake3

from grove.caches import BaseCache
from grove.caches.aws_dynamodb import Handler
from grove.testing.cache_contract import CacheContract, Link
from tests.servers import Server
from tests.tcp_proxy import Proxy

REGION = "eu-central-1"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def make_table(port: int, name: str) -> None:
    """The table that a deployment has made for Grove."""
    client = boto3.client("dynamodb", region_name=REGION, endpoint_url=f"http://127.0.0.1:{port}")
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    client.close()


class TestContract(CacheContract):
    FIGHTS = 20

    @pytest.fixture(autouse=True)
    def _server(self, aws_server: Server, tmp_path: Path) -> None:
        self.port = aws_server.port
        make_table(self.port, table(tmp_path))

    def make_cache(self, tmp_path: Path) -> BaseCache:
        return make_cache(tmp_path, self.port)

    @pytest.fixture
    def distant(self, tmp_path: Path) -> Iterator[tuple[BaseCache, Link]]:
        with Proxy(self.port) as link:
            yield make_cache(tmp_path, link.port), link


def table(tmp_path: Path) -> str:
    return blake3(str(tmp_path).encode()).hexdigest(8)


def make_cache(tmp_path: Path, port: int) -> BaseCache:
    return Handler(url=f"http://127.0.0.1:{port}", table=table(tmp_path), table_region=REGION)
