"""What Prometheus is told: one table of metrics, filled from a snapshot at each scrape."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from grove.__about__ import __version__
from grove.health.snapshot import Snapshot, Totals
from grove.health.standing import STATES, Standing

__all__ = ["PROCESS_METRICS", "STREAM_METRICS", "Metric", "MetricsMissing", "Renderer"]

Sample = tuple[tuple[str, ...], float]


class MetricsMissing(Exception):
    """The package that writes metrics is not installed."""

    def __init__(self) -> None:
        super().__init__("Metrics need the package prometheus-client: pip install 'grove[metrics]'.")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name, whether it is a gauge or a counter, what it says, and the labels beside `stream`."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...] = ()


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _last_run(standing: Standing) -> float | None:
    history = standing.facts.history
    return _seconds(standing.facts.last) if history is None else history.ended.timestamp()


def _duration(standing: Standing) -> float | None:
    history = standing.facts.history
    return None if history is None else (history.ended - history.began).total_seconds()


def _last_success(standing: Standing) -> float | None:
    history = standing.facts.history
    return None if history is None else _seconds(history.succeeded)


def _failures(standing: Standing) -> float:
    history = standing.facts.history
    return 0 if history is None else history.failures


PROCESS_METRICS: tuple[tuple[Metric, Callable[[Snapshot], Iterable[Sample]]], ...] = (
    (Metric("grove_info", "gauge", "The version that runs.", ("version",)), lambda snapshot: [((__version__,), 1)]),
    (
        Metric("grove_ready", "gauge", "1 once the configuration is loaded, and the cache and the output are open."),
        lambda snapshot: [((), not snapshot.waiting_for)],
    ),
    (
        Metric("grove_streams", "gauge", f"Streams by how they stand: {', '.join(STATES)}.", ("state",)),
        lambda snapshot: [((state,), count) for state, count in snapshot.states.items()],
    ),
    (
        Metric("grove_document_problems", "gauge", "Configuration documents that cannot be used."),
        lambda snapshot: [((), snapshot.document_problems)],
    ),
    (Metric("grove_workers", "gauge", "Streams that can be collected at a time."), lambda s: [((), s.workers)]),
    (Metric("grove_workers_busy", "gauge", "Streams that are being collected."), lambda s: [((), s.busy)]),
    (
        Metric("grove_workers_hanging", "gauge", "Threads that runs which were given up still keep."),
        lambda snapshot: [((), snapshot.hanging)],
    ),
)
"""What there is once for the process."""

STREAM_METRICS: tuple[tuple[Metric, Callable[[Standing, Totals], float | None]], ...] = (
    (Metric("grove_stream_failures", "gauge", "Failed runs since the last good one."), lambda s, _: _failures(s)),
    (
        Metric("grove_stream_stale", "gauge", "1 while it falls short of what its document expects."),
        lambda standing, _: bool(standing.shortfalls),
    ),
    (Metric("grove_stream_running", "gauge", "1 while it is collected."), lambda s, _: s.state == "running"),
    (
        Metric("grove_stream_newest_timestamp_seconds", "gauge", "The time of its pointer, where that is a time."),
        lambda standing, _: _seconds(standing.newest),
    ),
    (
        Metric("grove_stream_last_run_timestamp_seconds", "gauge", "When its last run ended."),
        lambda standing, _: _last_run(standing),
    ),
    (
        Metric("grove_stream_last_run_duration_seconds", "gauge", "How long its last run took."),
        lambda standing, _: _duration(standing),
    ),
    (
        Metric("grove_stream_last_success_timestamp_seconds", "gauge", "When its last good run ended."),
        lambda standing, _: _last_success(standing),
    ),
    (
        Metric("grove_stream_next_run_timestamp_seconds", "gauge", "When its next run is planned."),
        lambda standing, _: _seconds(standing.next_run),
    ),
    (
        Metric("grove_stream_entries_last_day", "gauge", "New entries within 24 hours, whoever collected them."),
        lambda standing, _: standing.entries_last_day,
    ),
    (
        Metric("grove_stream_pages", "counter", "Pages that this process has committed."),
        lambda _, totals: totals.counts.pages,
    ),
    (
        Metric("grove_stream_entries", "counter", "New entries that this process has delivered."),
        lambda _, totals: totals.counts.entries,
    ),
    (
        Metric("grove_stream_dropped", "counter", "Entries that it dropped because they were known."),
        lambda _, totals: totals.counts.dropped,
    ),
    (
        Metric("grove_stream_quarantined", "counter", "Entries that it set aside in `quarantine`."),
        lambda _, totals: totals.counts.quarantined,
    ),
)
"""What there is for each stream, under its name."""

RUNS = Metric("grove_stream_runs", "counter", "Runs in this process: succeeded, failed, stopped, locked.", ("outcome",))
INFO = Metric("grove_stream_info", "gauge", "What is behind a name.", ("connector", "identity", "operation"))
ALWAYS = ("succeeded", "failed")
"""Outcomes that are counted from the beginning, so that a first failure is an increase."""


class Renderer:
    """Writes snapshots in the format that a scraper asks for. MetricsMissing where the package is not installed."""

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
            from prometheus_client.exposition import choose_encoder
        except ImportError as err:
            raise MetricsMissing from err
        self._choose = choose_encoder
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(self)
        self._snapshot: Snapshot | None = None

    def render(self, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
        """The text for the header `accept`, and its type. Not for several threads at once."""
        encode, kind = self._choose(accept)
        self._snapshot = snapshot
        try:
            return encode(self._registry), kind
        finally:
            self._snapshot = None

    def collect(self) -> Iterator[Any]:
        """What the registry asks for."""
        snapshot = self._snapshot
        if snapshot is None:
            return
        for metric, samples in PROCESS_METRICS:
            yield _family(metric, metric.labels, samples(snapshot))
        names = _names(snapshot)
        streams = [(name, standing, totals) for name, (standing, totals) in zip(names, snapshot.streams, strict=True)]
        for metric, value in STREAM_METRICS:
            found = (((name,), value(standing, totals)) for name, standing, totals in streams)
            yield _family(metric, ("stream",), ((labels, number) for labels, number in found if number is not None))
        yield _family(
            RUNS,
            ("stream", *RUNS.labels),
            (
                ((name, outcome), totals.runs[outcome])
                for name, _, totals in streams
                for outcome in {*ALWAYS, *totals.runs.copy()}
            ),
        )
        yield _family(
            INFO,
            ("stream", *INFO.labels),
            (
                ((name, config.connector, config.identity, config.operation), 1)
                for name, config in ((name, standing.config) for name, standing, _ in streams)
            ),
        )


def _family(metric: Metric, labels: tuple[str, ...], samples: Iterable[Sample]) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.about, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _names(snapshot: Snapshot) -> list[str]:
    """What streams are called in labels: their names, and more where several have one."""
    configs = [standing.config for standing, _ in snapshot.streams]
    often = Tally(config.name for config in configs)
    return [
        config.name
        if often[config.name] == 1
        else f"{config.name} ({config.connector} {config.identity} {config.operation})"
        for config in configs
    ]
