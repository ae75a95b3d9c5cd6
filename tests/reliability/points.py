"""Histories with one crash in them: every side effect of a run, every way to die there, every way to lose power."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grove.exceptions import RequestFailedException

from .disk import Tree
from .world import Saved, Setting, Tally, World, ways


@dataclass(frozen=True)
class History:
    """What has happened before the run that is disturbed, what that run finds, and what arrives after it.

    Each number is a moment with that many entries. `before` has been collected; of `opened`, if there is any, only
    the first `opened_pages` pages were, because the source failed then.
    """

    setting: Setting
    before: tuple[int, ...] = ()
    opened: tuple[int, ...] = ()
    opened_pages: int = 1
    arrives: tuple[int, ...] = (1, 3, 1)
    ties: int = 1
    after: tuple[int, ...] = (2,)

    def prepare(self, world: World) -> None:
        if self.before:
            world.source.arrive(list(self.before))
            world.until_quiet()
        if self.opened:
            world.source.arrive(list(self.opened))
            world.source.before_page = _fails_at(self.opened_pages)
            assert world.run() == "failed"
            world.source.before_page = lambda number: None
            world.clock.advance(1)
        if world.source.entries and self.ties:
            world.source.tie(self.ties)
        world.source.arrive(list(self.arrives))

    def goes_on(self, world: World) -> None:
        """What the source has by the time the stream is collected again."""
        if self.after:
            world.source.tie(1)
            world.source.arrive(list(self.after))


def _fails_at(page: int):  # type: ignore[no-untyped-def]
    def before_page(number: int) -> None:
        if number == page:
            raise RequestFailedException("made up: the source is down")

    return before_page


def losses(world: World, seed: int, subsets: int) -> Iterator[tuple[str, Tree]]:
    """The disks that a loss of power may leave: all undone, each single thing, and some subsets."""
    unsure = world.disk.unsure()
    if not unsure:
        return
    yield "all lost", world.disk.image(unsure)
    yield "all lost, torn", world.disk.image(unsure, torn=True)
    if len(unsure) > 1:
        for number, item in enumerate(unsure):
            yield f"lost {number}", world.disk.image([item])
    draw = random.Random(seed)
    if len(unsure) > 2:
        for number in range(subsets):
            chosen = [item for item in unsure if draw.random() < 0.5]
            yield f"lost subset {number}", world.disk.image(chosen, torn=draw.random() < 0.5)


def finish(world: World, history: History) -> list[str]:
    """Let the source and the stream go on until there is nothing more to do; what is wrong then."""
    history.goes_on(world)
    world.until_quiet()
    return world.check()


def clean_run(world: World, history: History, start: Saved) -> list[str]:
    """The side effects of the run in question when nothing disturbs it."""
    world.restore(start)
    assert world.run() == "succeeded"
    points = world.probe.points
    problems = finish(world, history)
    assert not problems, problems
    return points


def every_point(
    history: History,
    root: Path,
    tally: Tally,
    *,
    seed: int = 0,
    subsets: int = 1,
    pairs: float = 0.0,
    kind: type[World] = World,
) -> None:
    """Try `history` with a disturbance at every point; `pairs` of the recoveries are disturbed as well."""
    draw = random.Random(seed)
    visited: set[int] = set()
    with kind(history.setting, root) as world:
        history.prepare(world)
        assert not world.problems, world.problems
        start = world.save()
        points = clean_run(world, history, start)
        for index, label in enumerate(points):
            for way in ways(label):
                world.restore(start)
                outcome = world.run({index: way})
                assert world.probe.points[: index + 1] == points[: index + 1]
                visited.add(index)
                name = f"{history} point {index} ({label}) {way}"
                if outcome == "crashed":
                    _after_death(world, history, name, tally, draw, subsets, pairs)
                else:
                    world.clock.advance(1)
                    tally.add(name, finish(world, history))
    assert len(visited) == len(points)


def _after_death(
    world: World, history: History, name: str, tally: Tally, draw: random.Random, subsets: int, pairs: float
) -> None:
    images = list(losses(world, draw.getrandbits(32), subsets))
    durable = world.save()
    world.restart()
    if draw.random() < pairs:
        _disturbed_recovery(world, history, name, tally, draw, subsets)
    else:
        tally.add(f"{name}, killed", finish(world, history))
    for what, image in images:
        world.restore(durable, image)
        world.restart()
        if draw.random() < pairs:
            _disturbed_recovery(world, history, f"{name}, {what}", tally, draw, subsets)
        else:
            tally.add(f"{name}, {what}", finish(world, history))


def _disturbed_recovery(
    world: World, history: History, name: str, tally: Tally, draw: random.Random, subsets: int
) -> None:
    index = int(draw.triangular(0, 40, 0))
    if draw.random() < 0.5:
        history.goes_on(world)
    outcome = world.run({index: "before"})
    name = f"{name}, then point {index} of the recovery"
    if outcome != "crashed":
        name = f"{name} (past its end)"
    images = list(losses(world, draw.getrandbits(32), subsets))
    durable = world.save()
    world.restart()
    tally.add(f"{name}, killed", finish(world, history))
    for what, image in draw.sample(images, min(2, len(images))):
        world.restore(durable, image)
        world.restart()
        tally.add(f"{name}, {what}", finish(world, history))
