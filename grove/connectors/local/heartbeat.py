"""A source that needs no network: a few timestamps, to try an installation with."""

from typing import Any

from pydantic import Field

from grove.connectors import BaseConnector, ConnectorConfig
from grove.constants import CHRONOLOGICAL
from grove.helpers import clock


class Connector(BaseConnector):
    """Emits `count` heartbeats (default 5), one save each, `interval` seconds apart (default 1)."""

    CONNECTOR = "local_heartbeat"
    POINTER_PATH = "timestamp"
    LOG_ORDER = CHRONOLOGICAL

    class Configuration(ConnectorConfig):
        """`identity` is any name, of this host for example; there is no credential."""

        count: int = Field(5, ge=0, description="How many heartbeats to emit.")
        interval: float = Field(1, ge=0, allow_inf_nan=False, description="Seconds between two of them.")

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
