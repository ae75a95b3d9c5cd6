"""How a manifest goes on: through runs, days, other directories, an older cache, and readers who take it away."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grove import manifest
from grove.delivery import Delivery, Target
from grove.exceptions import AccessException, ConfigurationException, CorruptStateError, DataFormatException
from grove.helpers import clock, files
from grove.manifest import Chain, Line, decode_chains, encode_chains
from grove.outputs.local_file import Handler as FileOutput
from tests.evidence.conftest import Place


def stored(place: Place) -> Chain:
    """The chain as the state has it."""
    ((_, text),) = place.cache().scan("manifest.")
    return decode_chains(text)["grove.outputs.local_file"]


def lines(place: Place) -> list[Line]:
    found = [Line.decode(line)[0] for path in place.manifests() for line in path.read_bytes().splitlines()]
    return sorted(found, key=lambda line: (line.chain, line.line))


def whole(place: Place) -> bool:
    """Nothing is found, with the cache and without it."""
    return place.verify().findings == place.verify(with_cache=True).findings == []


# --- lines ---

NAMES = st.from_regex(r"[A-Za-z0-9._%~/-]{1,40}", fullmatch=True)
POINTERS = st.none() | st.text(st.characters(exclude_categories=()), max_size=20)
LINES = st.builds(
    Line,
    chain=st.from_regex("[0-9a-f]{16}", fullmatch=True),
    line=st.integers(1, 10**12),
    object=NAMES,
    entries=st.integers(0, 10**9),
    first=POINTERS,
    last=POINTERS,
    size=st.integers(0, 10**12),
    blake3=st.from_regex("[0-9a-f]{64}", fullmatch=True),
    sequence=st.integers(1, 10**12),
    time=st.just("2026-11-24T12:00:00Z"),
    gap=st.booleans(),
    previous=st.none() | st.from_regex("[0-9a-f]{64}", fullmatch=True),
)


@given(LINES)
def test_a_line_is_json_in_ascii_and_comes_back(line: Line) -> None:
    text, digest = line.encode()
    assert text.isascii() and text.endswith("\n") and text.count("\n") == 1
    assert json.loads(text) == {"format": 1, **line._asdict(), "hash": digest}
    assert Line.decode(text.rstrip("\n").encode()) == (line, digest)


def test_a_line_of_another_format_is_refused() -> None:
    line = Line("0" * 16, 1, "a", 1, None, None, 1, "0" * 64, 1, "", False, None)
    text, _ = line.encode()
    body = re.sub(',"hash".*', "}", text.strip()).replace('"format":1', '"format":2')
    from blake3 import blake3

    later = f'{body[:-1]},"hash":"{blake3(body.encode()).hexdigest()}"}}'
    with pytest.raises(DataFormatException, match=r"format 2, and this version of Grove knows 1"):
        Line.decode(later.encode())


CHAINS = st.dictionaries(
    st.from_regex("[a-z.]{1,10}", fullmatch=True),
    st.builds(
        Chain,
        id=st.from_regex("[0-9a-f]{16}", fullmatch=True),
        place=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        lines=st.integers(0, 100),
        tail=st.text(st.characters(codec="ascii"), max_size=50),
        ended=st.lists(st.tuples(st.text(max_size=3), st.integers(), st.none() | st.text(max_size=3))).map(tuple),
    ),
    min_size=1,
    max_size=3,
)


@given(CHAINS)
def test_the_state_of_chains_comes_back(chains: dict[str, Chain]) -> None:
    text = encode_chains(chains)
    assert text is not None
    assert decode_chains(text) == chains
    with pytest.raises(ValueError, match="longer"):
        decode_chains(f"{text}x")


# --- from run to run ---


def test_a_stream_that_delivers_nothing_writes_nothing(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.collect(3)
    before = fresh.manifests()[0].stat().st_mtime_ns
    monkeypatch.setattr(FileOutput, "write_manifest", None)
    monkeypatch.setattr(FileOutput, "sync_manifest", None)
    monkeypatch.setattr(FileOutput, "manifest_size", None)
    assert fresh.collect(3).outcome == "succeeded"
    assert fresh.manifests()[0].stat().st_mtime_ns == before


def test_a_line_says_what_was_delivered(fresh: Place) -> None:
    fresh.collect(4)
    assert stored(fresh).tail == ""
    found = lines(fresh)
    assert [line.object.split("/")[0] for line in found] == ["logs", "processed"] * 2
    # Two entries of a processor for one of the source.
    assert [line.entries for line in found] == [3, 6, 1, 2]
    assert (found[0].first, found[0].last) == ("2025-03-30T00:59:01Z", "2025-03-30T00:59:03Z")
    assert [line.sequence for line in found] == [1, 1, 2, 2]
    assert [line.line for line in found] == [1, 2, 3, 4]
    assert found[0].previous is None
    for line in found:
        assert line.size == (fresh.out / line.object).stat().st_size


def test_each_day_has_a_file_of_its_own(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    start = datetime(2026, 11, 24, 23, 0, tzinfo=UTC)
    for day, entries in enumerate((3, 5, 7)):
        monkeypatch.setattr(clock, "now", lambda day=day: start + timedelta(days=day))
        fresh.collect(entries)
    # A clock that goes back does not take the lines back.
    monkeypatch.setattr(clock, "now", lambda: start)
    fresh.collect(9)
    assert [path.read_bytes().count(b"\n") for path in fresh.manifests()] == [2, 2, 4]
    assert whole(fresh)


def test_a_large_file_is_not_written_to_any_longer(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "SEGMENT", 500)
    for entries in (3, 5, 7):
        fresh.collect(entries)
    assert [path.read_bytes().count(b"\n") for path in fresh.manifests()] == [2, 2, 2]
    assert whole(fresh)


def test_a_long_tail_is_made_durable_in_the_middle_of_a_run(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = files.sync_file
    monkeypatch.setattr(files, "sync_file", lambda path: synced.append(stored(fresh).tail) or real(path))
    fresh.collect(90)
    lengths = [len(tail) for tail in synced]
    assert len(lengths) > 2
    assert all(manifest.TAIL <= length < manifest.TAIL + 2000 for length in lengths[:-1])
    assert whole(fresh)


def test_switched_on_later_what_was_there_is_not_covered(fresh: Place) -> None:
    fresh.collect(3, manifest=False)
    earlier = {fresh.name(path) for path in fresh.objects()}
    fresh.collect(5)
    assert [line.gap for line in lines(fresh)] == [True, False]
    report = fresh.verify(with_cache=True)
    assert (report.findings, set(report.uncovered)) == ([], earlier)


def test_switched_off_for_a_while_what_came_meanwhile_is_not_covered(
    fresh: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(datetime(2026, 11, 24, hour, 0, tzinfo=UTC) for hour in range(24))
    for entries, on in ((3, True), (5, False), (7, False), (9, True), (11, True)):
        moment = next(moments)
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        fresh.collect(entries, manifest=on)
    assert [line.gap for line in lines(fresh)] == [False, False, True, False, False, False]
    report = fresh.verify(with_cache=True)
    assert (report.findings, len(report.uncovered)) == ([], 4)
    # Only in that time: an object of another is one too many.
    path = next(path for path in fresh.objects() if "T03" in path.name)
    shutil.copy(path, path.with_name(path.name.replace("T03", "T04")))
    assert [found.what for found in fresh.verify().findings] == ["added"]


def test_another_directory_begins_another_chain(fresh: Place) -> None:
    fresh.collect(3)
    shutil.move(fresh.out, fresh.root / "old")
    fresh.out.mkdir()
    fresh.collect(5)
    (line, _) = lines(fresh)
    assert (line.line, line.gap) == (1, True)
    assert whole(fresh)
    chain = stored(fresh)
    assert [lines for _, lines, _ in chain.ended] == [2]
    # The end of the earlier one is still known.
    old = Place(fresh.root / "moved")
    old.root.mkdir()
    shutil.move(fresh.root / "old", old.out)
    shutil.copytree(fresh.root / "cache", old.root / "cache")
    assert whole(old)
    manifests = old.manifests()[0]
    manifests.write_bytes(manifests.read_bytes().splitlines(keepends=True)[0])
    assert "line_missing" in {found.what for found in old.verify(with_cache=True).findings}


def test_a_cache_that_was_set_back_begins_another_chain(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.collect(3)
    saved = list(fresh.cache().scan(""))
    fresh.collect(5)
    cache = fresh.cache()
    for key, _ in list(cache.scan("")):
        cache.delete(*key)
    for key, value in saved:
        cache.set(*key, value)
    later = clock.now() + timedelta(seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    fresh.collect(5)
    report = fresh.verify()
    assert (report.findings, report.chains) == ([], 2)
    # With the cache it shows: the first chain has more lines than that knows.
    assert [found.what for found in fresh.verify(with_cache=True).findings] == ["line_added"]


def test_a_manifest_that_is_taken_away_goes_on_in_another_file(fresh: Place, tmp_path: Path) -> None:
    archive = Place(tmp_path)
    for entries in (3, 5, 7):
        fresh.collect(entries)
        # Objects and manifests: everything but the name of the directory.
        shutil.copytree(fresh.out, archive.out, dirs_exist_ok=True)
        for path in fresh.out.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
    assert archive.verify().findings == []
    assert archive.verify().objects == 6
    shutil.copytree(fresh.root / "cache", archive.root / "cache")
    assert whole(archive)


def test_a_manifest_that_is_taken_away_within_a_run_goes_on(fresh: Place, tmp_path: Path) -> None:
    archive = Place(tmp_path)

    def take(connector: object, number: int) -> None:
        if number == 2:
            shutil.copytree(fresh.out, archive.out)
            shutil.rmtree(fresh.out / manifest.FOLDER)

    fresh.collect(12, script=take)
    shutil.copytree(fresh.out, archive.out, dirs_exist_ok=True, copy_function=_append)
    assert archive.verify().findings == []
    assert archive.verify().objects == 8


def _append(source: str, target: str) -> None:
    """As one who ships lines: those of a file that is there already are added to it."""
    if source.endswith(manifest.SUFFIX) and os.path.exists(target):
        with open(target, "ab") as file:
            file.write(Path(source).read_bytes())
    else:
        shutil.copy2(source, target)


def test_a_committed_object_waits_for_the_next_run(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(FileOutput, "publish", lambda *_: (_ for _ in ()).throw(AccessException("made up")))
        assert fresh.collect(3).outcome == "failed"
    report = fresh.verify()
    assert (report.findings, len(report.waiting), report.objects) == ([], 2, 0)
    assert fresh.collect(3).outcome == "succeeded"
    report = fresh.verify(with_cache=True)
    assert (report.findings, len(report.waiting), report.objects) == ([], 0, 2)


def test_a_full_disk_leaves_half_a_line_that_the_next_run_completes(
    fresh: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.collect(3)
    real = files._write_at

    def half(handle: int, data: bytes, offset: int) -> int:
        if len(data) < 100:
            raise OSError(28, "made up")
        return real(handle, data[: len(data) - 99], offset)

    with monkeypatch.context() as broken:
        broken.setattr(files, "_write_at", half)
        assert fresh.collect(5).outcome == "failed"
    assert not fresh.manifests()[0].read_bytes().endswith(b"\n")
    assert fresh.verify().findings == []
    assert fresh.verify(with_cache=True).findings == []
    assert fresh.collect(5).outcome == "succeeded"
    assert whole(fresh)


def test_it_cannot_be_kept_where_an_object_is_visible_before_its_commit(
    fresh: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(fresh.out))
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_MANIFEST", "true")
    target = Target(store="0" * 16, stream="s", connector="c", identity="i", operation="all", name="n")
    with pytest.raises(ConfigurationException, match="Use the cache local_lmdb, write to S3, or turn the manifest off"):
        Delivery(FileOutput(), target, commit_first=False)


def test_a_state_that_cannot_be_read_names_its_stream(fresh: Place) -> None:
    fresh.collect(3)
    cache = fresh.cache()
    ((key, text),) = cache.scan("manifest.")
    cache.set(*key, text.replace('"lines"', '"limes"'))
    failure = fresh.collect(5).failure
    assert isinstance(failure, CorruptStateError)
    assert "cached manifest of stream" in str(failure)
    with pytest.raises(CorruptStateError, match=r"cached manifest of stream made_up\."):
        fresh.verify(with_cache=True)


def test_files_and_folders_have_the_mode_of_objects(fresh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_MODE", "0640")
    fresh.collect(3)
    modes = [path.stat().st_mode & 0o777 for path in [fresh.manifests()[0], *fresh.manifests()[0].parents][:4]]
    assert modes == [0o640, 0o750, 0o750, 0o750]


@pytest.fixture
def unconfigured(fresh: Place) -> Iterator[Place]:
    """A stream that died with lines in its state which are lost, and whose document is gone."""
    fresh.collect(3)
    cache = fresh.cache()
    ((key, text),) = cache.scan("manifest.")
    chain = decode_chains(text)["grove.outputs.local_file"]
    path = fresh.manifests()[0]
    cache.set(*key, encode_chains({"grove.outputs.local_file": chain._replace(durable=0, tail=path.read_text())}) or "")
    path.unlink()
    yield fresh


def test_lines_of_a_stream_that_nobody_collects_are_written(
    unconfigured: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grove.recovery import recover_unconfigured

    assert unconfigured.verify(with_cache=True).findings == []
    monkeypatch.setenv("GROVE_OUTPUT_LOCAL_FILE_PATH", str(unconfigured.out))
    assert recover_unconfigured(unconfigured.cache(), FileOutput(), set(), 300) == 1
    assert stored(unconfigured).tail == ""
    assert whole(unconfigured)
    assert recover_unconfigured(unconfigured.cache(), FileOutput(), set(), 300) == 0
