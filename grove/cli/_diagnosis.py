"""What `grove doctor` looks at, on this machine and in the set-up."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from grove import __about__, _core, constants
from grove.caches import BaseCache, Key
from grove.caches._lmdb_opening import NETWORK, file_system
from grove.cli._rehearsal import Nowhere
from grove.cli._terminal import Finding, span
from grove.cli.plugins import described
from grove.constants import (
    CACHE_KEY_LAST,
    CACHE_KEY_LOCK,
    PLUGIN_GROUP_CACHE,
    PLUGIN_GROUP_CONFIG,
    PLUGIN_GROUP_OUTPUT,
    PLUGIN_GROUP_SECRET,
)
from grove.exceptions import GroveException, NotImplementedException
from grove.helpers import clock, files, plugin
from grove.http._transport import surroundings
from grove.http.origin import shown
from grove.lease import Record, owner
from grove.logging import redact
from grove.outputs._several import load as load_output
from grove.outputs._several import members
from grove.runtime import Documents, DocumentSource, Handlers, Settings, open_cache, state_key
from grove.state import LEASE

__all__ = ["Examination"]

_MIB = 1 << 20
# Free bytes of a disk below which it will soon be full, and those below which it is.
_LOW, _FULL = 256 * _MIB, 4 * _MIB
_MOST = 10
# Seconds by which a last run may lie ahead before the clock has to be wrong.
_AHEAD = 60.0


class Examination:
    """Goes from what everything rests on to what rests on it; what cannot be looked at is passed over."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._documents: Documents | None = None
        self._cache: BaseCache | None = None

    def findings(self) -> list[Finding]:
        """Everything that is to be said."""
        checks: dict[str, Callable[[], Iterator[Finding]]] = {
            "python": self._python,
            "core": self._compiled,
            "package": self._package,
            "settings": self._known_settings,
            "configuration": self._configuration,
            "plugins": self._plugins,
            "secrets": self._secrets,
            "cache": self._state,
            "leases": self._leases,
            "output": self._output,
            "clock": self._clock,
            "network": self._network,
        }
        found: list[Finding] = []
        for name, check in checks.items():
            try:
                found += check()
            except GroveException as err:
                found.append(Finding(name, "fail", redact(str(err))))
            except Exception as err:
                found.append(Finding(name, "fail", redact(f"{type(err).__name__}: {err}")))
        return found

    # --- what is installed ---

    def _python(self) -> Iterator[Finding]:
        yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")

    def _compiled(self) -> Iterator[Finding]:
        yield Finding("core", "ok", str(_core.__file__))
        try:
            importlib.import_module("isal")
        except ImportError:
            yield Finding("core", "warn", "isal is missing, so compressing takes longer", "Run: pip install isal")

    def _package(self) -> Iterator[Finding]:
        owners = sorted(set(metadata.packages_distributions().get("grove", [])))
        if len(owners) > 1:
            yield Finding(
                "package",
                "fail",
                f"the package `grove` comes from {' and '.join(owners)}, which overwrite each other",
                f"Run: pip uninstall {' '.join(owners)}; then install the one you want.",
            )
        else:
            yield Finding("package", "ok", f"grove {__about__.__version__}")

    # --- what is set ---

    def _known_settings(self) -> Iterator[Finding]:
        self._settings = Settings.read()
        known, open_ended = _settings()
        wrong = False
        for name in sorted(os.environ):
            if not name.startswith("GROVE_") or name in known or name.startswith(open_ended):
                continue
            wrong = True
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            hint = f"Did you mean {near[0]}?" if near else "Take it away, or see `grove plugins` for what there is."
            yield Finding("settings", "warn", f"{name} is set, and nothing knows it", hint)
        if not wrong:
            used = sum(name.startswith("GROVE_") for name in os.environ)
            yield Finding("settings", "ok", f"{_count(used, 'variable')} of ours, and nothing unknown")

    def _configuration(self) -> Iterator[Finding]:
        if self._settings is None:
            return
        self._documents = DocumentSource(self._settings).load()
        streams, problems = len(self._documents.streams), len(self._documents.problems)
        if problems:
            message = f"{_count(problems, 'problem')}; {_count(streams, 'document')} can be used all the same"
            yield Finding("configuration", "fail", message, "See `grove validate`.")
        elif not streams:
            yield Finding("configuration", "warn", "there is no enabled document", "To begin with one: grove init")
        else:
            yield Finding("configuration", "ok", f"{_count(streams, 'document')} from {self._settings.config}")

    def _plugins(self) -> Iterator[Finding]:
        """Whether the handlers can be imported: a missing extra is named by the error."""
        if self._settings is None:
            return
        settings = self._settings
        wanted = {
            (settings.config, PLUGIN_GROUP_CONFIG),
            (settings.cache, PLUGIN_GROUP_CACHE),
            *((name.strip(), PLUGIN_GROUP_OUTPUT) for name in settings.output.split(",")),
            *([(settings.secret, PLUGIN_GROUP_SECRET)] if settings.secret else []),
        }
        missing = 0
        for name, group in sorted(wanted):
            try:
                plugin.load_class(name, group)
            except GroveException as err:
                missing += 1
                yield Finding("plugins", "fail", str(err))
        if not missing:
            yield Finding(
                "plugins", "ok", ", ".join(f"{group.removeprefix('grove.')}: {name}" for name, group in sorted(wanted))
            )

    def _secrets(self) -> Iterator[Finding]:
        streams = [config for config in (self._documents.streams if self._documents else ()) if config.secrets]
        if self._settings is None or not streams:
            yield Finding("secrets", "skip", "no document names any")
            return
        handlers = Handlers(self._settings, BaseCache(), Nowhere())
        failed = 0
        for config in streams:
            try:
                handlers.resolve(config)
            except GroveException as err:
                failed += 1
                if failed <= _MOST:
                    yield Finding("secrets", "fail", redact(str(err)))
        if not failed:
            yield Finding(
                "secrets",
                "ok",
                f"those of {_count(len(streams), 'document')} can be fetched from {self._settings.secret}",
            )

    # --- where things are kept ---

    def _state(self) -> Iterator[Finding]:
        if self._settings is None:
            return
        name = self._settings.cache
        handler: BaseCache = plugin.load_handler(name, PLUGIN_GROUP_CACHE)
        directory = handler.directory
        if directory is not None and not directory.exists():
            above = next(parent for parent in directory.parents if parent.exists())
            if os.access(above, os.W_OK | os.X_OK):
                yield Finding("cache", "ok", f"{name}: the first run will make {directory}")
                yield from _disk("cache", above)
            else:
                yield Finding(
                    "cache",
                    "fail",
                    f"{name}: {directory} cannot be made, as user id {os.geteuid()} may not write to {above}",
                    "Give it the right to, or name another directory (see `grove plugins caches`).",
                )
            return
        self._cache = open_cache(self._settings)
        yield Finding("cache", "ok", f"{name}: {directory} opens" if directory else f"{name} answers")
        if directory is not None:
            yield from _disk("cache", directory)

    def _leases(self) -> Iterator[Finding]:
        cache = self._cache
        if cache is None:
            return
        try:
            held = [(key, text) for key, text in cache.scan(f"{CACHE_KEY_LOCK}.")]
        except NotImplementedException:
            yield Finding("leases", "skip", "this cache cannot list them")
            return
        names = {state_key(config): config.name for config in (self._documents.streams if self._documents else ())}
        if not held:
            yield Finding("leases", "ok", "none is held")
        for key, text in held[:_MOST]:
            reference = key.pk.removeprefix(f"{CACHE_KEY_LOCK}.")
            (stored,) = cache.read([Key(f"{LEASE}.{reference}", key.sk)])
            name = names.get((reference, key.sk), f"{reference} {key.sk}")
            yield _lease(name, text, Record.decode(stored), cache.directory)
        if len(held) > _MOST:
            yield Finding("leases", "ok", f"{len(held) - _MOST:,} more are held")

    def _output(self) -> Iterator[Finding]:
        if self._settings is None:
            return
        for output in members(load_output(self._settings.output)):
            name = type(output).__module__.rpartition(".")[2]
            output.setup()
            if type(output).__module__ != "grove.outputs.local_file":
                yield Finding("output", "ok", f"{name} is set up; whether it takes anything is seen when it gets some")
                continue
            root = Path(os.path.realpath(output.config.path))
            yield Finding("output", "ok", f"{name}: written to {root}, durably, in {_probe(root) * 1_000:.0f} ms")
            kind = file_system(root)
            if kind in NETWORK:
                yield Finding(
                    "output",
                    "warn",
                    f"{root} lies on {kind}, where a crash between two steps may repeat a page",
                    "Prefer a local directory.",
                )
            yield from _disk("output", root)

    # --- what is around it ---

    def _clock(self) -> Iterator[Finding]:
        now = clock.now()
        installed = datetime.fromtimestamp(os.stat(_core.__file__).st_mtime, UTC)
        if now < installed - timedelta(days=1):
            yield Finding("clock", "fail", f"it says {clock.datestamp(now)}, before Grove was installed", "Set it.")
            return
        ahead = [key for key, moment in self._last_runs() if (moment - now).total_seconds() > _AHEAD]
        if ahead:
            yield Finding(
                "clock",
                "warn",
                f"it says {clock.datestamp(now)}, and {_count(len(ahead), 'stream')} ran last after that",
                "Set it, on this host or on the one that ran them.",
            )
        else:
            yield Finding("clock", "ok", clock.datestamp(now))

    def _last_runs(self) -> Iterator[tuple[Key, datetime]]:
        if self._cache is not None:
            with contextlib.suppress(NotImplementedException):
                for key, text in self._cache.scan(f"{CACHE_KEY_LAST}."):
                    with contextlib.suppress(ValueError):
                        yield key, clock.parse_datestamp(text)

    def _network(self) -> Iterator[Finding]:
        proxy, authorities = surroundings("https://example.com/")
        way = f"through the proxy {shown(proxy)}" if proxy else "directly"
        yield Finding("network", "ok", f"sources are reached {way}, and trusted by {authorities}")


