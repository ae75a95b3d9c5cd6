"""Problems of configuration documents, for people and for GitHub."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from grove.cli._terminal import styled
from grove.configs import Problem
from grove.logging import redact

__all__ = ["for_github", "for_people"]


def for_people(problem: Problem) -> Iterator[str]:
    """Lines: where and what, the line of the document with a mark below, and what to do."""
    place = styled(problem.place, sys.stdout, bold=True)
    yield redact(f"{place}: {styled(problem.code, sys.stdout, fg='red')}: {problem.message}")
    margin = " " * (len(str(problem.line)) + 2)
    if problem.quote.strip():
        indent = len(problem.quote) - len(problem.quote.lstrip())
        caret = max(0, problem.caret - indent)
        yield redact(f"  {problem.line} | {problem.quote[indent:]}")
        yield f"{margin} | {' ' * caret}{styled('^' * max(1, problem.width), sys.stdout, fg='red')}"
    if problem.help:
        yield redact(f"{margin} = {styled('help', sys.stdout, fg='cyan')}: {problem.help}")


def for_github(problem: Problem) -> str:
    """An annotation of the line, as a workflow of GitHub Actions reads it.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
    """
    about = {"file": problem.source, "title": f"grove: {problem.code}"}
    if problem.line:
        about |= {"line": str(problem.line), "col": str(problem.column)}
    properties = ",".join(f"{name}={_property(value)}" for name, value in about.items())
    message = f"{problem.message} {problem.help}".strip()
    return f"::error {properties}::{_data(redact(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
