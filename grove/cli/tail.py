"""`grove tail`: what was delivered last, read back from the files of the output."""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grove.cli._documents import choose, complete_documents
from grove.cli._terminal import printable, quietly, styled, width
from grove.helpers import clock
from grove.helpers.codecs import Zstd
from grove.helpers.files import safe_component
from grove.helpers.signals import Mailbox, Stop

if TYPE_CHECKING:
    from grove import _core
    from grove.models import ConnectorConfig
    from grove.runtime import Settings

# Seconds between two looks for new files.
_PAUSE = 0.5
_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\.(\d+)-[0-9a-f]{16}\.json(?:\.gz|\.zst)?")
_HOW_TO_READ = {
    "aws_s3": "aws s3 ls --recursive s3://$GROVE_OUTPUT_AWS_S3_BUCKET/",
    "kafka": "kcat -C -t $GROVE_OUTPUT_KAFKA_TOPIC",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the files of one stream and descriptor lie, and how its entries are shown."""

    name: str
    folder: Path
    prefix: str
    path: _core.PointerPath | None


@dataclass(frozen=True, slots=True, order=True)
class _File:
    """One delivered file; they are in order by time, part of the run, and when they were written."""

    moment: str
    part: int
    written: int
    file: Path


@click.command(
    epilog="Example: grove tail okta -f | jq .eventType. Exit codes: 0; 2 wrong usage; 78 a setting is wrong."
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_documents)
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(min=0), help="How many entries.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is delivered from now on, until interrupted.")
@click.option("-d", "--descriptor", help="Which output descriptor; those that get raw entries, where not said.")
@click.option("--json", "as_json", is_flag=True, help="On a terminal too, the lines as they were delivered.")
@click.pass_context
def tail(
    ctx: click.Context, names: tuple[str, ...], count: int, follow: bool, descriptor: str | None, as_json: bool
) -> int:
    """Show the entries that were delivered last, to files.

    In a pipe they are NDJSON, as they were delivered; on a terminal, lines to read.
    """
    from grove.runtime import Settings, load_documents

    quietly(ctx)
    settings = Settings.read()
    root = _root(settings)
    places = [
        place for config in choose(load_documents(settings), names) for place in _places(root, config, descriptor)
    ]
    raw = as_json or not sys.stdout.isatty()
    mailbox = Mailbox()
    with mailbox.signals():
        # What is delivered meanwhile is new.
        known = {file.file for place in places for file in _files(place, _since())}
        for place, line in _newest(places, count):
            _print(place, line, raw)
        sys.stdout.flush()
        while follow and not isinstance(mailbox.receive(_PAUSE), Stop):
            for place, line in _new(places, known):
                _print(place, line, raw)
            sys.stdout.flush()
    return 0


# --- where they are ---


def _root(settings: Settings) -> Path:
    """The directory of the output's files. click.ClickException where it has none, ConfigurationException if wrong."""
    from grove.outputs._several import load

    names = [name.strip() for name in settings.output.split(",")]
    if "local_file" not in names:
        hints = "".join(f"\nTo read it there: {_HOW_TO_READ[name]}" for name in names if name in _HOW_TO_READ)
        raise click.UsageError(
            f"What went to {', '.join(names)} (GROVE_OUTPUT_HANDLER) cannot be read back from here, only what went to "
            f"local_file.{hints}"
        )
    output = load("local_file")
    output.setup()
    return Path(os.path.realpath(output.config.path))


def _places(root: Path, config: ConnectorConfig, descriptor: str | None) -> Iterator[_Place]:
    from grove.constants import PLUGIN_GROUP_CONNECTOR
    from grove.helpers import plugin
    from grove.models import OutputStream
    from grove.outputs import ObjectName

    kind = plugin.load_class(config.connector, PLUGIN_GROUP_CONNECTOR)
    raw = [name for name, stream in config.outputs.items() if stream == OutputStream.raw]
    for chosen in [descriptor] if descriptor is not None else raw or list(config.outputs):
        name = ObjectName(chosen, kind.CONNECTOR, config.identity, config.operation, 0, clock.now(), "", "", "")
        yield _Place(config.name, root / name.folder(), f"{safe_component(config.operation)}-", _path(kind, config))


def _path(kind: Any, config: ConnectorConfig) -> _core.PointerPath | None:
    """Where the pointer of an entry is; None where that cannot be said without the whole connector."""
    from grove import _core

    expression = kind.POINTER_PATH
    if not isinstance(expression, str):
        expression = getattr(config, "pointer_path", None)
    try:
        return _core.pointer_path(expression)
    except (TypeError, ValueError):
        return None


def _files(place: _Place, since: str) -> Iterator[_File]:
    """The files of `place`, from the day `since` on ("2026/11/24"), in no order."""
    for day in _days(place.folder):
        if day >= since:
            yield from _on(place, day)


def _days(folder: Path) -> list[str]:
    """The days for which there is a folder, oldest first."""
    return sorted("/".join(path.parts[-3:]) for path in folder.glob("[0-9]*/[0-9]*/[0-9]*"))


def _on(place: _Place, day: str) -> Iterator[_File]:
    try:
        entries = list(os.scandir(place.folder / day))
    except FileNotFoundError:
        # Whoever takes the files away may take the folders too.
        return
    for entry in entries:
        match = _NAME.fullmatch(entry.name.removeprefix(place.prefix))
        if match is not None and entry.name.startswith(place.prefix):
            try:
                written = entry.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            yield _File(match[1], int(match[2]), written, Path(entry.path))


def _since() -> str:
    """The day from which on new files can appear."""
    return (clock.now() - timedelta(days=1)).strftime("%Y/%m/%d")


# --- what is in them ---


def _newest(places: Sequence[_Place], count: int) -> list[tuple[_Place, bytes]]:
    """The `count` entries that were delivered last, in that order."""
    found: list[tuple[_Place, bytes]] = []
    for day in sorted({day for place in places for day in _days(place.folder)}, reverse=True):
        files = [(file, place) for place in places for file in _on(place, day)]
        for file, place in sorted(files, key=lambda one: one[0], reverse=True):
            if len(found) >= count:
                break
            found[:0] = [(place, line) for line in _lines(file.file)]
    return found[-count:] if count else []


def _new(places: Sequence[_Place], known: set[Path]) -> Iterator[tuple[_Place, bytes]]:
    """What is in files that are not `known` yet."""
    since = _since()
    files = [(file, place) for place in places for file in _files(place, since)]
    for file, place in sorted(files, key=lambda one: one[0]):
        if file.file not in known:
            for line in _lines(file.file):
                yield place, line
    # A file that was taken away does not come back.
    known.clear()
    known.update(file.file for file, _ in files)


def _lines(file: Path) -> list[bytes]:
    try:
        data = file.read_bytes()
        if file.suffix == ".gz":
            data = gzip.decompress(data)
        elif file.suffix == ".zst":
            data = Zstd().decompress(data)
        return [line for line in data.split(b"\n") if line]
    except FileNotFoundError:
        return []
    except Exception as err:
        click.echo(f"grove: {file} cannot be read: {err}", err=True)
        return []


# --- how they are shown ---


def _print(place: _Place, line: bytes, raw: bool) -> None:
    if raw:
        sys.stdout.buffer.write(line + b"\n")
        return
    click.echo(_readable(place, json.loads(line)))


def _readable(place: _Place, entry: Any) -> str:
    """One line, as wide as the terminal: pointer, stream, and what else there is."""
    from grove.logging import redact

    pointer = place.path.pointers([entry])[0] if place.path is not None else None
    moment = printable(pointer or "-")
    facts = [
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"
        for name, value in (entry.items() if isinstance(entry, dict) else ())
        if name != "_grove" and not (isinstance(value, str) and value == pointer)
    ]
    text = printable(redact(" ".join(facts)))
    room = max(width(sys.stdout) - len(f"{moment}  {place.name}  "), 20)
    if len(text) > room:
        text = f"{text[: room - 1]}\N{HORIZONTAL ELLIPSIS}"
    return f"{styled(moment, fg='cyan')}  {styled(place.name, bold=True)}  {text}"
