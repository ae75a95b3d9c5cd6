"""What every way to start Grove does: read the configuration, collect, say how it went."""

from grove.runtime import collect_once, configure, dispatch

__all__ = ["configure", "dispatch", "entrypoint"]


def entrypoint(context: dict[str, str]) -> int:
    """Collect every due stream once, and return the exit code; `context` describes the runtime."""
    return collect_once(context)
