"""The connector API: subclass `BaseConnector`, say where the pointer is, and `save()` what the source returns."""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, ClassVar

from grove import _core, coverage
from grove.__about__ import __version__
from grove._core import RawPage
from grove.caches import BaseCache, Key
from grove.collection import Collection, Page, Stream
from grove.constants import (
    CACHE_KEY_LAST,
    CACHE_KEY_POINTER,
    CACHE_KEY_POINTER_NEXT,
    CACHE_KEY_POINTER_PREV,
    CACHE_KEY_WINDOW_END,
    CACHE_KEY_WINDOW_START,
    CHRONOLOGICAL,
    DEFAULT_CACHE_HANDLER,
    DEFAULT_LOCK_DURATION,
    DEFAULT_OUTPUT_HANDLER,
    ENV_GROVE_CACHE_HANDLER,
    ENV_GROVE_LOCK_DURATION,
    ENV_GROVE_OUTPUT_HANDLER,
    PLUGIN_GROUP_CACHE,
    PLUGIN_GROUP_PROCESSOR,
    REVERSE_CHRONOLOGICAL,
)
from grove.coverage import Asked
from grove.exceptions import (
    ConcurrencyException,
    ConfigurationException,
    DataFormatException,
    GroveException,
    NotFoundException,
    ProcessorError,
    StoppedError,
)
from grove.helpers import clock, plugin
from grove.helpers.codecs import Codec
from grove.history import Counts, History, note
from grove.logging import redact
from grove.lookback import earlier_pointer
from grove.models import ConnectorConfig, OutputStream, attribute_name
from grove.outputs import BaseOutput
from grove.outputs._adapter import overrides_serialize
from grove.outputs._several import load as load_output
from grove.processors import BaseProcessor
from grove.state import BOUNDARY, COVERAGE, CURSOR, HISTORY
from grove.window import Boundary

__all__ = ["CHRONOLOGICAL", "REVERSE_CHRONOLOGICAL", "BaseConnector", "ConnectorConfig", "RawPage"]

_TAKE_LISTS = ("deduplicate_by_hash", "hash_entry", "process_and_write")
"""Methods which, where a subclass has its own, are given entries as objects."""

QUARANTINE = "quarantine"
"""The output descriptor for entries that cannot be processed or have no pointer."""


class _BoundLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds its stream to every record, beside the record's own fields."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


