"""What every way to start Grove does: read the configuration, collect, say how it went."""

from grove.helpers.signals import Mailbox
from grove.oneshot import collect_once
from grove.runtime import configure, dispatch

__all__ = ["configure", "dispatch", "entrypoint"]


def entrypoint(context: dict[str, str], mailbox: Mailbox | None = None) -> int:
    """Collect every due stream once, and return the exit code; `context` describes the runtime."""
    return collect_once(context, mailbox)
