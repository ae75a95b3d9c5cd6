"""The documents in a file or parameter: JSON, or YAML, one or several; and where in it a field stands.

Several are a list in JSON, and have `---` between them in YAML.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from grove.configs._problems import Path, Problem, dotted
from grove.models import ConnectorConfig, Origin, ProcessorConfig

if TYPE_CHECKING:
    from grove.configs._yaml import Node

__all__ = ["Document", "Path", "Text", "UnreadableError", "parse_value", "read"]

COMMON = frozenset(ConnectorConfig.model_fields)
"""The fields that every document may have."""

# Fields below which, too, there are no credentials, but for those that are called so.
_OPEN = frozenset({"encoding", "outputs", "paging", "processors", "rate_limit"})
# Fields in which there may be some, although nothing in their names says so.
_CLOSED = frozenset({"auth", "body", "headers", "params", "secrets", "url"})

_KNOWN_NAMES = frozenset({*ConnectorConfig.model_fields, *ProcessorConfig.model_fields})

# What YAML sees as the end of a line.
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
# In JSON, what PyYAML would not take, or would count as a line; each makes way for as many characters.
_NO_YAML = re.compile("\\\\u[dD][89a-fA-F][0-9a-fA-F]{2}|[\t\x7f\x85\u2028\u2029]")

_JSON_HELP = {
    "Expecting ',' delimiter": "A comma is missing before this.",
    "Expecting ':' delimiter": "A colon is missing between the name of a field and its value.",
    "Expecting property name enclosed in double quotes": (
        "The comma before this is one too many, or the name of a field lacks its double quotes."
    ),
    "Illegal trailing comma before end of object": "Take it away.",
    "Illegal trailing comma before end of array": "Take it away.",
    "Expecting value": "Texts have double quotes; true, false and null are written in small letters.",
    "Extra data": "The document ends before this. Several documents are a list: [{...}, {...}].",
    "Unterminated string starting at": "The quote that opens here is not closed.",
    "Invalid control character at": "A line break within a text is written \\n, a tab \\t.",
    "Invalid \\escape": "A backslash within a text is written twice.",
}


class UnreadableError(Exception):
    """A text in which no document can be told from another; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Document(Origin):
    """What one document says (`value`, as JSON), and where it stands: it is number `index` of those in `text`."""

    def __init__(self, text: Text, index: int, value: Any) -> None:
        self.text = text
        self.index = index
        self.value = value
        name = value.get("name") if isinstance(value, dict) else None
        self.name = name if isinstance(name, str) else ""
        """What it calls itself; empty where it does not."""
        self.declared: frozenset[str] = COMMON
        """The fields that are declared for it, by all connectors or its own."""

    def forget(self) -> None:
        """Keep where it stands, and not what it says: a process has thousands of them."""
        self.value = None

    def problem(self, code: str, message: str, help: str = "", path: Path = (), *, at_name: bool = False) -> Problem:
        """A problem with the value at `path`, or with the name of that field; with what it should be in, if missing."""
        line, column, quote, caret, width = self.text.locate(self, path, at_name=at_name)
        return Problem(
            self.text.source,
            code,
            message,
            help,
            line,
            column,
            dotted(path),
            self.name,
            quote,
            caret,
            width,
        )

    def place(self, *path: str | int) -> str:
        """The source, with line and column of the field at `path` where they can be found out."""
        return self.problem("", "", path=path).place

    def may_show(self, path: Path) -> bool:
        """Whether the value at `path` may be quoted: it is declared, and no credential has a place there."""
        top = path[0] if path else ""
        return top in _OPEN or (len(path) == 1 and top in self.declared and top not in _CLOSED)