class BaseConnector:
    """Collects one stream of one source.

    A subclass sets `CONNECTOR` (or the older `NAME`), `POINTER_PATH` (JMESPath to the value that orders the
    entries) and `LOG_ORDER`, and implements `collect()`, which calls `save()` with each page as the source
    returns it. Everything else (deduplication, state, locking, delivery, recovery) happens here.

    `config` is the stream's document and `context` the runtime's description, copied into every entry.
    `cache` and `output` replace the handlers that GROVE_CACHE_HANDLER and GROVE_OUTPUT_HANDLER name.
    A run stops after the page with which it has delivered `limit` entries, where that is set.
    ConfigurationException where a handler, a processor or a setting is unusable.
    """

    CONNECTOR = "base"
    NAME = "base"
    POINTER_PATH = ""
    LOG_ORDER = REVERSE_CHRONOLOGICAL
    PIPELINED: ClassVar[bool] = False
    """Whether `save()` may return while its page is still being delivered and committed, beside the next page.

    Pages then go one after the other all the same, and the first that fails raises at the next call of this API.
    """
    STREAM_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Fields of the document which, beside identity and operation, tell this connector's streams apart."""

    EXTRA: ClassVar[str | None] = None
    """The extra of this package, as in `grove[google]`, that brings what the connector imports when it runs."""

    fetch_secrets: Callable[[], ConnectorConfig] | None = None
    """Gives the document with its secrets as the store has them by now; None where it has none."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Two spellings of one name; the one a class gives itself counts for both.
        if "CONNECTOR" in cls.__dict__:
            if "NAME" not in cls.__dict__:
                cls.NAME = cls.CONNECTOR
        elif isinstance(cls.__dict__.get("NAME"), str):
            cls.CONNECTOR = cls.NAME

    def __init__(
        self,
        config: ConnectorConfig,
        context: dict[str, str],
        cache: BaseCache | None = None,
        output: BaseOutput | None = None,
    ) -> None:
        self.configuration = config
        self.runtime_context = context
        self.kind = self.__class__.__module__
        self.name = config.name
        self.key = config.key
        self.identity = config.identity
        self.operation = config.operation
        self.frequency = config.frequency
        self.log_context = {
            "operation": self.operation,
            "connector": self.kind,
            "identity": self.identity,
        }
        self.logger = _BoundLogger(logging.getLogger(self.kind), self.log_context)
        self.stopping = threading.Event()
        self.limit: int | None = None
        self.outcome = ""
        self.failure: BaseException | None = None
        self.history: History | None = None
        self._reached: str | None = None
        self._counts = Counts()
        self._abandoned = False
        self._started = clock.now()
        self._lock_duration = _lock_duration()
        self._part = 0
        self._saved: dict[str, int] = {}
        self._run: Collection | None = None
        self._complete = False
        self._saving = False
        self._page: Page | None = None
        self._unfinished: tuple[int, int, int] | None = None
        self._windows: dict[str, str] = {}
        self._next: str | None = None
        self._asked_lookback = False
        self._path = _core.pointer_path("@")
        self._cache: BaseCache = cache or _usual_cache()
        self._output: BaseOutput = output or _usual_output()
        self._processors: list[BaseProcessor] = [
            plugin.load_handler(item.processor, PLUGIN_GROUP_PROCESSOR, item) for item in config.processors
        ]

    # --- running ---

    def due(self) -> bool:
        """Whether `frequency` seconds have passed since the last run; a last run in the future counts for nothing."""
        try:
            elapsed = -clock.seconds_until(self.last)
        except NotFoundException:
            return True
        if elapsed < 0:
            self.logger.warning("The last run lies in the future; is the clock right?")
            return True
        return elapsed >= self.frequency

    def run(self) -> None:
        """Collect once, under the stream's lease. Afterwards `outcome` is succeeded, failed, locked or stopped.

        ConcurrencyException where another process is collecting this stream. Everything else that goes wrong ends
        this run only: it is logged, with its traceback where no one expected it, and kept in `failure`.
        """
        self.outcome = "failed"
        self.failure = None
        try:
            self.lock()
        except ConcurrencyException:
            self.outcome = "locked"
            raise
        except GroveException as err:
            self.logger.error("The stream could not be opened.", extra={"exception": str(err)})
            self._note_failure(err)
            return
        except Exception as err:
            self.logger.exception("The stream could not be opened, in a way that no one expected.")
            self._note_failure(err)
            return
        try:
            self.collect()
            self._after_collection()
            self.outcome = "succeeded"
        except StoppedError:
            self.outcome = "stopped"
            self.logger.info("Stopped; the next run goes on from the last page that was saved.")
        except GroveException as err:
            self.failure = err
            self.logger.error(
                "Collection did not complete.",
                extra={"exception": str(err), "error": type(err).__name__},
            )
        except Exception as err:
            self.failure = err
            self.logger.exception("Collection failed in a way the connector did not expect.")
        finally:
            self._end()

    def _note_failure(self, err: BaseException) -> None:
        """The stream was never held: keep that for those who look after it, where that can be."""
        self.failure = err
        with contextlib.suppress(Exception):
            note(self._cache, Key(self.cache_key(HISTORY), self.operation), self._started, err)

    @abstractmethod
    def collect(self) -> None:
        """Ask the source for everything since `pointer` and `save()` it, page by page."""

    def _after_collection(self) -> None:
        run = self._held()
        # A connector that swallowed the failure of a page has not collected it.
        run.check()
        self._finish_page()
        if run.nonempty or self._complete:
            run.finish(self.LOG_ORDER)
        if self._overrides("save_hashes"):
            self.save_hashes()
        if self._lookback() and not self._asked_lookback:
            self.logger.debug("This connector did not ask for its `lookback`; only what it repeats is dropped.")

    def _end(self) -> None:
        run = self._run
        if run is None:
            return
        try:
            self._finish_page()
        except Exception as err:
            # The run ends because of something else.
            self.logger.warning("The last page was not completed.", extra={"exception": str(err)})
        known = History.decode(run.state.get(HISTORY))
        history = History.after(known, self._started, self.outcome, self.failure, self._counts)
        covered = coverage.noted(
            run.state.get(COVERAGE),
            began=clock.datestamp(self._started),
            outcome=self.outcome,
            counts=self._counts,
            asked=run.asked,
            brought=run.brought,
            pointer=run.state.get(CACHE_KEY_POINTER),
        )
        changes: dict[str, str | None] = {HISTORY: history.encode(), COVERAGE: covered}
        if self.outcome != "stopped":
            changes[CACHE_KEY_LAST] = clock.datestamp(self._started)
        try:
            run.end(changes)
            self.history, self._reached = history, run.state.get(CACHE_KEY_POINTER)
        except GroveException as err:
            self.logger.warning("The lease could not be given back.", extra={"exception": str(err)})
        except Exception:
            # A handler that somebody else wrote: it ends this run, and nothing else.
            self.logger.exception("The end of the run failed in a way that no one expected.")
        finally:
            self._run = None

    def asked(self, since: str | None, until: str | None, limits: Mapping[str, str] | None = None) -> None:
        """Keep what this run asks its source for: from and to which moment, and what else limits the answer.

        For `grove state explain`; a connector that does not say it is taken to ask for all from its pointer to now.
        """
        kept = tuple((name, redact(value)) for name, value in (limits or {}).items())
        self._held().asked = Asked(since, until, kept)

    def wait(self, seconds: float) -> None:
        """Wait that long, or until the process is asked to stop; StoppedError then."""
        if self.stopping.wait(seconds):
            raise self._stopped()

    def _stopped(self) -> StoppedError:
        return StoppedError(f"Stream {self.name} was asked to stop.")

    # --- the lease ---

    def lock(self) -> None:
        """Take the stream, or refresh the lease this connector holds; ConcurrencyException where another has it."""
        if self._run is not None and self._run.lease is not None:
            self._run.lease.renew()
            return
        self._started = clock.now()
        self._part = 0
        self._counts = Counts()
        self._complete = False
        self._next = None
        run = self._collection()
        run.take()
        self._run = run
        if self._abandoned:
            # It hung in here, and whoever gave it up found no run to revoke.
            self._run = None
            run.revoke(self._gone())
            raise self._gone()

    def unlock(self) -> None:
        """Give the stream back; ConcurrencyException where this connector does not hold it (any longer)."""
        run = self._run
        if run is None or run.lease is None:
            self._run = None
            raise ConcurrencyException(f"Stream {self.name} is not locked by this connector.")
        try:
            self._finish_page()
        finally:
            self._run = None
            run.end({})

    def abandon(self) -> None:
        """From another thread: this run does not come back. It commits nothing from here on, and its lease is free.

        Errors are the cache's; the lease then runs out by itself.
        """
        self._abandoned = True
        self.stopping.set()
        run = self._run
        if run is not None:
            run.revoke(self._gone())

    def _gone(self) -> StoppedError:
        return StoppedError(f"The run of stream {self.name} was given up because it did not come back.")

    def _collection(self) -> Collection:
        config = self.configuration
        stream = Stream(
            connector=self.CONNECTOR,
            identity=self.identity,
            operation=self.operation,
            name=self.name,
            key_of=self.cache_key,
            # Only where there is no doubt whose state that was.
            earlier_key_of=self._plain_cache_key if self.STREAM_FIELDS and not config._has_namesakes else None,
            descriptors=(*config.outputs, QUARANTINE),
            lock_duration=self._lock_duration,
            run_timeout=float(getattr(config, "run_timeout", 3600)),
            lookback=self._lookback(),
        )
        return Collection(self._cache, self._output, stream, self.log_context)

    def _held(self) -> Collection:
        """The run in hand; taken now where a method is used outside `run()`."""
        if self._run is None:
            self.lock()
        assert self._run is not None
        return self._run

    def _view(self) -> Collection:
        """The run in hand, or the state as it is stored."""
        if self._run is not None:
            return self._run
        run = self._collection()
        run.peek()
        return run

    # --- saving ---

    def save(self, entries: Any, cursor: str | None = None) -> None:
        """Deliver what is new in a page, and move the stream past it. If not `PIPELINED`, both are durable on return.

        `entries` are JSON objects in the order the source gave them: a list, or a RawPage that has the source's own
        bytes. `cursor` is the source's own place in its feed, committed with the page, also with an empty one.
        StoppedError, PoisonedRunError (an earlier page of this run failed), DataFormatException (nothing at
        POINTER_PATH), or what the cache or the output raised: the page is then not committed, and neither is any
        later one of this run.
        """
        if self.stopping.is_set():
            raise self._stopped()
        self._save(entries, cursor)

    def _save(self, entries: Any, cursor: str | None = None) -> None:
        """`save()` of what had come before the process was asked to stop, if it was; errors as there."""
        if self._abandoned:
            raise self._gone()
        run = self._held()
        run.check()
        run.touch()
        if not entries and cursor is None:
            self.logger.debug("No log entries to save.")
            return
        set_aside = self._saved.get(QUARANTINE, 0)
        try:
            self._saving = True
            page = run.select(
                self._page_of(entries),
                self._pointer_path(),
                self.LOG_ORDER,
                self._hasher(),
                self.deduplicate_by_hash if self._overrides("deduplicate_by_hash") else None,
            )
            self._page = page
            if page.kept:
                page.encoded = _encode(page.kept, self.metadata(), self._codec())
                self.process_and_write(page.kept)  # type: ignore[arg-type]
            if page.rejected:
                self._write_quarantine(page.rejected)
            self._finish_page()
            run.commit(page, self.LOG_ORDER, cursor, beside=self.PIPELINED)
            dropped = len(page.pointers) - len(page.kept)
            self._unfinished = (len(page.kept), dropped, self._saved.get(QUARANTINE, 0) - set_aside)
            if page.encoded is not None:
                page.encoded.shrink()
            if not self.PIPELINED:
                self._finish_page()
        except BaseException as err:
            run.fail(err)
            raise
        finally:
            self._saving = False
            self._page = None

    def _finish_page(self) -> None:
        """Do what follows the commit of the last page, once that is through. Errors as `save()`."""
        if self._unfinished is None:
            return
        (entries, dropped, set_aside), self._unfinished = self._unfinished, None
        self._held().drain()
        counts = self._counts
        counts.pages += 1
        counts.entries += entries
        counts.dropped += dropped
        counts.quarantined += set_aside
        self._save_windows()
        self.finalize()

    def process_and_write(self, entries: list[Any]) -> None:
        """Run the processors and hand raw and processed entries to the outputs of the configuration.

        Errors as `save()`, which calls this for what is new.
        """
        if not self._saving and self.stopping.is_set():
            raise self._stopped()
        run = self._held()
        streams = {
            descriptor: getattr(stream, "value", stream) for descriptor, stream in self.configuration.outputs.items()
        }
        processed: list[Any] = []
        rejected: list[tuple[Any, str]] = []
        if self._overrides("process") or (self._processors and OutputStream.processed.value in streams.values()):
            self._finish_page()
            processed, rejected = self._process(entries)
        payloads: dict[str, bytes] = {}
        for descriptor, stream in streams.items():
            data = entries if stream == OutputStream.raw.value else processed
            if not data:
                continue
            if stream not in payloads:
                payloads[stream] = self._payload(data)
            run.write(descriptor, payloads[stream], self._part, len(data))
            self._saved[descriptor] = self._saved.get(descriptor, 0) + len(data)
        if rejected:
            self._write_quarantine(rejected)
        self._part += 1
        if not self._saving:
            run.commit(None, self.LOG_ORDER, None)
        if self.limit is not None and max(self._saved.values(), default=0) >= self.limit:
            # This page is committed yet, and none after it.
            self.stopping.set()

    def _page_of(self, entries: Any) -> list[Any] | RawPage:
        """A page as text, where nobody wants to look at its entries; otherwise a list of them."""
        if type(entries) is RawPage and not self._looks_at_entries():
            return entries
        return entries if type(entries) is list else list(entries)

    def _looks_at_entries(self) -> bool:
        return overrides_serialize(self._output) or any(self._overrides(method) for method in _TAKE_LISTS)

    def _codec(self) -> Codec | None:
        """How the lines of a page can be packed as they are made; None where the output wants the lines."""
        if overrides_serialize(self._output) or type(self._output).pack is not BaseOutput.pack:
            return None
        raw = any(stream == OutputStream.raw for stream in self.configuration.outputs.values())
        return self._output.codec if raw else None

    def _payload(self, data: list[Any] | RawPage) -> bytes:
        metadata = self.metadata()
        if overrides_serialize(self._output):
            return bytes(self._output.serialize(data=list(data), metadata=metadata))
        page = self._page
        if page is not None and data is page.kept and page.encoded is not None:
            encoded = page.encoded
        else:
            encoded = _encode(data, metadata, self._codec())
        return self._output.pack(encoded.data) if encoded.packed is None else encoded.packed

    def _write_quarantine(self, rejected: list[tuple[Any, str]]) -> None:
        groups: dict[str, list[Any]] = {}
        for entry, reason in rejected:
            groups.setdefault(reason, []).append(entry)
        metadata = self.metadata()
        if overrides_serialize(self._output):
            payloads = [
                (
                    bytes(self._output.serialize(data=_objects(group), metadata={**metadata, "quarantine": reason})),
                    len(group),
                )
                for reason, group in groups.items()
            ]
        else:
            encoded = [_encode(group, {**metadata, "quarantine": reason}).data for reason, group in groups.items()]
            payloads = [(self._output.pack(b"".join(encoded)), len(rejected))]
        for payload, count in payloads:
            self._held().write(QUARANTINE, payload, self._part, count)
            self._part += 1
        self._saved[QUARANTINE] = self._saved.get(QUARANTINE, 0) + len(rejected)
        self.logger.warning(
            "Entries were set aside in quarantine.",
            extra={"event": "quarantined", "entries": len(rejected), "reasons": sorted(groups)},
        )

    def complete(self) -> None:
        """The source has nothing more, although this run may have saved no page: close a newest-first collection."""
        self._complete = True

    # --- processing ---

    def process(self, entries: list[Any]) -> list[Any]:
        """What the processors make of `entries`, each of which passes through all of them once.

        The entries themselves are not changed. ProcessorError where an entry fails and its processor says
        `"on_error": "fail"`; other entries that fail are left out here and set aside in quarantine by `save()`.
        """
        return self._run_processors(entries)[0]

    def _process(self, entries: list[Any] | RawPage) -> tuple[list[Any], list[tuple[Any, str]]]:
        if self._overrides("process"):
            return self.process(list(entries)), []
        return self._run_processors(entries)

    def _run_processors(self, entries: list[Any] | RawPage) -> tuple[list[Any], list[tuple[Any, str]]]:
        processed: list[Any] = []
        rejected: list[tuple[Any, str]] = []
        copies = entries.copies() if isinstance(entries, RawPage) else map(_core.copy_entry, entries)
        for index, copied in enumerate(copies):
            results = [copied]
            for processor in self._processors:
                try:
                    results = [made for result in results for made in processor.process(result)]
                except Exception as err:
                    reason = f"processor {_processor_name(processor)} failed: {type(err).__name__}: {err}"
                    if getattr(processor.configuration, "on_error", "quarantine") == "fail":
                        raise ProcessorError(reason) from err
                    rejected.append((entries[index], reason))
                    results = []
                    break
            processed.extend(results)
        return processed, rejected

    def finalize(self) -> None:
        """Tell every processor that a page has been committed."""
        for processor in self._processors:
            processor.finalize()

    def metadata(self) -> dict[str, Any]:
        """What every delivered entry carries under `_grove`; pointers as they were before this page."""
        state = self._view().state
        return {
            "connector": self.kind,
            "identity": self.identity,
            "operation": self.operation,
            "pointer": state.get(CACHE_KEY_POINTER),
            "previous_pointer": state.get(CACHE_KEY_POINTER_PREV) or "",
            "collection_time": clock.datestamp(clock.now()),
            "runtime": self.runtime_context,
            "version": __version__,
        }

    # --- deduplication ---

    def hash_entry(self, entry: Any) -> str:
        """The entry's hash: BLAKE3, 128 bits, 32 hex digits, over its canonical bytes."""
        return _core.hash_entry(entry)

    def hash_entries(self, entries: list[Any]) -> dict[str, set[str]]:
        """The hashes of `entries`, grouped by the value of their pointer."""
        return _core.group_hashes(entries, self._pointer_path().pointers(entries), self._hasher())

    def deduplicate_by_hash(self, candidates: list[Any]) -> list[Any]:
        """The `candidates` that this stream has not delivered: those whose pointer and hash are not both known."""
        run = self._view()
        run.progress(self.LOG_ORDER)
        pointers = self._pointer_path().pointers(candidates)
        return [candidates[index] for index in run.unseen(candidates, pointers, self._hasher())]

    def deduplicate_by_pointer(self, candidates: list[Any]) -> list[Any]:
        """The `candidates` on the new side of the entry that carries the pointer; all where none does.

        Entries that share the pointer are told apart by their hashes, where those are known.
        """
        try:
            pointer = self.pointer
        except NotFoundException:
            return candidates
        known = self._view().known_hashes(pointer, self.LOG_ORDER)
        return _core.dedup_by_pointer(
            candidates,
            self._pointer_path().pointers(candidates),
            pointer,
            self.LOG_ORDER == REVERSE_CHRONOLOGICAL,
            known or None,
            self._hasher(),
        )

    def _pointer_path(self) -> _core.PointerPath:
        # It may be set on the instance, and changed: looked up by value.
        expression = self.POINTER_PATH
        if expression != self._path.expression:
            try:
                self._path = _core.pointer_path(expression)
            except (TypeError, ValueError) as err:
                raise ConfigurationException(
                    f"POINTER_PATH of {self.kind} is {expression!r}, which is not a JMESPath expression."
                ) from err
        return self._path

    def _hasher(self) -> Any:
        return self.hash_entry if self._overrides("hash_entry") else None

    def _overrides(self, method: str) -> bool:
        return method in self.__dict__ or getattr(type(self), method) is not getattr(BaseConnector, method)

    # --- state ---

    def cache_key(self, prefix: str = CACHE_KEY_POINTER) -> str:
        """The partition key under which this stream keeps the fact called `prefix`."""
        return f"{prefix}.{self.stream_reference(self.configuration)}"

    @classmethod
    def stream_reference(cls, config: ConnectorConfig) -> str:
        """The part of a stream's keys that tells it from others: its connector, identity, and `STREAM_FIELDS`."""
        if not cls.STREAM_FIELDS:
            return config.reference()
        values = cls._stream_values(config)
        return config.reference(_core.hash_entry(values)[:16])

    @classmethod
    def _stream_values(cls, config: ConnectorConfig) -> dict[str, Any]:
        return {field: getattr(config, attribute_name(field), None) for field in cls.STREAM_FIELDS}

    def _plain_cache_key(self, prefix: str) -> str:
        """Where this stream's state was kept before its `STREAM_FIELDS` were a part of its keys."""
        return f"{prefix}.{self.configuration.reference()}"

    @property
    def last(self) -> datetime.datetime:
        """When the last run that was not stopped began, in UTC; NotFoundException before the first."""
        text = self._cache.get(self.cache_key(CACHE_KEY_LAST), self.operation)
        try:
            return clock.parse_datestamp(text)
        except ValueError as err:
            raise NotFoundException(f"The cached last run of {self.name} is no date: {text!r}.") from err

    @last.setter
    def last(self, value: datetime.datetime) -> None:
        self._cache.set(self.cache_key(CACHE_KEY_LAST), self.operation, clock.datestamp(value))

    @property
    def pointer(self) -> str:
        """The newest committed pointer (the old one until a newest-first collection has finished).

        NotFoundException where there is none. Setting it is a commit of its own; an empty string clears it.
        """
        run = self._view()
        run.touch()
        run.check()
        found = run.progress(self.LOG_ORDER).shown
        if found is None:
            raise NotFoundException(f"Stream {self.name} has no pointer yet.")
        return found

    @pointer.setter
    def pointer(self, value: Any) -> None:
        if value is None:
            self.logger.warning("The pointer was set to None, which is ignored.")
            return
        borrowed = self._run is None
        run = self._held()
        run.check()
        try:
            run.move(str(value) or None, self.LOG_ORDER)
        finally:
            if borrowed:
                self.unlock()

    @property
    def since(self) -> str:
        """`pointer` moved back by the configured `lookback`, in its own format: what to ask the source for.

        NotFoundException where there is no pointer.
        """
        self._asked_lookback = True
        return earlier_pointer(self.pointer, self._lookback())

    def _lookback(self) -> float:
        """Seconds."""
        return float(getattr(self.configuration, "lookback", 0))

    @property
    def pointer_previous(self) -> str:
        """The pointer before the current one; empty where there was none."""
        return self._view().state.get(CACHE_KEY_POINTER_PREV) or ""

    @property
    def pointer_next(self) -> str:
        """What the pointer will be once a newest-first collection has finished; NotFoundException outside of one."""
        run = self._view()
        intervals = run.state.intervals()
        found = self._next or run.progress(self.LOG_ORDER).newest
        found = found or (intervals[0].high if intervals else run.state.get(CACHE_KEY_POINTER_NEXT))
        if not found:
            raise NotFoundException(f"Stream {self.name} has no collection under way.")
        return found

    @pointer_next.setter
    def pointer_next(self, value: str) -> None:
        self._next = value
        self._view().progress(self.LOG_ORDER).newest = value

    @property
    def cursor(self) -> str | None:
        """The source's own place in its feed, as committed with the last page that gave one."""
        return self._view().state.get(CURSOR)

    @property
    def hashes(self) -> dict[str, set[str]]:
        """The hashes kept for the pointer, by pointer."""
        try:
            pointer = self.pointer
        except NotFoundException:
            return {}
        known = self._view().known_hashes(pointer, self.LOG_ORDER)
        return {pointer: known} if known else {}

    @hashes.setter
    def hashes(self, value: dict[str, set[str]]) -> None:
        run = self._held()
        for pointer, hashes in value.items():
            run.remember(pointer, hashes)

    def save_hashes(self) -> None:
        """Commit the hashes kept for the pointer. `save()` does so with every page."""
        known = self.hashes
        if known:
            pointer, hashes = next(iter(known.items()))
            run = self._held()
            run.drain()
            run.state.commit({BOUNDARY: Boundary(pointer, hashes).encode()})

    @property
    def window_start(self) -> str:
        """The newest pointer of the newest interval that an unfinished collection delivered; empty without one."""
        return self._window(CACHE_KEY_WINDOW_START)

    @window_start.setter
    def window_start(self, value: str) -> None:
        self._windows[CACHE_KEY_WINDOW_START] = value

    @property
    def window_end(self) -> str:
        """The oldest pointer of that interval; empty without one."""
        return self._window(CACHE_KEY_WINDOW_END)

    @window_end.setter
    def window_end(self, value: str) -> None:
        self._windows[CACHE_KEY_WINDOW_END] = value

    def save_window_start(self) -> None:
        """Commit a `window_start` that was set by hand; intervals are committed with their pages."""
        self._save_window(CACHE_KEY_WINDOW_START)

    def save_window_end(self) -> None:
        """Commit a `window_end` that was set by hand; intervals are committed with their pages."""
        self._save_window(CACHE_KEY_WINDOW_END)

    def _window(self, kind: str) -> str:
        if kind in self._windows:
            return self._windows[kind]
        if self.LOG_ORDER != REVERSE_CHRONOLOGICAL:
            return ""
        intervals = self._view().state.intervals()
        if not intervals:
            return ""
        return intervals[0].high if kind == CACHE_KEY_WINDOW_START else intervals[0].low

    def _save_window(self, kind: str) -> None:
        if kind in self._windows:
            run = self._held()
            run.drain()
            run.state.commit({kind: self._windows[kind] or None})

    def _save_windows(self) -> None:
        for method in ("save_window_start", "save_window_end"):
            if self._overrides(method):
                getattr(self, method)()


