"""Delivery of one stream's pages: stage before the commit, publish after it, finish what a dead run left behind.

An output that can only submit gets its bytes before the commit. One that can stage keeps them invisible until the
commit has named them, so that a crash at any point neither loses a page nor shows it twice.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from blake3 import blake3

from grove.exceptions import AccessException, ConfigurationException
from grove.manifest import Chain, Manifests, keeps_manifest
from grove.outputs import BaseOutput, ObjectName
from grove.outputs._adapter import submit_with
from grove.outputs._several import members, payloads

__all__ = ["Delivery", "Target"]

logger = logging.getLogger(__name__)


class Target:
    """Where a stream's objects go: the parts of their names that do not change from page to page."""

    def __init__(self, *, store: str, stream: str, connector: str, identity: str, operation: str, name: str) -> None:
        self.store = store
        self.stream = stream
        self.connector = connector
        self.identity = identity
        self.operation = operation
        self.name = name
        self.attempts = f"{store}-{blake3(stream.encode('utf-8', 'surrogatepass')).hexdigest(8)}-"

    def object_name(
        self, descriptor: str, part: int, sequence: int, epoch: int, moment: datetime, kind: str
    ) -> ObjectName:
        """The name of the object that commit `sequence` delivers to `descriptor`."""
        text = "\0".join((self.store, self.stream, str(sequence), descriptor))
        return ObjectName(
            descriptor=descriptor,
            connector=self.connector,
            identity=self.identity,
            operation=self.operation,
            part=part,
            moment=moment,
            tag=blake3(text.encode("utf-8", "surrogatepass")).hexdigest(8),
            kind=kind,
            attempt=f"{self.attempts}{sequence}-{epoch}",
        )


