"""What every way to start Grove does: read the configuration, collect, say how it went."""

import logging
import sys
from collections.abc import Callable

from grove.exceptions import ConfigurationException, GroveException
from grove.helpers.signals import Mailbox
from grove.logging import configure as configure_logging
from grove.logging import redact
from grove.oneshot import EXIT_CONFIGURATION, EXIT_FAILED, collect_once
from grove.runtime import configure, dispatch

__all__ = ["configure", "dispatch", "entrypoint", "guarded"]

logger = logging.getLogger(__name__)


def entrypoint(context: dict[str, str], mailbox: Mailbox | None = None) -> int:
    """Collect every due stream once, and return the exit code; `context` describes the runtime."""
    return collect_once(context, mailbox)


def guarded(
    work: Callable[[], int], context: dict[str, str], debug: bool, passing: tuple[type[Exception], ...] = ()
) -> int:
    """Do `work` with logs on stderr, and return its exit code, or that of the error which ended it.

    `debug` logs everything, and shows where such an error comes from. Errors of the types `passing` are the caller's.
    """
    try:
        configure_logging(context, "DEBUG" if debug else None)
        return work()
    except passing:
        raise
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
        sys.stderr.write(redact(f"grove: {message}\n{text}\nNext: grove doctor\n"))
    else:
        logger.critical(message, extra={"exception": text}, exc_info=err if debug else None)
    return code
