"""A source that needs no network: a few timestamps, to try an installation with."""

from typing import Any

from grove.connectors import BaseConnector
from grove.constants import CHRONOLOGICAL
from grove.helpers import clock


class Connector(BaseConnector):
    """Emits `count` heartbeats (default 5), one save each, `interval` seconds apart (default 1)."""

    CONNECTOR = "local_heartbeat"
    POINTER_PATH = "timestamp"
    LOG_ORDER = CHRONOLOGICAL

    def collect(self) -> None:
        """Beat, save, wait."""
        interval = _number(getattr(self.configuration, "interval", 1), 1.0)
        count = int(_number(getattr(self.configuration, "count", 5), 5.0))
        for _ in range(count):
            self.save([{"type": "heartbeat", "timestamp": clock.datestamp(clock.now())}])
            self.wait(interval)


def _number(value: Any, default: float) -> float:
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return default
