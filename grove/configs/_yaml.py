"""YAML as JSON has it: the core schema of YAML 1.2, so that `no` is a text, `0123` too, and a date is no date.

What comes out is made of dicts with texts for names, lists, texts, numbers, booleans and None.
https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

__all__ = [
    "DEEPEST",
    "MappingNode",
    "Node",
    "NotYamlError",
    "ScalarNode",
    "SequenceNode",
    "compose",
    "construct",
    "follow",
    "members",
    "repeated",
]

DEEPEST = 100
"""How deep a document may be nested. PyYAML recurses, and takes the process down with it."""

# What a document has to have more of than this to be deeper: marks that open a level, or characters.
_SUSPICIOUS_MARKS = DEEPEST
_SUSPICIOUS_LENGTH = 100_000

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
# An integer of more digits takes time that grows with their square, and Python refuses it.
_LONGEST_NUMBER = 300
_MOST_VALUES = 100_000


class NotYamlError(Exception):
    """A text that cannot be read as YAML; `line` and `column` begin at 1, and are 0 where the place is not known."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class _SlowComposer(Reader, Scanner, Parser, Composer, BaseResolver):
    """For a PyYAML that was built without libyaml."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)


_Composer: Any = _SlowComposer
if yaml.__with_libyaml__:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class _FastComposer(CParser, BaseResolver):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            BaseResolver.__init__(self)

    _Composer = _FastComposer


def compose(text: str) -> list[Node]:
    """The documents in `text` as nodes that know where they stand; NotYamlError, which quotes nothing of it."""
    try:
        _refuse_depth(text)
        composer = _Composer(text)
        found = []
        while composer.check_node():
            found.append(composer.get_node())
        return found
    except yaml.reader.ReaderError as err:
        line = text.count("\n", 0, err.position) + 1
        column = err.position - (text.rfind("\n", 0, err.position) + 1) + 1
        raise NotYamlError("a character is not allowed here", line, column) from None
    except yaml.MarkedYAMLError as err:
        # Not chained: the error carries the text.
        raise _refused(err) from None


def construct(node: Node) -> Any:
    """What `node` says. Of fields that are there twice, the last one counts. NotYamlError."""
    return _Construction().value(node, 0)


def members(roots: Iterable[Node]) -> Iterator[Node]:
    """The documents among `roots`: each of those, or what it has where it is a list."""
    for root in roots:
        if isinstance(root, SequenceNode):
            yield from root.value
        else:
            yield root


def follow(root: Node, path: Iterable[str | int], *, at_name: bool) -> tuple[Node, bool]:
    """The node at `path`, or the name of that field; else the last one on the way, and False.

    Steps that lead nowhere are left out: pydantic adds some that are no part of the document.
    """
    node, name, found = root, root, True
    for step in path:
        following = _step(node, step)
        if following is None:
            found = False
        else:
            (name, node), found = following, True
    return (name if at_name and found else node), found


def _step(node: Node, step: str | int) -> tuple[Node, Node] | None:
    if isinstance(node, MappingNode):
        pairs = [(name, value) for name, value in node.value if name.value == step]
        return pairs[-1] if pairs else None
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def repeated(root: Node) -> Iterator[tuple[str | int, ...]]:
    """The fields that are there more than once."""
    if isinstance(root, MappingNode):
        names = [name.value for name, _ in root.value]
        if len(set(map(str, names))) < len(names):
            yield from ((name,) for name in dict.fromkeys(names) if names.count(name) > 1)
        parts: Iterable[tuple[str | int, Node]] = [(name.value, value) for name, value in root.value]
    elif isinstance(root, SequenceNode):
        parts = enumerate(root.value)
    else:
        return
    for step, part in parts:
        for path in repeated(part):
            yield (step, *path)


class _Construction:
    """One document in the making; aliases may repeat a part of it, but neither without end nor a million times."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def value(self, node: Node, depth: int) -> Any:
        self._left -= 1
        if depth > DEEPEST or self._left < 0:
            raise _misplaced(node, "the aliases in it repeat too much")
        if isinstance(node, MappingNode):
            _expect(node, "map")
            return {_name(key): self.value(value, depth + 1) for key, value in node.value}
        if isinstance(node, SequenceNode):
            _expect(node, "seq")
            return [self.value(item, depth + 1) for item in node.value]
        _expect(node, "str")
        assert isinstance(node, ScalarNode)
        # Quoted, or in a block, it is a text whatever it looks like.
        return node.value if node.style else _plain(node.value)


def _plain(text: str) -> Any:
    if len(text) > _LONGEST_NUMBER:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _name(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise _misplaced(node, "the name of a field has to be a text")
    return str(node.value)


def _expect(node: Node, kind: str) -> None:
    if node.tag != f"tag:yaml.org,2002:{kind}":
        raise _misplaced(node, "this tag has no meaning here")


def _misplaced(node: Node, message: str) -> NotYamlError:
    return NotYamlError(message, node.start_mark.line + 1, node.start_mark.column + 1)


_FRIENDLY = (
    ("mapping values are not allowed", "a value with a colon in it needs quotes, or the indentation is wrong"),
    ("found unexpected end of stream", "a quote is not closed"),
    ("found undefined alias", "there is no anchor of this name; a value that begins with * needs quotes"),
    ("found character that cannot start", "a value cannot begin with this character; a tab, @ and ` need quotes"),
    ("found character '\\t'", "indentation is made of spaces, not of tabs"),
    ("could not find expected ':'", "there is no colon after the name of a field"),
    ("did not find expected key", "the indentation is wrong, or a quote is"),
)


def _refused(err: yaml.MarkedYAMLError) -> NotYamlError:
    mark = err.problem_mark or err.context_mark
    problem = err.problem or "it cannot be read"
    if "end of stream" in problem and err.context_mark is not None:
        # Where the quote is opened tells more than where the text ends.
        mark = err.context_mark
    for words, friendly in _FRIENDLY:
        if words in problem:
            problem = friendly
            break
    else:
        # The names of anchors and tags are not worth repeating.
        problem = problem.partition(" '")[0]
    return NotYamlError(problem, mark.line + 1, mark.column + 1) if mark is not None else NotYamlError(problem)


def _refuse_depth(text: str) -> None:
    marks = sum(text.count(mark) for mark in ("[", "{", "- ", "-\t", "? ", "?\t"))
    if marks <= _SUSPICIOUS_MARKS and len(text) <= _SUSPICIOUS_LENGTH:
        return
    depth = 0
    for event in _events(text):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            mark = event.start_mark
            raise NotYamlError(f"it is nested more than {DEEPEST} levels deep", mark.line + 1, mark.column + 1)


def _events(text: str) -> Iterator[Any]:
    composer = _Composer(text)
    while composer.check_event():
        yield composer.get_event()
