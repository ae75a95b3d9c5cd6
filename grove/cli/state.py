"""`grove state`: what is remembered of streams, and how to change, save and restore it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from grove import _core
from grove.backup import (
    Backup,
    Held,
    StreamId,
    adopt,
    collection_of,
    foreign_deliveries,
    held,
    is_token,
    of_cache,
    of_run,
    of_streams,
    restore,
    save,
)
from grove.caches import BaseCache, Key
from grove.cli._documents import complete_documents, did_you_mean
from grove.cli._explain import explain
from grove.cli._session import LockedElsewhere, Refused, open_cache, session
from grove.cli._terminal import json_option, print_json, span, styled, table
from grove.collection import Collection
from grove.constants import (
    CACHE_KEY_LAST,
    CACHE_KEY_POINTER,
    CACHE_KEY_SEEN,
)
from grove.exceptions import NotImplementedException
from grove.health.facts import key_of, keys_at, read
from grove.health.standing import instant
from grove.helpers import clock, files
from grove.lease import may_take
from grove.logging import redact
from grove.models import ConnectorConfig
from grove.oneshot import EXIT_OK
from grove.runtime import Documents, Handlers, Settings, load_documents, state_key
from grove.state import (
    BOUNDARY,
    CURSOR,
    HISTORY,
    INTERVALS,
    KINDS,
    LOOKBACK,
    LOOSE,
    PENDING,
    POSITION,
    REFRESH_TOKEN,
    SEQUENCE,
    STORE,
)

_COMMANDS = {
    "list": "Show where every stream stands, also those without a document.",
    "show": "Show all that is remembered of a stream.",
    "explain": "Say whether a span of time has been collected, and how that is known.",
    "set": "Set a stream's pointer: its next run goes on from there.",
    "reset": "Forget where a stream stands: its next run begins anew.",
    "export": "Save all that the cache remembers in a file.",
    "import": "Restore what was exported, or a backup.",
}

_WIDTH = 60


@dataclass(frozen=True, slots=True)
class _Target:
    """The stream that a command is about; one that has no document is called by its keys."""

    name: str
    stream: StreamId
    config: ConnectorConfig | None


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted(set(self.commands) - _COMMANDS.keys())]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, _COMMANDS.get(name) or self.commands[name].get_short_help_str(80)) for name in names]
            )


@click.group(
    cls=_Group,
    epilog=(
        "What changes something takes the stream's lease, shows the change, asks, and saves what it replaces beside "
        "the cache. 75: a stream is being collected."
    ),
)
def state() -> None:
    """Look at what is remembered of streams; change, save and restore it."""


state.add_command(explain)

_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_name = click.argument("name", metavar="NAME", shell_complete=complete_documents)


# --- to look at ---


@state.command("list")
@json_option
@click.pass_context
def list_streams(ctx: click.Context, as_json: bool) -> int:
    """Show where every stream stands.

    A stream that the cache knows and no document collects is listed too, by its connector, the md5 of its identity, and
    its operation.
    """
    with session(ctx):
        settings = Settings.read()
        cache, documents = open_cache(settings), load_documents(settings)
        targets = _targets(documents, cache)
        places = [key_of(t.config, cache) if t.config else keys_at(*t.stream) for t in targets]
        found = list(zip(targets, read(cache, places), strict=True))
        sequences = cache.read([place(SEQUENCE) for place in places])
    now = clock.now()
    rows: list[dict[str, Any]] = []
    for (target, facts), sequence in zip(found, sequences, strict=True):
        newest = None if facts.pointer is None else instant(facts.pointer, now)
        rows.append(
            {
                "name": target.name,
                "configured": target.config is not None,
                "pointer": None if facts.pointer is None else redact(facts.pointer),
                "freshness": None if newest is None else round(max(0.0, (now - newest).total_seconds()), 3),
                "commits": int(sequence or 0) if (sequence or "0").isdigit() else None,
                "holder": facts.holder or None,
            }
        )
    if as_json:
        print_json({"store": _store_id(cache), "streams": rows})
        return EXIT_OK
    if not rows:
        click.echo("Nothing is remembered, and there is nothing to collect.")
        return EXIT_OK
    lines = table(
        ["stream", "pointer", "age", "commits", "held by"],
        [
            [
                str(row["name"]) + ("" if row["configured"] else " (no document)"),
                _short(row["pointer"]),
                "" if row["freshness"] is None else span(row["freshness"]),
                str(row["commits"] if row["commits"] is not None else "?"),
                str(row["holder"] or ""),
            ]
            for row in rows
        ],
        right=(3,),
    )
    click.echo(styled(lines[0], bold=True))
    for line in lines[1:]:
        click.echo(line)
    return EXIT_OK


@state.command()
@_name
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> int:
    """Show all that is remembered of the stream NAME."""
    with session(ctx):
        settings = Settings.read()
        cache, documents = open_cache(settings), load_documents(settings)
        target = _target(name, documents, cache)
        place = key_of(target.config, cache) if target.config else keys_at(*target.stream)
        kinds = (*KINDS, CACHE_KEY_LAST)
        values = dict(zip(kinds, cache.read([place(kind) for kind in kinds]), strict=True))
        (facts,) = read(cache, [place])
    found = {kind: _decoded(value) for kind, value in values.items() if value is not None}
    if as_json:
        about = {"name": target.name, "reference": target.stream.reference, "operation": target.stream.operation}
        print_json({**about, "holder": facts.holder or None, "facts": found})
        return EXIT_OK
    click.echo(styled(target.name, bold=True))
    click.echo(f"  {'kept under':<18}{target.stream}")
    if facts.holder:
        click.echo(f"  {'held by':<18}{facts.holder}")
    for kind, value in found.items():
        click.echo(f"  {kind:<18}{_described(kind, value)}")
    if not found:
        click.echo("  Nothing is remembered of it.")
    return EXIT_OK


def _decoded(text: str) -> Any:
    """A stored value: JSON as what it says, everything else as text. Without secrets."""
    clean = redact(text)
    if clean[:1] in "[{":
        try:
            return json.loads(clean)
        except ValueError:
            pass
    return clean


def _described(kind: str, value: Any) -> str:
    """A value in a line."""
    if kind == BOUNDARY and isinstance(value, dict):
        return f"{len(value.get('hashes', ())):,} entries at {_short(str(value.get('pointer')))}"
    if kind == LOOKBACK and isinstance(value, dict):
        return f"hashes in {len(value.get('buckets', ())):,} spans of pointers"
    if kind == INTERVALS and isinstance(value, list):
        return f"{len(value):,} that an unfinished collection has delivered"
    if kind in (PENDING, LOOSE, CACHE_KEY_SEEN) and isinstance(value, list):
        return {
            PENDING: f"{len(value):,} objects that are committed, and may not be visible yet",
            LOOSE: f"hashes of {len(value):,} entries without a pointer",
            CACHE_KEY_SEEN: f"md5 hashes of {len(value):,} entries, of an older version",
        }[kind]
    if kind == HISTORY and isinstance(value, dict):
        return f"{value.get('outcome')} at {value.get('ended')}; `grove status` says more"
    return _short(value if isinstance(value, str) else json.dumps(value))


# --- to change ---


@state.command("set")
@_name
@click.argument("pointer")
@_yes
@json_option
@click.pass_context
def set_pointer(ctx: click.Context, name: str, pointer: str, yes: bool, as_json: bool) -> int:
    """Set the pointer of the stream NAME to POINTER, in the source's own format.

    The next run goes on from there, as if a connector had set it: what is newer is asked for, and delivered again if it
    was delivered before.
    """
    if not pointer:
        raise click.UsageError("The pointer is empty. To begin anew, use `grove state reset`.")
    with session(ctx), _changing(name) as (target, cache, stream):
        run = stream.run
        if stream.order is None:
            raise click.UsageError(f"No document collects {name!r}, so its order is not known; it can only be reset.")
        old = run.state.get(CACHE_KEY_POINTER)
        if old == pointer:
            return _unchanged(as_json, target, "The pointer is that already.")
        notes = _notes(run, old, pointer)
        _agree(yes, f"{target.name}: pointer {_short(old)} -> {_short(pointer)}", notes)
        backup = save(of_run(run), cache, f"set-{target.name}")
        run.move(pointer, stream.order)
        _report(as_json, target, backup, {"pointer": {"old": _redacted(old), "new": _redacted(pointer)}})
    return EXIT_OK


def _notes(run: Collection, old: str | None, new: str) -> list[str]:
    """What somebody may not expect who sets a pointer."""
    notes = []
    before, after = (None if text is None else _core.rank(text) for text in (old, new))
    if old is not None and (before and before[0]) != (after and after[0]):
        notes.append("It is not written like the old one: will the source understand it?")
    if run.state.get(CURSOR) is not None:
        notes.append("The stream has a cursor of the source's own, which stays, and may count for more.")
    if run.state.get(INTERVALS) is not None:
        notes.append("What an unfinished collection has delivered stays known, and is not delivered again.")
    if run.state.get(LOOKBACK) is not None:
        notes.append("What was delivered within the lookback stays known, and is not delivered again.")
    return notes


@state.command()
@_name
@click.option("--force", is_flag=True, help="Also where what is remembered cannot be read.")
@_yes
@json_option
@click.pass_context
def reset(ctx: click.Context, name: str, force: bool, yes: bool, as_json: bool) -> int:
    """Forget where the stream NAME stands, and what it has delivered.

    Its next run begins like the first: what the source still has is delivered again.
    """
    with session(ctx):
        if force and _start_over(name, yes, as_json):
            return EXIT_OK
        with _changing(name) as (target, cache, stream):
            run, state = stream.run, stream.run.state
            (last,) = cache.read([state.key(CACHE_KEY_LAST)])
            # How often it was committed has to stay known.
            forgotten = [kind for kind in POSITION if state.get(kind) is not None]
            if last is not None:
                forgotten.append(CACHE_KEY_LAST)
            if not forgotten:
                return _unchanged(as_json, target, "Nothing is remembered of it.")
            old = state.get(CACHE_KEY_POINTER)
            notes = [f"Forgotten are {', '.join(forgotten)}."]
            _agree(yes, f"{target.name}: pointer {_short(old)} -> none", notes)
            backup = save(of_run(run), cache, f"reset-{target.name}")
            extra: dict[Key, str | None] = dict.fromkeys(state.lookback(1.0).records())
            state.commit(dict.fromkeys(POSITION), {**extra, state.key(CACHE_KEY_LAST): None})
            _report(as_json, target, backup, {"pointer": {"old": _redacted(old), "new": None}, "forgotten": forgotten})
    return EXIT_OK


def _start_over(name: str, yes: bool, as_json: bool) -> bool:
    """Reset the stream `name` if a record of it cannot be read, and say whether that was so.

    No run can hold such a stream, so this one is changed without its lease, in one step.
    """
    settings = Settings.read()
    handlers = Handlers(settings)
    cache = handlers.cache
    target = _target(name, load_documents(settings), cache)
    run, _ = collection_of(cache, handlers.output, target.stream, target.config, settings.lock_duration)
    state = run.state
    unreadable = state.unreadable()
    if not unreadable:
        return False
    if not may_take(state, settings.lock_duration):
        raise LockedElsewhere(f"{target.name} is being collected now. Stop that, or wait; nothing was changed.")
    present = _present(cache, [target.stream])
    backup = of_streams(cache, present)
    notes = [f"It cannot be read: {', '.join(unreadable)}. The backup has it as it is."]
    if PENDING in unreadable:
        notes.append("What was committed last, and is not visible yet, stays so until the source gives it again.")
    old = state.values[CACHE_KEY_POINTER]
    _agree(yes, f"{target.name}: pointer {_short(old)} -> none", notes)
    kept = save(backup, cache, f"reset-{target.name}")
    forgotten = [kind for kind in dict.fromkeys((*POSITION, *unreadable)) if state.values[kind] is not None]
    lookback = [key for key in present[target.stream] if key.pk.startswith(f"{LOOKBACK}-")]
    state.start_over(unreadable, [*lookback, state.key(CACHE_KEY_LAST)])
    _report(as_json, target, kept, {"pointer": {"old": _redacted(old), "new": None}, "forgotten": forgotten})
    return True


@contextmanager
def _changing(name: str) -> Iterator[tuple[_Target, BaseCache, Held]]:
    """The stream `name`, its cache, and the stream under its lease."""
    settings = Settings.read()
    documents = load_documents(settings)
    handlers = Handlers(settings)
    target = _target(name, documents, handlers.cache)
    with held(handlers.cache, handlers.output, target.stream, target.config, settings.lock_duration) as stream:
        yield target, handlers.cache, stream


def _agree(yes: bool, change: str, notes: Iterable[str] = ()) -> None:
    """Show a change, and ask for it; click.Abort where it is not wanted."""
    for line in (change, *notes):
        click.echo(line, err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: say --yes.")
    click.confirm("Go on?", abort=True, err=True)


def _unchanged(as_json: bool, target: _Target, text: str) -> int:
    if as_json:
        print_json({"name": target.name, "changed": False})
    else:
        click.echo(f"{target.name}: {text} Nothing was changed.")
    return EXIT_OK


def _report(as_json: bool, target: _Target, backup: Path, change: Mapping[str, Any]) -> None:
    if as_json:
        print_json({"name": target.name, "changed": True, **change, "backup": str(backup)})
        return
    click.echo(f"Done. What was there before: {backup}\nTo have it back: grove state import {backup}")


# --- to save and restore ---


@state.command("export")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--tokens", is_flag=True, help="Also the refresh tokens that vendors have replaced, which are secrets.")
@click.pass_context
def export(ctx: click.Context, file: Path | None, tokens: bool) -> int:
    """Save all that the cache remembers in FILE, which must not be there yet, or print it.

    Each stream is saved as it is at one moment, also while it is being collected. The file is JSON, for this cache or
    for one of another kind.
    """
    with session(ctx):
        backup, left_out = of_cache(open_cache(Settings.read()), tokens=tokens)
        data = backup.encode()
        if left_out:
            click.echo(
                f"Left out: {left_out} {'refresh token' if left_out == 1 else 'refresh tokens'} in place of what "
                "documents have. Say --tokens to save them, and keep the file like a password.",
                err=True,
            )
        if file is None:
            click.echo(data, nl=False)
            return EXIT_OK
        _write(file, data)
    click.echo(f"Saved {len(backup.streams):,} {_streams(len(backup.streams))} in {file}.", err=True)
    return EXIT_OK


def _write(file: Path, data: bytes) -> None:
    try:
        files.write_new(file, data)
    except FileExistsError:
        raise click.UsageError(f"{file} is there already.") from None
    except OSError as err:
        raise files.disk_error(err, file) from err


@state.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_yes
@json_option
@click.pass_context
def restore_streams(ctx: click.Context, file: Path, yes: bool, as_json: bool) -> int:
    """Restore the streams in FILE, which `export` or a changing command has written.

    The cache has to be the one that they come from, or empty. Each stream is replaced as a whole; streams that are not
    in the file stay as they are.
    """
    with session(ctx):
        settings = Settings.read()
        try:
            data = file.read_bytes()
        except OSError as err:
            raise Refused(f"{file} cannot be read: {err.strerror}.") from err
        backup = Backup.decode(data, str(file))
        handlers, documents = Handlers(settings), load_documents(settings)
        cache = handlers.cache
        _refuse_foreign(backup)
        targets = {target.stream: target for target in _targets(documents, cache)}
        present = _present(cache, backup.streams)
        before = of_streams(cache, present)
        changed = {stream: facts for stream, facts in backup.streams.items() if facts != before.streams[stream]}
        _refuse_collected(cache, changed, targets)
        if changed:
            _agree(yes, *_planned(changed, before, targets))
        adopt(cache, backup)
        kept = None
        if any(before.streams[stream] for stream in changed):
            kept = save(before, cache, "import")
        for stream, facts in changed.items():
            if facts.keys() == {REFRESH_TOKEN}:
                cache.set(*stream.key(REFRESH_TOKEN), facts[REFRESH_TOKEN])
                continue
            target = targets.get(stream)
            config = target.config if target is not None else None
            with held(cache, handlers.output, stream, config, settings.lock_duration) as taken:
                restore(taken.run, facts, present[stream])
    if as_json:
        names = [_called(stream, targets) for stream in changed]
        print_json({"restored": names, "unchanged": len(backup.streams) - len(changed), "backup": kept and str(kept)})
        return EXIT_OK
    click.echo(f"Restored {len(changed):,} of {len(backup.streams):,} {_streams(len(backup.streams))}.")
    if kept is not None:
        click.echo(f"What was there before: {kept}")
    return EXIT_OK


def _present(cache: BaseCache, streams: Iterable[StreamId]) -> dict[StreamId, list[Key]]:
    """The keys that the cache has by now of `streams`."""
    found: dict[StreamId, list[Key]] = {stream: [] for stream in streams}
    try:
        for key, _ in cache.scan(""):
            stream = StreamId.of(key)
            if stream in found:
                found[stream].append(key)
    except NotImplementedException:
        for stream in found:
            keys = [stream.key(kind) for kind in (*KINDS, CACHE_KEY_LAST)]
            values = zip(keys, cache.read(keys), strict=True)
            found[stream] = [key for key, value in values if value is not None]
    return found


def _refuse_foreign(backup: Backup) -> None:
    foreign = foreign_deliveries(backup)
    if foreign:
        names = ", ".join(map(str, foreign[:5]))
        raise Refused(
            f"A delivery of {names} was under way on {backup.host}, and can only be finished there. "
            "Run `grove run` on it, and export again."
        )


def _refuse_collected(cache: BaseCache, changed: Mapping[StreamId, Any], targets: Mapping[StreamId, _Target]) -> None:
    facts = read(cache, [keys_at(*stream) for stream in changed])
    busy = [_called(stream, targets) for stream, fact in zip(changed, facts, strict=True) if fact.holder]
    if busy:
        raise LockedElsewhere(f"Being collected now: {', '.join(busy[:5])}. Stop that, or wait; nothing was changed.")


def _planned(
    changed: Mapping[StreamId, Mapping[str, str]], before: Backup, targets: Mapping[StreamId, _Target]
) -> tuple[str, list[str]]:
    """What restoring changes, in lines."""
    rows = [
        [
            _called(stream, targets),
            _short(before.streams[stream].get(CACHE_KEY_POINTER)),
            "->",
            _short(facts.get(CACHE_KEY_POINTER)),
        ]
        for stream, facts in changed.items()
    ]
    lines = table(["stream", "pointer now", "", "pointer then"], rows)
    return lines[0], lines[1:]


# --- streams by name ---


def _targets(documents: Documents, cache: BaseCache) -> list[_Target]:
    """Every stream there is: those with a document, then those that only the cache knows."""
    found = [_Target(config.name, StreamId(*state_key(config)), config) for config in documents.streams]
    known = {target.stream for target in found}
    try:
        keys = (key for key, _ in cache.scan("") if not is_token(key))
        others = {stream for key in keys if (stream := StreamId.of(key)) is not None}
    except NotImplementedException:
        others = set()
    return found + [_Target(str(stream), stream, None) for stream in sorted(others - known)]


def _target(name: str, documents: Documents, cache: BaseCache) -> _Target:
    targets = _targets(documents, cache)
    found = [target for target in targets if target.name == name]
    if len(found) > 1:
        raise click.UsageError(f"{len(found)} documents are called {name!r}; give each its own name.")
    if not found:
        hint = did_you_mean(name, [target.name for target in targets])
        raise click.UsageError(f"There is no stream called {name!r}.{hint}")
    return found[0]


def _called(stream: StreamId, targets: Mapping[StreamId, _Target]) -> str:
    target = targets.get(stream)
    return target.name if target is not None else str(stream)


def _store_id(cache: BaseCache) -> str | None:
    return cache.read([STORE])[0]


def _short(text: str | None) -> str:
    clean = "none" if text is None else redact(text)
    return clean if len(clean) <= _WIDTH else f"{clean[:_WIDTH]}..."


def _redacted(text: str | None) -> str | None:
    return None if text is None else redact(text)


def _streams(count: int) -> str:
    return "stream" if count == 1 else "streams"
