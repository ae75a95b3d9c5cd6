"""Tells, once when it begins and once when it ends, that a stream falls short of what its document expects."""

from __future__ import annotations

import logging
from collections.abc import Hashable

from grove.health.standing import Standing
from grove.models import ConnectorConfig, Expectation

__all__ = ["LOOK_EVERY", "Shortfalls", "expects"]

logger = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks at streams that have not run meanwhile."""

_NOTHING = Expectation()


def expects(config: ConnectorConfig) -> bool:
    """Whether a document expects anything of its stream."""
    return config.expect != _NOTHING


class Shortfalls:
    """Which streams fall short, as far as it was told."""

    def __init__(self) -> None:
        self._told: dict[Hashable, set[str]] = {}

    def look(self, key: Hashable, standing: Standing) -> None:
        """Tell what has changed since the last look; another expectation that is not met is news too."""
        told, now = self._told.get(key, set()), set(standing.shortfalls)
        config = standing.config
        about = {"stream": config.name, "connector": config.connector, "identity": config.identity}
        if now - told:
            reasons = list(standing.shortfalls.values())
            logger.warning("The stream is stale.", extra={**about, "event": "stale", "reasons": reasons})
        elif told and not now:
            logger.info("The stream is no longer stale.", extra={**about, "event": "fresh"})
        if now:
            self._told[key] = now
        else:
            self._told.pop(key, None)

    def forget(self, key: Hashable) -> None:
        """The stream is gone."""
        self._told.pop(key, None)
