"""Collects once in this process, as a timer or a person at a shell starts it."""

from grove import runtime
from grove.entrypoints import base
from grove.helpers.signals import Mailbox
from grove.runtime import Settings

__all__ = ["entrypoint", "runtime_information"]


def runtime_information() -> dict[str, str]:
    """Where this process runs."""
    return runtime.runtime_information(__file__)


def entrypoint(debug: bool = False, mailbox: Mailbox | None = None) -> int:
    """Collect every due stream once with logs on stderr, and return the exit code.

    `debug` logs everything, and shows where an error that ends the process comes from. `mailbox` is one that hears
    signals already.
    """
    context = runtime_information()

    def work() -> int:
        settings = Settings.read()
        if settings.processes > 1:
            from grove.processes.supervisor import collect

            return collect(settings, debug, mailbox or Mailbox()).report.exit_code
        return base.entrypoint(context, mailbox)

    return base.guarded(work, context, debug)
