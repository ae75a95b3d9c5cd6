"""Commands in the test's own process: for those that a test has to interfere with."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout

import click
import pytest

from grove.cli import execute
from tests.cli.shell import Done

__all__ = ["run_here"]


def run_here(command: click.Command, *arguments: str, **environment: str) -> Done:
    """Run `command` with these variables in the environment; logging is as it was afterwards."""
    out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            with pytest.raises(SystemExit) as ended:
                execute(command, "grove", list(arguments))
        finally:
            root.handlers = handlers
            root.setLevel(level)
            logging.captureWarnings(False)
    code = ended.value.code
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())