def _settings() -> tuple[set[str], tuple[str, ...]]:
    """The variables that are known, and the beginnings of those of plugins which cannot be loaded here to be asked."""
    known = {str(value) for name, value in vars(constants).items() if name.startswith("ENV_GROVE_")}
    open_ended = []
    for group in (PLUGIN_GROUP_CONFIG, PLUGIN_GROUP_CACHE, PLUGIN_GROUP_OUTPUT, PLUGIN_GROUP_SECRET):
        kind = group.removeprefix("grove.").rstrip("s").upper()
        for about in described(group):
            known.update(setting["name"] for setting in about["settings"])
            if about["error"]:
                open_ended.append(f"GROVE_{kind}_{about['name'].upper()}_")
    return known, tuple(open_ended)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _disk(check: str, directory: Path) -> Iterator[Finding]:
    """How much room there is where `directory` lies."""
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    message = f"{free / _MIB:,.0f} MiB are free where {directory} lies"
    if free < _LOW:
        yield Finding(check, "fail" if free < _FULL else "warn", message, "Make room.")
    else:
        yield Finding(check, "ok", message)


def _probe(root: Path) -> float:
    """Write, sync and rename a file in `root`, and remove it again: the seconds that took. AccessException."""
    final = root / f".grove-doctor-{secrets.token_hex(8)}"
    temp = final.with_name(f"{final.name}.tmp")
    started = time.monotonic()
    try:
        try:
            files.write_new(temp, b"grove doctor\n")
            files.publish(temp, final)
            files.sync_directory(root)
        finally:
            files.remove(temp)
            files.remove(final)
    except OSError as err:
        raise files.disk_error(err, root) from err
    return time.monotonic() - started


def _lease(name: str, expiry: str, record: Record | None, directory: Path | None) -> Finding:
    """What is to be said of a lease of the stream `name`."""
    try:
        left = clock.seconds_until(clock.parse_lock_date(expiry))
    except ValueError:
        return Finding("leases", "warn", f"{name}: its lock says {expiry!r}, which nobody understands")
    holder = f"process {record.owner.partition('-')[0]}" if record is not None else "somebody"
    if record is not None and owner().is_dead(record.owner, directory):
        return Finding(
            "leases", "warn", f"{name}: left behind by {holder}, which has ended; the next run takes it over"
        )
    if left < 0:
        return Finding(
            "leases", "warn", f"{name}: held by {holder} until {span(-left)} ago; the next run takes it over"
        )
    return Finding("leases", "ok", f"{name}: held by {holder}, for another {span(left)} at least")