def _lock_duration() -> float:
    text = os.environ.get(ENV_GROVE_LOCK_DURATION, "")
    try:
        seconds = float(text) if text else float(DEFAULT_LOCK_DURATION)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ConfigurationException(f"{ENV_GROVE_LOCK_DURATION} is {text!r}; it has to be a number of seconds.")
    return seconds


def _usual_cache() -> BaseCache:
    cache: BaseCache = plugin.load_handler(
        os.environ.get(ENV_GROVE_CACHE_HANDLER, DEFAULT_CACHE_HANDLER), PLUGIN_GROUP_CACHE
    )
    cache.setup()
    return cache


def _usual_output() -> BaseOutput:
    output = load_output(os.environ.get(ENV_GROVE_OUTPUT_HANDLER, DEFAULT_OUTPUT_HANDLER))
    output.setup()
    return output


def _encode(entries: list[Any] | RawPage, metadata: dict[str, Any], codec: Codec | None = None) -> _core.EncodedPage:
    try:
        return _core.encode(entries, metadata, codec)
    except DataFormatException:
        # A pointer path can lead into what is no object; an entry that contains itself fails again.
        return _core.encode(_objects(entries), metadata, codec)


def _objects(entries: list[Any] | RawPage) -> list[Any]:
    """`entries`, with what is not an object wrapped in one, so that it can carry metadata."""
    return [entry if isinstance(entry, dict) else {"value": entry} for entry in entries]


def _processor_name(processor: BaseProcessor) -> str:
    return str(getattr(processor.configuration, "name", type(processor).__name__))
