"""`grove convert`: take the state of a file cache over into LMDB, without changing a file.

Every stream is one transaction, and leaves a mark of what it was copied from. So the command may be interrupted
anywhere and repeated at any time: what has been copied stays, also where it has been collected since.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from blake3 import blake3

from grove.backup import StreamId
from grove.caches import BaseCache, Batch, Key, local_file, local_lmdb
from grove.caches._lmdb_opening import DATA
from grove.cli._session import LockedElsewhere, session
from grove.cli._terminal import json_option, print_json, table
from grove.constants import CACHE_KEY_LOCK, CACHE_KEY_POINTER, ENV_GROVE_CACHE_HANDLER
from grove.exceptions import ConfigurationException, ConflictError, GroveException
from grove.lease import may_take
from grove.runtime import Settings, load_documents, state_key
from grove.state import KINDS, STORE, StreamState

CONVERTED = "converted"
"""The kind of the mark that a copied stream carries: the hash of what was copied."""

COPY, KEEP, REPLACE, CONFLICT = "copy", "keep", "replace", "conflict"
_MEANINGS = {
    COPY: "is copied",
    KEEP: "has been copied before",
    REPLACE: "is copied, in the place of what LMDB has",
    CONFLICT: "LMDB has another state",
}
_POINTER_WIDTH = 40


Facts = dict[Key, str]


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one stream: `facts` to be written in the place of `found`."""

    stream: StreamId
    action: str
    facts: Facts
    found: Facts

    @property
    def mark(self) -> str:
        """What this copy leaves in the new cache."""
        return _digest(self.facts)


@click.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Path(path_type=Path), help="The directory of the LMDB cache.")
@click.option("--replace", is_flag=True, help="Where LMDB has another state of a stream, replace it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def convert(
    ctx: click.Context, directory: Path | None, target: Path | None, replace: bool, yes: bool, as_json: bool
) -> int:
    """Take the state of the file cache in DIRECTORY over into LMDB, the default cache.

    DIRECTORY is GROVE_CACHE_LOCAL_FILE_PATH unless it is given; the LMDB cache is the one that Grove would use here.
    Files of HashiCorp's Grove are taken over as well. No file is changed or removed, and what was copied before is
    left alone, so this can be repeated. Nothing may be collecting meanwhile, with either cache.
    """
    with session(ctx):
        source, into = _source(directory), local_lmdb.Handler(target)
        # To look into a cache that is not there would make it.
        used = [source, into] if (into.directory / DATA).exists() else [source]
        steps = _plan(_facts(source), _facts(into) if into in used else {}, replace)
        todo = [step for step in steps if step.action in (COPY, REPLACE)]
        _refuse_collected(todo, used)
        about = _described(steps)
        if not as_json:
            _show(about, source, into)
        conflicts = any(step.action == CONFLICT for step in steps)
        done = not conflicts and (not todo or yes or _agreed(as_json))
        if done and todo:
            _copy(todo, source, into)
    if as_json:
        places = {"from": str(source.directory), "to": str(into.directory)}
        print_json({**places, "converted": done, "streams": about})
    elif conflicts:
        click.echo(
            "\nNothing was changed. Streams have been collected with both caches: use --replace to go on from the "
            "files, which repeats what only LMDB knows of; or move the files of these streams elsewhere."
        )
    elif not done:
        click.echo("\nNothing was changed. Add --yes to do it.")
    else:
        click.echo(f"\n{_next(source, todo)}")
    return 0 if done else 1


# --- what there is ---


def _source(directory: Path | None) -> local_file.Handler:
    source = local_file.Handler(directory)
    if not source.directory.is_dir():
        raise ConfigurationException(f"There is no directory {source.directory}. Name the one that the cache is in.")
    unlisted = source.unlisted()
    if unlisted:
        raise ConfigurationException(
            f"The names of these files are too long to tell what they hold: {', '.join(map(str, unlisted))}. Their "
            "streams have to start again: move the files elsewhere, then repeat this."
        )
    return source


def _facts(cache: BaseCache) -> Facts:
    """Everything that is stored, as at one moment."""
    return dict(cache.scan(""))


def _by_stream(facts: Facts) -> dict[StreamId, Facts]:
    """The facts of each stream, without the lock: nobody holds what is copied."""
    found: dict[StreamId, Facts] = defaultdict(dict)
    for key, value in facts.items():
        stream = StreamId.of(key)
        if stream is not None and key != stream.key(CACHE_KEY_LOCK):
            found[stream][key] = value
    return found


def _digest(facts: Mapping[Key, str]) -> str:
    text = json.dumps(sorted([*key, value] for key, value in facts.items()))
    return blake3(text.encode("ascii")).hexdigest(16)


