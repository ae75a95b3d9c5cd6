"""Where configuration documents come from, and how they are read."""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable
from dataclasses import dataclass

from blake3 import blake3

from grove.configs import _checks, _documents
from grove.configs._checks import declarations, is_built_in
from grove.configs._documents import Document, UnreadableError, parse_value
from grove.configs._problems import Path, Problem, dotted
from grove.models import ConnectorConfig

__all__ = ["BaseConfig", "Path", "Problem", "declarations", "is_built_in", "parse_value", "problem_of"]


@dataclass(slots=True)
class _Place:
    """What was last found in one file or parameter: a mark of its content, what is used of it, and what is wrong.

    `used` are the last usable versions of its documents by name, each with its number among them; `count` is how many
    documents there are, as far as they can be told apart.
    """

    mark: bytes | str
    round: int
    used: dict[str, tuple[int, ConnectorConfig]]
    problems: list[Problem]
    count: int


class BaseConfig(abc.ABC):
    """A source of configuration documents, which may be asked again and again.

    A document that cannot be used must not keep the others from being collected: `get()` says why in `problems`, and
    gives the last usable version of it that this handler has seen, if there is one. What is wrong with a document that
    is used all the same is in `warnings`. What has not changed is not parsed again, and is the same object as before.
    """

    def __init__(self) -> None:
        self.logger = logging.getLogger(type(self).__module__)
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._places: dict[str, _Place] = {}
        self._round = 0

    @property
    def count(self) -> int:
        """How many documents `get()` has come across, those included that are unusable."""
        return sum(place.count for place in self._places.values() if place.round == self._round)

    @abc.abstractmethod
    def get(self, id: str | None = None) -> list[ConnectorConfig]:
        """Every usable document, disabled ones included; with `id`, only those of that name.

        ConfigurationException where the source as a whole is misconfigured, AccessException where it
        cannot be reached.
        """

    def begin(self) -> None:
        """Called by `get()` once its source has answered: forgets the last time's problems, and what was gone by then.

        Where the source does not answer nothing is to be forgotten: what breaks meanwhile has its last usable version.
        """
        self.problems, self.warnings = [], []
        self._places = {source: found for source, found in self._places.items() if found.round == self._round}
        self._round += 1

    def read(self, data: bytes, source: str) -> list[ConnectorConfig]:
        """The documents in `data` (JSON or YAML, by the name of `source`); of unusable ones, the last usable version.

        ConfigurationException where GROVE_CONFIG_INTERPOLATE is wrong.
        """
        mark = blake3(data).digest()
        known = self._places.get(source)
        if known is not None and known.mark == mark:
            known.round = self._round
            return self._found(known)
        used = known.used if known is not None else {}
        try:
            found = _documents.read(data, source)
        except UnreadableError as err:
            return self._note(source, mark, used, [err.problem], 1)
        keys = _keys(found)
        now: dict[str, tuple[int, ConnectorConfig]] = {}
        problems: list[Problem] = []
        for key, document in zip(keys, found, strict=True):
            config, wrong = _checks.built(document)
            document.forget()
            problems += wrong
            before = used.get(key) or (_at(used, document.index, keys) if config is None else None)
            config = config if before is None else _newer(before[1], config)
            if config is not None:
                now[key] = (document.index, config)
        return self._note(source, mark, now, problems, len(found))

    def report(self, problem: Problem | str, source: str, mark: bytes | str = "") -> list[ConnectorConfig]:
        """Note that `source` is unusable as a whole: the last usable versions of its documents.

        Logged once for each problem; `mark` stands for the content that has it.
        """
        if isinstance(problem, str):
            problem = Problem(source, "unreadable", problem)
        known = self._places.get(source)
        return self._note(source, mark or str(problem), known.used if known is not None else {}, [problem], 1)

    def kept(self, gone: Callable[[str], bool]) -> list[ConnectorConfig]:
        """The last usable versions of documents that `get()` has not come across this time, where `gone` says so.

        For a place that could not be looked into: what lies there has not been removed.
        """
        found = []
        for source, place in self._places.items():
            if place.round != self._round and gone(source):
                place.round = self._round
                found += [config for _, config in place.used.values()]
        return found

    def _note(
        self,
        source: str,
        mark: bytes | str,
        used: dict[str, tuple[int, ConnectorConfig]],
        problems: list[Problem],
        count: int,
    ) -> list[ConnectorConfig]:
        known = self._places.get(source)
        logged = known.problems if known is not None else []
        self._places[source] = place = _Place(mark, self._round, used, problems, count)
        for problem in problems:
            if problem not in logged:
                self._log(problem, is_kept=bool(used))
        return self._found(place)

    def _found(self, place: _Place) -> list[ConnectorConfig]:
        self.problems += [problem for problem in place.problems if not problem.is_tolerated]
        self.warnings += [problem for problem in place.problems if problem.is_tolerated]
        return [config for _, config in place.used.values()]

    def _log(self, problem: Problem, *, is_kept: bool) -> None:
        about = {"document": problem.source, "code": problem.code, "exception": str(problem)}
        if problem.is_tolerated:
            self.logger.warning("A configuration document has a mistake, and is used all the same.", extra=about)
        elif is_kept:
            self.logger.error("A configuration document is unusable; its last usable version is kept.", extra=about)
        else:
            self.logger.error("A configuration document was skipped.", extra=about)


def _keys(found: list[Document]) -> list[str]:
    """What each document is known by: its name, where it has one of its own."""
    names = [document.name for document in found]
    return [name if name and names.count(name) == 1 else f"{name}#{number}" for number, name in enumerate(names)]


def _at(
    used: dict[str, tuple[int, ConnectorConfig]], index: int, keys: list[str]
) -> tuple[int, ConnectorConfig] | None:
    """The version that was at `index`, unless another document has its name now."""
    return next((found for key, found in used.items() if found[0] == index and key not in keys), None)


def _newer(before: ConnectorConfig, config: ConnectorConfig | None) -> ConnectorConfig:
    """`config`, if it is usable and says something new; otherwise the object of before."""
    if config is None:
        return before
    if config.model_dump() != before.model_dump():
        return config
    # It may stand on another line now.
    before._origin = config._origin
    return before


def problem_of(config: ConnectorConfig, code: str, message: str, help: str = "", path: Path = ()) -> Problem:
    """A problem with the field at `path` of a document; where that stands is known if a handler has read it."""
    origin = config._origin
    if isinstance(origin, Document):
        return origin.problem(code, message, help, path)
    return Problem(config.name, code, message, help, path=dotted(path), document=config.name)
