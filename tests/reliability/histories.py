"""Any history of one stream, drawn from a seed, and a small model that says what must have been delivered.

A history is a list of plain steps, so that a failing one can be repeated, and shortened by leaving steps out.
The model keeps two numbers per entry: how often it has to be there once a run has succeeded, and how often it may.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grove import lease
from grove.exceptions import ConcurrencyException, RequestFailedException

from .truth import pointer_of
from .world import Setting, World

Step = tuple[Any, ...]

JUMPS = (-86400, -3600, -1, 1, 3600, 86400)


def draw_setting(draw: random.Random) -> Setting:
    """A kind of stream."""
    return Setting(
        newest_first=draw.random() < 0.5,
        kind=draw.choice(("iso", "integer")),
        outputs=1 if draw.random() < 0.7 else 2,
        page_size=draw.randint(2, 5),
        live=draw.random() < 0.5,
        lookback=draw.choice((0, 0, 3, 20)),
        links=draw.random() < 0.1,
        start=draw.choice(("2025-03-30T00:59:50", "2025-03-29T23:59:55", "2024-12-31T23:59:58")),
    )


def _ties(draw: random.Random) -> list[int]:
    return [draw.choice((1, 1, 1, 2, 3, 8)) for _ in range(draw.randint(1, 4))]


def _point(draw: random.Random) -> int:
    return int(draw.triangular(0, 45, 4))


STEPS: dict[str, tuple[int, Callable[[random.Random], Step]]] = {
    "new": (6, lambda draw: (_ties(draw),)),
    "tie": (3, lambda draw: (draw.randint(1, 3),)),
    "late": (2, lambda draw: (draw.randint(1, 12), draw.randint(1, 2))),
    "run": (6, lambda draw: ()),
    "run_with_arrivals": (2, lambda draw: (draw.randint(0, 2), _ties(draw), draw.randint(0, 1))),
    "source_fails": (3, lambda draw: (draw.randint(0, 3),)),
    "disturbed": (
        8,
        lambda draw: (
            _point(draw),
            draw.randrange(6),
            draw.choice((0, 1, 400, 400, 400)),
            draw.choice((None, None, "all", draw.getrandbits(30))),
        ),
    ),
    "other_holder": (2, lambda draw: (_point(draw), draw.choice((0, 400, 400)))),
    "clock": (1, lambda draw: (draw.choice(JUMPS),)),
    "empty_page": (1, lambda draw: ()),
    "cursor": (1, lambda draw: (f"cursor {draw.randrange(99)}",)),
    "set_pointer": (1, lambda draw: (draw.randint(0, 6),)),
    "new_process": (1, lambda draw: (draw.choice((0, 400)),)),
    "wipe_cache": (0.3, lambda draw: (draw.random() < 0.5,)),
    "reader": (1, lambda draw: ()),
}


def draw_steps(draw: random.Random, count: int) -> list[Step]:
    """That many steps."""
    names = list(STEPS)
    weights = [STEPS[name][0] for name in names]
    return [(name, *STEPS[name][1](draw)) for name in draw.choices(names, weights, k=count)]


@dataclass
class Model:
    """What must and what may have been delivered, by entry."""

    must: dict[int, int] = field(default_factory=dict)
    may: dict[int, int] = field(default_factory=dict)

    def offered(self, entries: list[tuple[int, int]], must: bool = True) -> None:
        for _, number in entries:
            if number not in self.may:
                self.must[number], self.may[number] = int(must), 1


class Play:
    """Plays a history in a world, and looks after every step whether what was delivered is what the model allows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = Model()
        self.shipped: dict[str, Counter[Any]] = {"logs": Counter(), "processed": Counter()}
        self.leftovers = False
        # Entries that came below the newest: owed as long as they lie within the lookback.
        self.late: set[int] = set()
        self.cursors: set[str | None] = {None}

    def play(self, steps: list[Step]) -> list[str]:
        """All steps, and what is wrong after the first that went wrong, or at the end."""
        for number, (name, *arguments) in enumerate(steps):
            getattr(self, f"do_{name}")(*arguments)
            self._offered()
            self._at_most()
            if self.world.problems:
                return [f"after step {number}, {name}: {problem}" for problem in self.world.problems]
            self.world.clock.advance(1)
        return [f"at the end: {problem}" for problem in self._end()]

    # --- steps ---

    def do_new(self, groups: list[int]) -> None:
        self.world.source.arrive(groups)

    def do_tie(self, count: int) -> None:
        if self.world.source.entries:
            self.world.source.tie(count)

    def do_late(self, lateness: int, count: int) -> None:
        source = self.world.source
        if source.newest > lateness:
            self._offered()
            if self.world.setting.lookback:
                self.late.update(range(len(source.entries), len(source.entries) + count))
            source.add(*[source.newest - lateness] * count)
            self.model.offered(source.entries, must=False)

    def do_run(self) -> None:
        self._run()

    def do_run_with_arrivals(self, page: int, groups: list[int], ties: int) -> None:
        def before_page(number: int) -> None:
            if number == page:
                if self.world.source.entries:
                    self.world.source.tie(ties)
                self.world.source.arrive(groups)
                self._offered()

        self.world.source.before_page = before_page
        self._run()

    def do_source_fails(self, page: int) -> None:
        def before_page(number: int) -> None:
            if number == page:
                raise RequestFailedException("made up: the source is down")

        self.world.source.before_page = before_page
        self._run()

    def do_disturbed(self, point: int, way: int, pause: float, power: str | int | None) -> None:
        world = self.world
        if self._run({point: way}) != "crashed":
            return
        if power is not None:
            unsure = world.disk.unsure()
            chooser = random.Random(power)
            lost = unsure if power == "all" else [item for item in unsure if chooser.random() < 0.5]
            world.disk.restore(world.disk.image(lost, torn=chooser.random() < 0.5))
        world.restart(pause)

    def do_other_holder(self, point: int, pause: float) -> None:
        """At a point of a run the process is paused; another process comes along and runs."""
        world = self.world

        def meanwhile() -> None:
            mine, lease._owner = lease._owner, None
            output, cache = world._output, world._cache
            world._output = world._cache = None
            world.clock.advance(pause)
            try:
                world.connect().run()
            except ConcurrencyException:
                pass
            finally:
                lease._owner = mine
                world._output, world._cache = output, cache

        self._run({point: meanwhile})

    def do_clock(self, seconds: float) -> None:
        self.world.clock.jump(seconds)

    def do_empty_page(self) -> None:
        self.world.script = lambda connector, number: connector.save([])
        self._run()

    def do_cursor(self, text: str) -> None:
        def script(connector: Any, number: int) -> None:
            if number == 0:
                self.cursors.add(text)
                connector.save([], cursor=text)
                self.cursors = {text}
                assert connector.cursor == text

        self.world.script = script
        self._run()
        stored = self.world.connect().cursor
        if stored not in self.cursors:
            self.world.problems.append(f"the cursor is {stored!r}, and should be one of {self.cursors}")

    def do_set_pointer(self, back: int) -> None:
        source = self.world.source
        if not source.entries:
            return
        rank = max(1, source.newest - back)

        def script(connector: Any, number: int) -> None:
            if number == 0:
                self._offered()
                found = self._count("logs")
                for other, entry in source.entries:
                    # What lies below the pointer minus the lookback is forgotten with the pointer's move.
                    if other >= rank or self.world.setting.lookback:
                        self.model.may[entry] += 1
                    if other < rank and not found[entry]:
                        self.model.must[entry] = 0
                        self.late.discard(entry)
                connector.pointer = pointer_of(rank, source.kind)

        self.world.script = script
        self._run()

    def do_new_process(self, pause: float) -> None:
        self.world.restart(pause)

    def do_wipe_cache(self, restarted: bool) -> None:
        """The operator removes the state: everything may come again."""
        self.world.data.clear()
        if restarted:
            self.world.restart(1)
        self.leftovers = True
        self.cursors = {None}
        for number in self.model.may:
            self.model.may[number] += 1

    def do_reader(self) -> None:
        """Whoever reads the files has taken those that are there."""
        if self.world.setting.links:
            # Without an atomic rename, a file that was linked, taken away and is linked again cannot be told.
            return
        world = self.world
        for descriptor, shipped in self.shipped.items():
            shipped.update(world.delivered(descriptor))
        visible = world.visible()
        world.disk.restore(world.disk.image())
        for path in visible:
            world.disk.taken(path)

    # --- judging ---

    def _run(self, plan: dict[int, Any] | None = None) -> str:
        world = self.world
        self._offered()
        start = list(world.source.entries)
        outcome = world.run(plan)
        disturbed = world.probe.disturbed
        world.source.before_page = lambda number: None
        world.script = None
        self._offered()
        if outcome == "succeeded" and not disturbed:
            self._at_least(start)
        return outcome

    def _offered(self) -> None:
        self.model.offered(self.world.source.entries)

    def _count(self, descriptor: str) -> Counter[Any]:
        return self.world.delivered(descriptor) + self.shipped[descriptor]

    def _descriptors(self) -> list[tuple[str, Callable[[int], list[Any]]]]:
        found: list[tuple[str, Callable[[int], list[Any]]]] = [("logs", lambda number: [number])]
        if self.world.setting.outputs == 2:
            found.append(("processed", lambda number: [(number, 0), (number, 1)]))
        return found

    def _at_most(self) -> None:
        for descriptor, keys in self._descriptors():
            found = self._count(descriptor)
            may = {key: allowed for number, allowed in self.model.may.items() for key in keys(number)}
            twice = {key: found[key] for key, allowed in may.items() if found[key] > allowed}
            if twice:
                self.world.problems.append(f"{descriptor}: twice {twice}")

    def _at_least(self, entries: list[tuple[int, int]]) -> None:
        newest = max((rank for rank, _ in entries), default=0)
        lookback = self.world.setting.lookback
        for descriptor, keys in self._descriptors():
            found = self._count(descriptor)
            lost = [
                number
                for rank, number in entries
                if self.model.must[number] or (number in self.late and rank > newest - lookback)
                for key in keys(number)
                if not found[key]
            ]
            if lost:
                self.world.problems.append(f"{descriptor}: lost {lost}")

    def _end(self) -> list[str]:
        world = self.world
        world.until_quiet()
        self._at_least(world.source.entries)
        self._at_most()
        hidden = world.hidden()
        if hidden and not self.leftovers:
            world.problems.append(f"left behind: {hidden}")
        return world.problems


def play(seed: int, count: int, root: Path, steps: list[Step] | None = None) -> tuple[Setting, list[Step], list[str]]:
    """The history of that seed (or those steps of it), in a new folder: what it was, and what went wrong."""
    draw = random.Random(seed)
    setting = draw_setting(draw)
    drawn = draw_steps(draw, count)
    root.mkdir()
    with World(setting, root) as world:
        chosen = drawn if steps is None else steps
        return setting, chosen, Play(world).play(chosen)


def shorten(seed: int, count: int, root: Path, steps: list[Step]) -> tuple[list[Step], list[str]]:
    """Leave out whatever the failure does not need."""
    number, size = 0, max(1, len(steps) // 2)
    problems: list[str] = []
    while True:
        start, smaller = 0, False
        while start < len(steps):
            fewer = steps[:start] + steps[start + size :]
            number += 1
            found = play(seed, count, root / f"shorter-{number}", fewer)[2]
            if found:
                steps, problems, smaller = fewer, found, True
            else:
                start += size
        if size == 1 and not smaller:
            return steps, problems
        size = max(1, size // 2)
