"""Lines of a document as they may be shown: with the names of fields, and without what may be a credential."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from grove.configs._problems import HIDDEN, Path, is_plain_name
from grove.configs._yaml import MappingNode, Node, SequenceNode
from grove.models import is_credential

__all__ = ["parsed", "unparsed"]

_LONGEST = 160

# A quoted text, whole or cut off at the end of the line; marks; what stands between those.
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?)|(?P<mark>[\s:,{}\[\]]+)|(?P<word>[^\s:,{}\[\]]+)"""
)
_COLON = re.compile(r"\s*:")


def parsed(
    line: str,
    number: int,
    span: tuple[int, int],
    root: Node,
    may_show: Callable[[Path], bool],
) -> tuple[str, int, int]:
    """Line `number` (from 0) of a document, without comments and values that `may_show` does not allow.

    Also where in it `span` (two columns from 0) begins, and how long that is there.
    """
    comment = line.find("#", _after_scalars(root, number))
    if comment >= 0:
        line = line[:comment].rstrip()
    made, position = "", 0
    start, end = span
    caret, until = start, end
    for first, last in sorted(_hidden(root, number, len(line), may_show)):
        if first < position:
            continue
        made += line[position:first] + HIDDEN
        # How far everything behind this has moved.
        moved = len(made) - last
        if first < end <= last:
            until = len(made)
        elif last < end:
            until = end + moved
        if first <= start < last:
            caret = len(made) - len(HIDDEN)
        elif last <= start:
            caret = start + moved
        position = last
    quote, shown_caret = _shortened(made + line[position:], caret)
    return quote, shown_caret, max(1, min(until - caret, len(quote) - shown_caret))


def unparsed(line: str, column: int, known: Collection[str]) -> tuple[str, int]:
    """A line of what is no document, and where in it `column` is.

    Nothing but marks, and the names that are `known` where a colon follows, can be told from a credential.
    """
    made, caret = "", 0
    for match in _TOKEN.finditer(line):
        is_name = match.group().strip("\"'") in known and _COLON.match(line, match.end())
        is_shown = match["mark"] is not None or is_name
        if not is_shown and made.rstrip().endswith(HIDDEN):
            made = made.rstrip()[: -len(HIDDEN)]
        if match.start() <= column:
            caret = len(made) + (column - match.start() if is_shown else 0)
        made += match.group() if is_shown else HIDDEN
    return _shortened(made, caret)


def _shortened(line: str, column: int) -> tuple[str, int]:
    """A long line as the part of it around `column`."""
    if len(line) <= _LONGEST:
        return line, min(column, len(line))
    start = max(0, min(column - _LONGEST // 2, len(line) - _LONGEST))
    return line[start : start + _LONGEST], column - start


def _hidden(root: Node, number: int, length: int, may_show: Callable[[Path], bool]) -> Iterator[tuple[int, int]]:
    """The columns of the line between which there is a name or a value that is not to be seen."""
    for path, node, is_value in _scalars(root, ()):
        start, end = node.start_mark, node.end_mark
        if not start.line <= number <= end.line:
            continue
        if is_value and may_show(path) and not any(isinstance(part, str) and is_credential(part) for part in path):
            continue
        if not is_value and is_plain_name(node.value):
            continue
        first = start.column if start.line == number else 0
        last = min(end.column, length) if end.line == number else length
        if first < last:
            yield first, last


def _scalars(node: Node, path: Path) -> Iterator[tuple[Path, Node, bool]]:
    """Every scalar, with where it is, and whether it is a value or the name of one."""
    if isinstance(node, MappingNode):
        for name, value in node.value:
            step = str(name.value)
            yield from ((inner, part, False) for inner, part, _ in _scalars(name, path))
            yield from _scalars(value, (*path, step))
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield from _scalars(value, (*path, index))
    else:
        yield path, node, True


def _after_scalars(root: Node, number: int) -> int:
    """The column behind every name and value of the line: only there a comment can begin."""
    after = 0
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if isinstance(node, MappingNode):
            nodes += [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            nodes += node.value
        elif node.end_mark.line == number:
            after = max(after, node.end_mark.column)
        elif node.start_mark.line == number:
            after = max(after, node.start_mark.column)
    return after
