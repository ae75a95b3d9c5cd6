"""What tests of collectors and plugins need: a log API to practise on, realistic entries, and contract suites.

Everything is loaded when it is first used: the contract suites need pytest, the rest does not.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grove.testing.cache_contract import CacheContract
    from grove.testing.config_contract import ConfigContract
    from grove.testing.connector_contract import ConnectorContract
    from grove.testing.output_contract import OutputContract, StagingOutputContract
    from grove.testing.practice import NewestFirstConnector, PracticeAPI, PracticeConnector
    from grove.testing.practice_truth import Report, compare, read_delivered
    from grove.testing.processor_contract import ProcessorContract
    from grove.testing.secret_contract import SecretContract

_PLACES = {
    "CacheContract": "cache_contract",
    "ConfigContract": "config_contract",
    "ConnectorContract": "connector_contract",
    "NewestFirstConnector": "practice",
    "OutputContract": "output_contract",
    "PracticeAPI": "practice",
    "PracticeConnector": "practice",
    "ProcessorContract": "processor_contract",
    "Report": "practice_truth",
    "SecretContract": "secret_contract",
    "StagingOutputContract": "output_contract",
    "compare": "practice_truth",
    "read_delivered": "practice_truth",
}

__all__ = [
    "CacheContract",
    "ConfigContract",
    "ConnectorContract",
    "NewestFirstConnector",
    "OutputContract",
    "PracticeAPI",
    "PracticeConnector",
    "ProcessorContract",
    "Report",
    "SecretContract",
    "StagingOutputContract",
    "compare",
    "read_delivered",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'grove.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"grove.testing.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