# --- what is to be done ---


def _plan(source: Facts, target: Facts, replace: bool) -> list[Step]:
    there = _by_stream(target)
    return [
        Step(stream, _action(stream, facts, there.get(stream, {}), replace), facts, there.get(stream, {}))
        for stream, facts in sorted(_by_stream(source).items())
    ]


def _action(stream: StreamId, facts: Facts, found: Facts, replace: bool) -> str:
    mark = found.get(stream.key(CONVERTED))
    own = {key: value for key, value in found.items() if key != stream.key(CONVERTED)}
    if _digest(facts) in (mark, _digest(own)):
        return KEEP
    if not found or mark == _digest(own):
        # What was copied before, and has not been used since, follows the files.
        return COPY
    return REPLACE if replace else CONFLICT


def _refuse_collected(todo: list[Step], caches: Sequence[BaseCache]) -> None:
    duration = Settings.read().lock_duration
    for step in todo:
        for cache in caches:
            state = _state(cache, step.stream)
            state.load()
            if not may_take(state, duration):
                raise LockedElsewhere(
                    f"{step.stream} is being collected: its lock runs until {state.get(CACHE_KEY_LOCK)}. Stop "
                    "what collects it, then repeat this. Nothing was changed."
                )


def _state(cache: BaseCache, stream: StreamId) -> StreamState:
    return StreamState(cache, lambda kind: f"{kind}.{stream.reference}", stream.operation)


# --- doing it ---


def _copy(todo: list[Step], source: BaseCache, target: BaseCache) -> None:
    store = source.read([STORE])[0]
    if store is not None and target.read([STORE]) == [None]:
        # Objects that were begun, and not delivered yet, are known by it.
        target.apply(Batch().require(STORE, None).set(STORE, store))
    for step in todo:
        try:
            target.apply(_batch(step))
        except ConflictError as err:
            raise LockedElsewhere(
                f"{step.stream} is being collected with LMDB. Stop what collects it, then repeat this."
            ) from err
    after = _by_stream(_facts(source))
    changed = [step.stream for step in todo if after[step.stream] != step.facts]
    if changed:
        raise LockedElsewhere(
            f"{', '.join(map(str, changed))} went on in the files meanwhile. Stop what collects them, then repeat "
            "this: the copy is made anew."
        )


def _batch(step: Step) -> Batch:
    """The stream as it is in the files; refused where LMDB has anything but what was found there."""
    batch = Batch()
    for key in {*step.found, *step.facts, *map(step.stream.key, KINDS)}:
        if key != step.stream.key(CACHE_KEY_LOCK):
            batch.require(key, step.found.get(key))
    for key in step.found.keys() - step.facts.keys():
        batch.delete(key)
    for key, value in step.facts.items():
        batch.set(key, value)
    batch.delete(step.stream.key(CACHE_KEY_LOCK))
    return batch.set(step.stream.key(CONVERTED), step.mark)


# --- what is said ---


def _described(steps: list[Step]) -> list[dict[str, Any]]:
    names = _document_names()
    return [
        {
            "name": names.get(step.stream),
            "reference": step.stream.reference,
            "operation": step.stream.operation,
            "pointer": step.facts.get(step.stream.key(CACHE_KEY_POINTER)),
            "action": step.action,
        }
        for step in steps
    ]


def _document_names() -> dict[StreamId, str]:
    """What the documents at hand call their streams; nothing where there are none."""
    logging.disable(logging.CRITICAL)
    try:
        return {StreamId(*state_key(config)): config.name for config in load_documents().streams}
    except GroveException:
        return {}
    finally:
        logging.disable(logging.NOTSET)


def _show(about: list[dict[str, Any]], source: local_file.Handler, target: local_lmdb.Handler) -> None:
    click.echo(f"From the files in {source.directory}\ninto LMDB in      {target.directory}\n")
    if not about:
        click.echo("There is no state in these files.")
        return
    rows = [
        [
            stream["name"] or stream["reference"],
            stream["operation"],
            (stream["pointer"] or "none")[:_POINTER_WIDTH],
            _MEANINGS[stream["action"]],
        ]
        for stream in about
    ]
    click.echo("\n".join(table(["stream", "operation", "pointer", ""], rows)))


def _agreed(as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        return False
    click.echo()
    return click.confirm("Copy them?")


def _next(source: local_file.Handler, todo: list[Step]) -> str:
    if not todo:
        return "Nothing is left to be copied."
    text = f"Copied: {len(todo)}. The files are as they were."
    if os.environ.get(ENV_GROVE_CACHE_HANDLER) == "local_file":
        text += f" From now on unset {ENV_GROVE_CACHE_HANDLER}, or the files are used as before."
    return text