class Delivery:
    """What one run has handed to its output, and what is still to be made visible.

    `commit_first` says that a staged object may wait for its commit: its payload can be reached from wherever the
    lease can move. Otherwise the object is published before the commit, and a crash in between repeats one page.
    `chains` are the stream's manifests (see `grove.manifest`), `new` says that it has never committed anything.
    ConfigurationException where an output is to keep a manifest, and cannot wait for the commit.
    """

    def __init__(
        self,
        output: BaseOutput,
        target: Target,
        *,
        commit_first: bool,
        chains: dict[str, Chain] | None = None,
        new: bool = False,
    ) -> None:
        self._output = output
        self._target = target
        self._stagers = {type(one).__module__: one for one in members(output) if _stages(one)}
        self._commit_first = commit_first
        self._staged: list[dict[str, Any]] = []
        self._published: list[dict[str, Any]] = []
        handler_of = functools.partial(_handler, self._stagers, target.stream)
        self._manifests = Manifests(handler_of, chains or {}, target.connector, target.identity, target.operation, new)
        for one in self._stagers.values():
            if keeps_manifest(one) and not commit_first:
                raise ConfigurationException(
                    f"{type(one).__module__} cannot keep a manifest on this host's own disk while the cache is shared "
                    "with other hosts: an object could then be delivered without a line in it. Use the cache "
                    "local_lmdb, write to S3, or turn the manifest off."
                )

    # --- one page ---

    def write(
        self, descriptor: str, data: bytes, *, part: int, sequence: int, epoch: int, moment: datetime, entries: int
    ) -> None:
        """Stage `data`, or submit it where an output cannot stage. Errors are those of the output."""
        target = self._target
        for output, payload in payloads(self._output, data):
            if _stages(output):
                name = target.object_name(descriptor, part, sequence, epoch, moment, output.KIND)
                staged = dict(output.stage(name, payload))
                staged["output"] = type(output).__module__
                self._staged.append(staged)
                self._manifests.note(staged["output"], str(name.path()), entries, staged)
            else:
                submit_with(
                    output,
                    data=payload,
                    part=part,
                    operation=target.operation,
                    connector=target.connector,
                    identity=target.identity,
                    descriptor=descriptor,
                    name=target.name,
                )

    def pending(self) -> list[dict[str, Any]]:
        """Get ready for the commit: the records it has to carry, once everything published before is durable."""
        if self._staged and not self._commit_first:
            self._publish()
            self.settle()
            return []
        self._settle(self._staged)
        return self._staged

    def manifest(self, sequence: int, first: str | None, last: str | None) -> str | None:
        """What commit `sequence`, of a page with these pointers, has to carry of the stream's manifests.

        Errors are those of the output.
        """
        return self._manifests.prepare(sequence, first, last)

    def publish(self) -> None:
        """The commit is durable: write its lines in the manifest, then make its objects visible."""
        self._manifests.write()
        self._publish()

    def settle(self) -> None:
        """Make every publish of this run durable, so that the commit need not remember it any longer."""
        self._settle([])
        self._manifests.settle()

    def settled(self) -> str | None:
        """What the state has to keep of the stream's manifests, once they are settled."""
        return self._manifests.encode()

    def abandon(self) -> None:
        """The page was certainly not committed: remove what was staged for it. Never raises."""
        for staged in self._staged:
            try:
                self._handler_of(staged).discard(staged)
            except Exception as err:
                logger.warning(
                    "A temporary file could not be removed; the next run will.",
                    extra={"path": staged.get("temp"), "error": repr(err)},
                )
        self._staged = []
        self._manifests.forget()

    @property
    def unfinished(self) -> bool:
        """Whether objects of this run are committed, or may be, and not yet visible."""
        return bool(self._staged)

    # --- what a dead run left behind ---

    def recover(self, pending: Iterable[dict[str, Any]]) -> None:
        """Publish what an earlier run has committed, after its lines in the manifest. Repeating it is harmless.

        AccessException where an object was staged by an output that is no longer configured.
        """
        self._manifests.recover()
        done = []
        for staged in pending:
            handler = self._handler_of(staged)
            handler.publish(staged)
            done.append((handler, staged))
        for handler, staged in done:
            handler.settle([staged], [])

    def sweep(self, descriptors: Iterable[str], since: date, sequence: int, moment: datetime) -> bool:
        """Remove what this stream's earlier attempts at commit `sequence` have staged, and say whether all is gone.

        Only for the holder of its lease. A file whose removal was lost with the power may lie in the day before.
        """
        done = True
        for output in self._stagers.values():
            for descriptor in descriptors:
                name = self._target.object_name(descriptor, 0, sequence, 0, moment, output.KIND)
                swept = output.sweep(name, self._target.attempts, since - timedelta(days=1), set())
                done = swept is not False and done
        return done

    def _handler_of(self, staged: dict[str, Any]) -> BaseOutput:
        return _handler(self._stagers, self._target.stream, staged.get("output"))

    def _publish(self) -> None:
        while self._staged:
            self._handler_of(self._staged[0]).publish(self._staged[0])
            self._published.append(self._staged.pop(0))

    def _settle(self, staged: list[dict[str, Any]]) -> None:
        for module, output in self._stagers.items():
            published = [record for record in self._published if record["output"] == module]
            if published:
                output.settle(published, [record for record in staged if record["output"] == module])
        self._published = []


def _handler(stagers: dict[str, BaseOutput], stream: str, made_by: str | None) -> BaseOutput:
    """The output of that module, which has staged something of `stream`."""
    if made_by in stagers:
        return stagers[made_by]
    if made_by == "grove.outputs.local_file":
        # Paths in the record are absolute, so the job can be finished whatever is configured today.
        from grove.outputs.local_file import Handler

        return Handler.__new__(Handler)
    raise AccessException(
        f"Stream {stream} has objects that were committed through the output {made_by!r}, which is not configured "
        "now. Run once with that output (GROVE_OUTPUT_HANDLER), then change it."
    )


def _stages(output: BaseOutput) -> bool:
    return getattr(output, "SCOPE", None) is not None
