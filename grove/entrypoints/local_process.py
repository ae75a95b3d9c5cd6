"""Collects once in this process, as a timer or a person at a shell starts it."""

import logging
import sys

from grove import runtime
from grove.entrypoints import base
from grove.exceptions import ConfigurationException, GroveException
from grove.helpers.signals import Mailbox
from grove.logging import configure, redact
from grove.oneshot import EXIT_CONFIGURATION, EXIT_FAILED

__all__ = ["entrypoint", "runtime_information"]

logger = logging.getLogger(__name__)


def runtime_information() -> dict[str, str]:
    """Where this process runs."""
    return runtime.runtime_information(__file__)


def entrypoint(debug: bool = False, mailbox: Mailbox | None = None) -> int:
    """Collect every due stream once with logs on stderr, and return the exit code.

    `debug` logs everything, and shows where an error that ends the process comes from. `mailbox` is one that hears
    signals already.
    """
    context = runtime_information()
    try:
        configure(context, "DEBUG" if debug else None)
        return base.entrypoint(context, mailbox)
    except ConfigurationException as err:
        return _fail("Grove is not configured correctly.", err, EXIT_CONFIGURATION, debug)
    except GroveException as err:
        return _fail("Grove could not collect anything.", err, EXIT_FAILED, debug)
    except Exception as err:
        return _fail("Grove failed in a way that no one expected.", err, EXIT_FAILED, debug)


def _fail(message: str, err: Exception, code: int, debug: bool) -> int:
    text = str(err) if isinstance(err, GroveException) else f"{type(err).__name__}: {err}"
    # A person reads sentences, a log collector reads JSON.
    if sys.stderr.isatty() and not debug:
        sys.stderr.write(redact(f"grove: {message}\n{text}\n"))
    else:
        logger.critical(message, extra={"exception": text}, exc_info=err if debug else None)
    return code