class Text:
    """The text of `source`, in which documents are; `is_json` says how they are written."""

    def __init__(self, source: str, text: str, *, is_json: bool) -> None:
        self.source = source
        self.text = text
        self.is_json = is_json
        self.has_repeated_names = False

    def documents(self) -> list[Document]:
        """Every document in it. UnreadableError where it is neither JSON nor YAML, or has none."""
        roots = self._json() if self.is_json else self._yaml()
        values = [value for root in roots for value in (root if isinstance(root, list) else [root])]
        if not values:
            raise UnreadableError(Problem(self.source, "no-document", "There is no document in it."))
        return [Document(self, index, value) for index, value in enumerate(values)]

    def _json(self) -> list[Any]:
        def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(pairs)
            self.has_repeated_names |= len(found) < len(pairs)
            return found

        try:
            return [json.loads(self.text, object_pairs_hook=members)]
        except json.JSONDecodeError as err:
            # Not chained: the error carries the whole document, with its credentials.
            message = f"The document is not valid JSON: {err.msg}."
            problem = self._broken("bad-json", message, _JSON_HELP.get(err.msg, ""), err.lineno, err.colno)
        except (RecursionError, ValueError) as err:
            message = f"The document cannot be read: {type(err).__name__}."
            problem = Problem(self.source, "bad-json", message)
        raise UnreadableError(problem)

    def _yaml(self) -> list[Any]:
        # Imported where a document is written in it.
        from grove.configs import _yaml

        try:
            roots = _yaml.compose(self.text)
            values = [_yaml.construct(root) for root in roots]
        except _yaml.NotYamlError as err:
            message = f"The document is not valid YAML: {err}."
            problem = self._broken("bad-yaml", message, "", err.line, err.column)
        else:
            self.has_repeated_names = any(next(_yaml.repeated(root), None) for root in roots)
            # Between two marks there may be nothing.
            return [value for value in values if value is not None]
        raise UnreadableError(problem)

    def _broken(self, code: str, message: str, help: str, line: int, column: int) -> Problem:
        quote, caret = "", 0
        lines = _lines(self.text, self.is_json)
        if 0 < line <= len(lines):
            from grove.configs import _quoting

            quote, caret = _quoting.unparsed(lines[line - 1], column - 1, _KNOWN_NAMES)
        return Problem(self.source, code, message, help, line, column, quote=quote, caret=caret)

    def repeated(self, document: Document) -> Iterator[Path]:
        """The fields of `document` that are there more than once."""
        from grove.configs import _yaml

        nodes = _nodes(self.text, self.is_json)
        if document.index < len(nodes):
            yield from _yaml.repeated(nodes[document.index])

    def locate(self, document: Document, path: Path, *, at_name: bool) -> tuple[int, int, str, int, int]:
        """Line, column, the line as it may be quoted, the place within that, and how much of it is meant.

        Zeros where it cannot be found out.
        """
        from grove.configs import _quoting, _yaml

        nodes = _nodes(self.text, self.is_json)
        if document.index >= len(nodes):
            return 0, 0, "", 0, 0
        root = nodes[document.index]
        node, is_whole = _yaml.follow(root, path, at_name=at_name)
        start, end = node.start_mark, node.end_mark
        line = _lines(self.text, self.is_json)[start.line]
        until = end.column if is_whole and end.line == start.line else start.column + 1
        quote, caret, width = _quoting.parsed(line, start.line, (start.column, until), root, document.may_show)
        return start.line + 1, start.column + 1, quote, caret, width


# Of one text only, and not kept with it: a process has thousands of them.
@functools.lru_cache(maxsize=1)
def _lines(text: str, is_json: bool) -> list[str]:
    return [line.rstrip("\r") for line in text.split("\n")] if is_json else _LINE_END.split(text)


@functools.lru_cache(maxsize=1)
def _nodes(text: str, is_json: bool) -> list[Node]:
    """The documents as nodes, by their indexes; none where they cannot be had."""
    from grove.configs import _yaml

    if is_json:
        text = _NO_YAML.sub(lambda match: " " if len(match[0]) == 1 else "\\u0041", text)
    try:
        roots = _yaml.compose(text)
        return list(_yaml.members(root for root in roots if is_json or _yaml.construct(root) is not None))
    except _yaml.NotYamlError:
        return []


def read(data: bytes, source: str) -> list[Document]:
    """The documents in `data`. UnreadableError where there are none, or where they cannot be told apart.

    A `source` that ends in .json has JSON, one that ends in .yaml or .yml has YAML; any other has JSON if it begins
    with a bracket.
    """
    try:
        # Some editors begin a file with a byte order mark.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        message = f"Byte {err.start} is not valid UTF-8."
        raise UnreadableError(Problem(source, "bad-encoding", message, "Save the document as UTF-8.")) from None
    if not text.strip():
        raise UnreadableError(Problem(source, "no-document", "The document is empty."))
    is_json = source.endswith(".json") or (
        not source.endswith((".yaml", ".yml")) and text.lstrip().startswith(("{", "["))
    )
    return Text(source, text, is_json=is_json).documents()


def parse_value(text: str) -> Any:
    """What `text` says as the value of a field in YAML; ValueError where it says nothing."""
    from grove.configs import _yaml

    try:
        roots = _yaml.compose(text)
        if len(roots) > 1:
            raise ValueError("it is more than one value")
        return _yaml.construct(roots[0]) if roots else ""
    except _yaml.NotYamlError as err:
        raise ValueError(f"{err}") from None
