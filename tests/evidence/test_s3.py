"""A bucket that is verified: a stand-in for S3 over HTTP, with the prefix, the pages of a listing and the requests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from grove.caches.local_lmdb import Handler as LmdbCache
from grove.exceptions import AccessException, ConfigurationException
from grove.outputs.aws_s3 import Handler as S3Output
from grove.verify import Report, open_archive, verify
from tests.reliability.truth import CONTEXT, Oldest, Source, document
from tests.servers import Server


@pytest.fixture
def s3(moto: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    """A client, and the bucket that the output writes to."""
    endpoint = f"http://127.0.0.1:{moto.port}"
    for name, value in (
        ("ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "writer"),
        ("AWS_SECRET_ACCESS_KEY", "writer-secret"),
        ("MANIFEST", "true"),
        ("BUCKET", f"evidence-{uuid.uuid4().hex}"),
    ):
        monkeypatch.setenv(f"GROVE_OUTPUT_AWS_S3_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.session.Session("reader", "reader-secret", region_name="us-east-1").client(
        "s3", endpoint_url=endpoint
    )
    bucket = S3Output().config.bucket
    client.create_bucket(Bucket=bucket)
    yield client, bucket
    client.close()


def collect(entries: int, folder: Path) -> LmdbCache:
    cache, output = LmdbCache(folder / "cache"), S3Output()
    cache.setup()
    output.setup()
    made = Oldest(document(), CONTEXT, cache=cache, output=output)
    made.source = Source(page_size=3)
    made.source.arrive([1] * entries)
    made.run()
    assert made.outcome == "succeeded"
    return cache


def keys(client: Any, bucket: str, prefix: str = "") -> list[str]:
    return [found["Key"] for found in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())]


def named(report: Report) -> dict[str, str]:
    return {found.object: found.what for found in report.findings}


def test_each_commit_has_an_object_of_lines(s3: tuple[Any, str], tmp_path: Path) -> None:
    client, bucket = s3
    collect(3, tmp_path)
    cache = collect(7, tmp_path)
    assert len(keys(client, bucket, ".grove-manifest/")) == len(keys(client, bucket, "logs/")) == 3
    report = verify(open_archive(f"s3://{bucket}"), cache)
    assert (report.findings, report.objects, report.lines, report.open_ends) == ([], 3, 3, [])


def test_what_is_done_to_a_bucket_is_found(s3: tuple[Any, str], tmp_path: Path) -> None:
    client, bucket = s3
    cache = collect(9, tmp_path)
    archive = open_archive(f"s3://{bucket}/")
    objects, lines = keys(client, bucket, "logs/"), keys(client, bucket, ".grove-manifest/")
    bodies = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in (*objects, *lines)}

    client.put_object(Bucket=bucket, Key=objects[0], Body=bodies[objects[0]] + b"\0")
    client.delete_object(Bucket=bucket, Key=objects[1])
    client.put_object(Bucket=bucket, Key=f"{objects[2]}.copy", Body=bodies[objects[2]])
    assert named(verify(archive)) == {
        objects[0]: "altered",
        objects[1]: "missing",
        f"{objects[2]}.copy": "added",
    }
    client.delete_object(Bucket=bucket, Key=f"{objects[2]}.copy")
    for key, body in bodies.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    assert verify(archive, cache).findings == []

    client.delete_object(Bucket=bucket, Key=objects[2])
    client.delete_object(Bucket=bucket, Key=lines[2])
    assert verify(archive).findings == []
    assert [found.what for found in verify(archive, cache).findings] == ["line_missing"]
    for key in lines[:2]:
        client.delete_object(Bucket=bucket, Key=key)
    assert [found.what for found in verify(archive, cache).findings if found.line] == ["line_missing"]


def test_a_copy_below_a_prefix_is_verified(s3: tuple[Any, str], tmp_path: Path) -> None:
    client, bucket = s3
    cache = collect(7, tmp_path)
    for key in keys(client, bucket):
        client.copy_object(Bucket=bucket, Key=f"copies/{key}", CopySource={"Bucket": bucket, "Key": key})
    report = verify(open_archive(f"s3://{bucket}/copies"), cache)
    assert (report.findings, report.objects) == ([], 3)


def test_an_object_that_is_not_published_yet_is_waiting(
    s3: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bucket = s3

    def refuse(self: S3Output, staged: dict[str, Any]) -> None:
        raise AccessException("made up")

    with monkeypatch.context() as broken:
        broken.setattr(S3Output, "publish", refuse)
        with pytest.raises(AssertionError):
            collect(3, tmp_path)
    report = verify(open_archive(f"s3://{bucket}"))
    assert (report.findings, report.objects, len(report.waiting)) == ([], 0, 1)
    cache = collect(3, tmp_path)
    report = verify(open_archive(f"s3://{bucket}"), cache)
    assert (report.findings, report.objects, report.waiting) == ([], 1, [])


def test_lines_that_are_put_twice_are_there_once(s3: tuple[Any, str]) -> None:
    client, bucket = s3
    output = S3Output()
    place = output.manifest_place(".grove-manifest/c/i/all.jsonl", output.manifest_home())
    for text in (b"first", b"second"):
        output.write_manifest(place, 0, text)
    assert client.get_object(Bucket=bucket, Key=place["key"])["Body"].read() == b"first"
    assert output.manifest_size(place) is None


@pytest.mark.parametrize("place", ["s3://", "s3:///x"])
def test_a_place_without_a_bucket_is_refused(place: str) -> None:
    with pytest.raises(ConfigurationException, match="names no bucket"):
        open_archive(place)


def test_a_bucket_that_is_not_there_cannot_be_read(s3: tuple[Any, str]) -> None:
    with pytest.raises(AccessException, match="s3://nowhere-at-all/ cannot be read"):
        verify(open_archive("s3://nowhere-at-all"))
