"""The harness itself: protocols that are wrong on purpose, each of which has to be caught by it."""

from __future__ import annotations

import contextlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grove import collection, lease, state, window
from grove.collection import Collection
from grove.delivery import Delivery
from grove.exceptions import AccessException, ConcurrencyException
from grove.helpers import files
from grove.outputs import local_file
from grove.state import StreamState
from grove.window import Boundary, NewestFirst

from .points import History, clean_run, every_point, finish
from .world import Setting, Tally, World

HISTORIES = [
    # Its recoveries are disturbed as well.
    History(Setting(kind="integer"), arrives=(2,), after=()),
    History(Setting(page_size=2, kind="integer"), before=(1, 2), arrives=(4, 1), after=(1,)),
    History(Setting(page_size=2, newest_first=True), before=(1,), arrives=(2, 1), after=(1,)),
    # Ties at the ends of intervals.
    History(Setting(page_size=3, newest_first=True), before=(1,), opened=(4, 1), ties=4, arrives=(1,), after=(1,)),
    History(Setting(page_size=3, newest_first=True), before=(1,), opened=(1, 3, 1), ties=2, arrives=(2, 1, 1)),
    History(Setting(page_size=3, newest_first=True), before=(1,), opened=(1, 3, 3), ties=0, arrives=(2, 1, 1)),
]


class Caught(Exception):
    """The harness has seen something wrong; its message says what."""


class First(Tally):
    """Stops at the first thing that goes wrong."""

    def add(self, name: str, problems: list[str]) -> None:
        self.tried += 1
        if problems:
            raise Caught("; ".join(problems))


def scenarios(root: Path) -> int:
    """Everything that is tried on each protocol; how much that was. Caught where something is wrong."""
    tally = First()
    for number, history in enumerate(HISTORIES):
        folder = root / f"{number}"
        folder.mkdir()
        try:
            every_point(history, folder, tally, pairs=1.0 if number == 0 else 0.0)
        except AssertionError as err:
            raise Caught(str(err)) from err
    (root / "other").mkdir()
    other_holder(HISTORIES[1], root / "other", tally)
    return tally.tried


def other_holder(history: History, root: Path, tally: Tally, kind: type[World] = World) -> None:
    """At every point of a run the process is paused so long that another one takes the stream and collects it."""
    with kind(history.setting, root) as world:
        history.prepare(world)
        start = world.save()

        def meanwhile() -> None:
            mine, lease._owner = lease._owner, None
            handlers = world._output, world._cache
            world._output = world._cache = None
            world.clock.advance(400)
            try:
                world.connect().run()
            except ConcurrencyException:
                pass
            finally:
                lease._owner = mine
                world._output, world._cache = handlers

        for index, label in enumerate(clean_run(world, history, start)):
            world.restore(start)
            world.run({index: meanwhile})
            world.restart()
            tally.add(f"other holder at point {index} ({label})", finish(world, history))


def signs(what: str) -> set[str]:
    """What a protocol did to the events, in the words of its problems: empty where the mutant does not even run."""
    if "escape" in what:
        return set()
    seen = {word for word in ("lost", "twice") if re.search(rf"{word} {{[^}}]", what)}
    return seen | {word for word in ("left behind", "not whole", "not quiet") if word in what}


# --- wrong protocols ---

Set = Callable[[Any, str, Any], None]


def edited(function: Callable[..., Any], *edits: tuple[str, str]) -> Callable[..., Any]:
    """`function` with its text changed, so that a mutant says nothing but what is wrong with it."""
    text = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        assert text.count(old) == 1, f"{function.__qualname__} has changed; {old!r} has to be found in it once"
        text = text.replace(old, new)
    names: dict[str, Any] = {}
    exec("from __future__ import annotations\n" + text, function.__globals__, names)
    return names[function.__name__]  # type: ignore[no-any-return]


def edit(place: Any, name: str, *edits: tuple[str, str]) -> Callable[[Set], None]:
    return lambda put: put(place, name, edited(getattr(place, name), *edits))


def nothing(place: Any, name: str) -> Callable[[Set], None]:
    return lambda put: put(place, name, lambda *args, **kwargs: None)


def published_before_commit(put: Set) -> None:
    real = Delivery.pending

    def pending(self: Delivery) -> list[dict[str, Any]]:
        records = list(real(self))
        self.publish()
        return records

    put(Delivery, "pending", pending)


