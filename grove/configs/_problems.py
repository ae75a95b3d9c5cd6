"""What can be wrong with a configuration document, in one form for `grove validate`, for logs and for errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HIDDEN", "Path", "Problem", "dotted", "is_plain_name", "suggestion"]

Path = tuple[str | int, ...]
"""Where in a document: names of fields, and indexes of lists."""

HIDDEN = "***"

# Fields have names such as `client_id`; what has another form may be a credential that went astray.
_PLAIN = re.compile(r"[a-z_$][a-z0-9_$.-]{0,39}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    `source` is the file or parameter, or the setting, that it is wrong in. `line` and `column` begin at 1, and are 0
    where the place is not known. `code` names the kind of problem, `message` says what is wrong and `help` what to
    do. `path` is that of the field, with dots, and `document` the name of the document, where there are such.
    `quote` is the line itself without what may be a credential; `width` characters from `caret` on (from 0) are meant.
    What is tolerated is refused by `grove validate`, while a run warns of it, and uses the document all the same.
    """

    source: str
    code: str
    message: str
    help: str = ""
    line: int = 0
    column: int = 0
    path: str = ""
    document: str = ""
    quote: str = field(default="", repr=False)
    caret: int = 0
    width: int = 1
    is_tolerated: bool = False

    def __str__(self) -> str:
        """On one line: "conf/okta.yaml:7:1: Nothing uses the field 'feilds'. Did you mean 'fields'?"."""
        return f"{self.place}: {self.message}" + (f" {self.help}" if self.help else "")

    @property
    def place(self) -> str:
        """The source, with line and column where they are known."""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    def facts(self) -> dict[str, Any]:
        """For programs, as JSON: everything but the quotation; None for what is not known."""
        return {
            "source": self.source,
            "line": self.line or None,
            "column": self.column or None,
            "code": self.code,
            "message": self.message,
            "help": self.help or None,
            "field": self.path or None,
            "document": self.document or None,
        }


def is_plain_name(name: str) -> bool:
    """Whether `name` may be shown as that of a field, wherever it comes from."""
    return _PLAIN.fullmatch(name) is not None


def dotted(path: Path) -> str:
    """`path` with dots between its steps, of which only plain names are shown."""
    return ".".join(str(step) if isinstance(step, int) or is_plain_name(step) else HIDDEN for step in path)


def suggestion(word: str, words: Iterable[str]) -> str:
    """ "Did you mean 'fields'?" for a `word` that is close to one of `words`; empty where it is close to none."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else ""
