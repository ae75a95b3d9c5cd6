"""Collects in this process until it is asked to end, as a service manager starts it."""

from grove import runtime
from grove.daemon import collect_forever
from grove.entrypoints import base
from grove.helpers.signals import Mailbox
from grove.runtime import Settings

__all__ = ["entrypoint", "runtime_information"]


def runtime_information() -> dict[str, str]:
    """Where this process runs."""
    return runtime.runtime_information(__file__)


def entrypoint(debug: bool = False, mailbox: Mailbox | None = None) -> int:
    """Keep every stream running at its frequency with logs on stderr; the exit code, once a signal has ended it.

    `debug` logs everything, and shows where an error that ends the process comes from. `mailbox` is one that hears
    signals already.
    """
    context = runtime_information()

    def work() -> int:
        settings = Settings.read()
        if settings.processes > 1:
            from grove.processes.supervisor import keep_running

            return keep_running(settings, debug, mailbox or Mailbox())
        return collect_forever(context, mailbox)

    return base.guarded(work, context, debug)
