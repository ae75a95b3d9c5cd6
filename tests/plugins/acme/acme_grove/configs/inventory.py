"""All documents in one file: a JSON array."""

import json
import os
from typing import List, Optional

from pydantic import ValidationError

from grove.configs import BaseConfig
from grove.exceptions import ConfigurationException
from grove.helpers import parsing
from grove.models import ConnectorConfig


class Handler(BaseConfig):
    def __init__(self):
        self.path = os.environ["ACME_INVENTORY"]

    def get(self, id: Optional[str] = None) -> List[ConnectorConfig]:
        found = []
        with open(self.path) as file:
            documents = json.load(file)
        for document in documents:
            if id is not None and document.get("name") != id:
                continue
            try:
                found.append(ConnectorConfig(**document))
            except ValidationError as err:
                raise ConfigurationException(f"A document is unusable: {parsing.validation_error(err)}") from err
        return found
