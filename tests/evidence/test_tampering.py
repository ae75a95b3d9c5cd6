"""Every kind of change to every object and every line of a small archive is found and named; none is made up."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from grove.manifest import Line
from grove.verify import Finding
from tests.evidence.conftest import Place


def findings(place: Place, *, with_cache: bool = False) -> list[Finding]:
    return place.verify(with_cache=with_cache).findings


def named(place: Place, *, with_cache: bool = False) -> dict[str, str]:
    """What was found of each object."""
    return {found.object: found.what for found in findings(place, with_cache=with_cache)}


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def rewrite(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(lines))


# --- an archive that nobody has touched ---


@pytest.mark.parametrize("with_cache", [False, True])
def test_an_untouched_archive_is_whole(place: Place, with_cache: bool) -> None:
    report = place.verify(with_cache=with_cache)
    assert report.findings == report.uncovered == report.waiting == []
    assert (report.objects, report.chains) == (len(place.objects()), 2)
    assert report.lines == report.objects == 20
    assert report.size == sum(path.stat().st_size for path in place.objects())
    assert bool(report.open_ends) is not with_cache


def test_a_copy_elsewhere_is_whole(place: Place, tmp_path: Path) -> None:
    shutil.copytree(place.out, tmp_path / "copy" / "out")
    copied = Place(tmp_path / "copy")
    assert findings(copied) == []
    assert copied.verify().objects == 20


def test_objects_that_were_taken_elsewhere_are_compared_with_manifests_that_stayed(place: Place) -> None:
    archive = Place(place.root / "archive")
    archive.out.mkdir(parents=True)
    for name in ("logs", "processed"):
        (place.out / name).rename(archive.out / name)
    assert {found.what for found in findings(place)} == {"missing"}
    report = archive.verify(manifests=place.out)
    assert (report.findings, report.objects) == ([], 20)


# --- objects ---


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def empty(path: Path) -> None:
    os.truncate(path, 0)


def link(path: Path) -> None:
    path.rename(path.with_name(".elsewhere"))
    path.symlink_to(".elsewhere")


@pytest.mark.parametrize("change", [flip, shorten, lengthen, empty, link])
@pytest.mark.parametrize("number", range(20))
def test_an_altered_object_is_named(place: Place, number: int, change: Callable[[Path], None]) -> None:
    path = place.objects()[number]
    change(path)
    assert named(place) == {place.name(path): "altered"}


@pytest.mark.parametrize("number", range(20))
def test_a_removed_object_is_named(place: Place, number: int) -> None:
    path = place.objects()[number]
    path.unlink()
    assert named(place) == {place.name(path): "missing"}


@pytest.mark.parametrize("number", range(20))
def test_a_moved_object_is_named_with_where_it_lies(place: Place, number: int) -> None:
    path = place.objects()[number]
    target = path.with_name(f"moved-{path.name}")
    path.rename(target)
    assert named(place) == {place.name(path): "missing", place.name(target): "added"}
    assert any(place.name(target) in found.message for found in findings(place) if found.what == "missing")


@pytest.mark.parametrize("number", range(20))
def test_a_duplicated_object_is_named_with_its_original(place: Place, number: int) -> None:
    path = place.objects()[number]
    copy = path.with_name(path.name.replace("Z.", "Z.9"))
    shutil.copy(path, copy)
    (found,) = findings(place)
    assert (found.what, found.object) == ("added", place.name(copy))
    assert place.name(path) in found.message


@pytest.mark.parametrize("number", range(19))
def test_two_swapped_objects_are_named(place: Place, number: int) -> None:
    first, second = place.objects()[number : number + 2]
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    found = findings(place)
    assert {one.object: one.what for one in found} == {place.name(first): "swapped", place.name(second): "swapped"}
    assert place.name(second) in next(one.message for one in found if one.object == place.name(first))


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "logs/made_up/corp/2026/01/01/all-2026-01-01T00:00:00Z.0-0123456789abcdef.json.gz",
        "logs/made_up/corp/2999/01/01/all-2999-01-01T00:00:00Z.0-0123456789abcdef.json.gz",
        "logs/made_up/nobody/2999/01/01/all-2999-01-01T00:00:00Z.0-0123456789abcdef.json.gz",
    ],
)
def test_an_added_object_is_named(place: Place, name: str) -> None:
    (place.out / name).parent.mkdir(parents=True, exist_ok=True)
    (place.out / name).write_bytes(b"forged")
    assert named(place) == {name: "added"}


# --- manifests ---


def cases(place: Place) -> list[tuple[Path, int]]:
    return [(path, number) for path in place.manifests() for number in range(len(lines_of(path)))]


def test_a_flipped_byte_of_any_line_is_found_and_its_object_named(place: Place) -> None:
    for path, number in cases(place):
        lines = lines_of(path)
        name = json.loads(lines[number])["object"]
        for at in range(0, len(lines[number]), 37):
            altered = bytearray(lines[number])
            altered[at] ^= 1
            rewrite(path, [*lines[:number], bytes(altered), *lines[number + 1 :]])
            found = findings(place)
            assert found, (number, at)
            assert any(name in (one.object, one.message) or name in one.message for one in found) or path.name in str(
                found
            )
        rewrite(path, lines)
    assert findings(place) == []


def test_a_removed_line_is_found_and_its_object_named(place: Place) -> None:
    for path, number in cases(place):
        lines = lines_of(path)
        name = json.loads(lines[number])["object"]
        rewrite(path, lines[:number] + lines[number + 1 :])
        found = named(place)
        assert found[name] == "added"
        assert ("line_missing" in found.values()) is (number < len(lines) - 1)
        rewrite(path, lines)


def test_a_removed_line_is_found_where_its_object_was_removed_with_it(place: Place) -> None:
    for path, number in cases(place):
        lines = lines_of(path)
        target = place.out / json.loads(lines[number])["object"]
        content = target.read_bytes()
        target.unlink()
        rewrite(path, lines[:number] + lines[number + 1 :])
        last = number == len(lines) - 1
        assert [one.what for one in findings(place)] == ([] if last else ["line_missing"])
        # Only the cache knows that there was one more.
        found = findings(place, with_cache=True)
        assert [one.what for one in found] == ["line_missing"]
        assert found[0].line == number + 1
        target.write_bytes(content)
        rewrite(path, lines)


def test_swapped_and_repeated_lines_are_found(place: Place) -> None:
    for path, number in cases(place):
        lines = lines_of(path)
        name = json.loads(lines[number])["object"]
        rewrite(path, [*lines[: number + 1], lines[number], *lines[number + 1 :]])
        assert named(place) == {name: "line_repeated"}
        if number:
            rewrite(path, [*lines[: number - 1], lines[number], lines[number - 1], *lines[number + 1 :]])
            assert named(place) == {json.loads(lines[number - 1])["object"]: "line_moved"}
        rewrite(path, lines)


def test_lines_of_one_stream_are_none_of_another(place: Place) -> None:
    first, second = place.manifests()[:2]
    rewrite(second, [*lines_of(second), lines_of(first)[0]])
    assert "line_moved" in named(place).values()


@pytest.mark.parametrize("kept", range(10))
def test_an_older_manifest_is_found(place: Place, kept: int) -> None:
    path = place.manifests()[0]
    lines = lines_of(path)
    rewrite(path, lines[:kept])
    gone = {json.loads(line)["object"] for line in lines[kept:]}
    found = named(place)
    assert {name for name, what in found.items() if what == "added"} == gone
    assert "line_missing" in named(place, with_cache=True).values()


def test_a_removed_manifest_is_found(place: Place) -> None:
    path = place.manifests()[0]
    gone = {json.loads(line)["object"] for line in lines_of(path)}
    path.unlink()
    assert {found.object for found in findings(place)} == gone
    assert any(found.what == "line_missing" for found in findings(place, with_cache=True))
    for name in gone:
        (place.out / name).unlink()
    assert findings(place) == []
    (found,) = findings(place, with_cache=True)
    assert (found.what, found.line) == ("line_missing", 1)


@pytest.mark.parametrize("at", range(1, 400, 23))
def test_a_manifest_that_is_cut_within_a_line_is_found(place: Place, at: int) -> None:
    path = place.manifests()[0]
    last = json.loads(lines_of(path)[-1])["object"]
    os.truncate(path, path.stat().st_size - at)
    assert named(place) == {last: "added"}


# --- a forger who knows the format ---


def forge(lines: list[bytes], number: int, **changed: object) -> list[bytes]:
    """Another line in the place of one, and all that follow chained to it."""
    forged = lines[:number]
    previous = Line.decode(forged[-1].rstrip(b"\n"))[1] if forged else None
    for stored in lines[number:]:
        line, _ = Line.decode(stored.rstrip(b"\n"))
        text, previous = line._replace(**{**changed, "previous": previous}).encode()
        forged.append(text.encode())
        changed = {}
    return forged


def test_a_forged_line_is_found(place: Place) -> None:
    path = place.manifests()[0]
    lines = lines_of(path)
    for number in range(len(lines) - 1):
        rewrite(path, forge(lines[: number + 1], number, entries=10**6) + lines[number + 1 :])
        found = findings(place)
        assert [(one.what, one.line) for one in found] == [("line_forged", number + 2)]


def test_a_chain_that_was_written_anew_is_found_with_the_cache(place: Place) -> None:
    path = place.manifests()[0]
    lines = lines_of(path)
    for number in range(len(lines)):
        rewrite(path, forge(lines, number, entries=10**6))
        assert findings(place) == []
        assert [one.what for one in findings(place, with_cache=True)] == ["line_forged"]


def test_a_made_up_chain_is_found_with_the_cache(place: Place) -> None:
    path = place.manifests()[0]
    (line,) = forge(lines_of(path)[:1], 0, chain="0" * 16, object="logs/forged.json.gz", blake3="0" * 64)
    path.with_name("all-0000000000000000.000000001-00000000.jsonl").write_bytes(line)
    assert [one.what for one in findings(place, with_cache=True)] == ["unknown_chain", "missing"]


def test_lines_after_the_end_are_found_with_the_cache(place: Place) -> None:
    path = place.manifests()[0]
    lines = lines_of(path)
    last = json.loads(lines[-1])
    forged = forge([*lines, lines[-1]], len(lines), line=last["line"] + 1, object="logs/forged.json.gz")
    target = place.out / "logs/forged.json.gz"
    target.write_bytes((place.out / last["object"]).read_bytes())
    rewrite(path, forged)
    assert findings(place) == []
    assert [one.what for one in findings(place, with_cache=True)] == ["line_added"]


def test_another_file_among_the_manifests_is_found(place: Place) -> None:
    (place.manifests()[0].parent / "notes.jsonl").write_text("{}\n")
    assert list(named(place).values()) == ["added"]