def staged_after_commit(put: Set) -> None:
    write, publish = Delivery.write, Delivery.publish

    def later(self: Delivery, *args: Any, **kwargs: Any) -> None:
        self.__dict__.setdefault("late", []).append((args, kwargs))

    def now(self: Delivery) -> None:
        for args, kwargs in self.__dict__.pop("late", []):
            write(self, *args, **kwargs)
        publish(self)

    put(Delivery, "write", later)
    put(Delivery, "publish", now)


def output_failure_ignored(put: Set) -> None:
    real = Delivery.write

    def write(self: Delivery, *args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(AccessException):
            real(self, *args, **kwargs)

    put(Delivery, "write", write)


def last_page_only(put: Set) -> None:
    page: set[str] = set()
    real = Collection._remember

    def remember(self: Collection, latest: Any) -> None:
        page.clear()
        page.update(latest.hashes or [collection._core.hash_entry(entry) for entry in latest.kept])
        real(self, latest)

    def boundary_at(pointer: str, seen: Any, old: Boundary) -> Boundary:
        return Boundary(pointer, seen.hashes(pointer) & page)

    put(Collection, "_remember", remember)
    put(window, "boundary_at", boundary_at)


MUTANTS: dict[str, tuple[Callable[[Set], None], str]] = {
    "published before the commit": (published_before_commit, "twice"),
    "staged after the commit": (staged_after_commit, "lost"),
    "publishes never made durable": (nothing(local_file.Handler, "settle"), "lost"),
    "no settling at the end": (edit(Collection, "end", ("self.delivery.settle()", "pass")), "lost"),
    "recovery not made durable": (edit(Delivery, "recover", ("handler.settle([staged], [])", "pass")), "lost"),
    "no directory fsync": (nothing(files, "_sync"), "lost"),
    "no directory fsync after a file": (nothing(files, "sync_directory"), "lost"),
    "no file fsync": (edit(files, "write_new", ("_fsync(fd)", "pass")), "lost|not whole"),
    "pending forgotten": (nothing(collection, "encode_pending"), "lost"),
    "recovery skipped": (nothing(Delivery, "recover"), "lost"),
    "neither epoch nor sequence": (
        lambda put: put(StreamState, "_conditions", lambda self: state.Batch()),
        "twice",
    ),
    "boundary forgotten": (lambda put: put(StreamState, "boundary", lambda self: Boundary()), "twice"),
    "hashes of the last page only": (last_page_only, "not quiet"),
    "touching intervals merged": (
        edit(window, "merge", ("theirs[2] <= low or theirs[1] >= high", "theirs[2] < low or theirs[1] > high")),
        "lost",
    ),
    "interval ends count as covered": (
        edit(
            window._Spans,
            "inside",
            ("bisect_left(self.lows, rank_) - 1", "bisect_left(self.lows, rank_ + 1) - 1"),
            ("rank_ < self.highs[index]", "rank_ <= self.highs[index]"),
        ),
        "lost",
    ),
    "pointer moves before newest-first is through": (
        edit(
            NewestFirst,
            "advance",
            ("return self._committed(change)", "change.pointer = self.newest; return self._committed(change)"),
        ),
        "lost",
    ),
    "sweep skipped": (nothing(Delivery, "sweep"), "left behind"),
    "sweep before recovery": (
        edit(
            Collection,
            "_recover",
            (
                "    pending = self.state.pending()",
                "    self._delivery.sweep(stream.descriptors, clock.now().date(), 1, clock.now())\n"
                "    pending = self.state.pending()",
            ),
        ),
        "lost",
    ),
    "sweep takes what is visible": (
        edit(
            local_file.Handler,
            "_sweep_day",
            ('name.startswith(".") and name.endswith(".tmp") and', ""),
            ('.rpartition(".")[2]', '.rpartition(".")[2] if name.endswith(".tmp") else attempts'),
        ),
        "lost",
    ),
    "pointer moves although the output failed": (output_failure_ignored, "lost"),
    "unknown commit taken for a refused one": (
        edit(Collection, "_deliver_and_commit", ("= state.unknown", "= False")),
        "lost",
    ),
    "applied commit taken for a refused one": (
        edit(StreamState, "_was_applied", ("return applied", "return False")),
        "lost",
    ),
}


@pytest.fixture
def put() -> Iterator[Set]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch.setattr


def test_the_protocol_as_it_is(shm: Path) -> None:
    assert scenarios(shm) > 300


@pytest.mark.parametrize("name", MUTANTS)
def test_caught(name: str, put: Set, shm: Path) -> None:
    mutate, sign = MUTANTS[name]
    mutate(put)
    with pytest.raises(Caught) as caught:
        scenarios(shm)
    assert signs(str(caught.value)) & set(sign.split("|")), caught.value
