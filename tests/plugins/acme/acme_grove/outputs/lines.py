"""Plain lines, in the style of version 2: settings as a model, its own `serialize()`, and `submit()` with `kind`."""

import json
import os
import uuid
from typing import Any, Dict, List, Optional

from grove.exceptions import AccessException
from grove.outputs import BaseOutput


class Handler(BaseOutput):
    class Configuration(BaseOutput.Configuration):
        """Where the lines go."""

        path: str
        prefix: Optional[str] = None

        class Config:
            env_prefix = "GROVE_OUTPUT_ACME_LINES_"
            case_insensitive = True

    def setup(self):
        os.makedirs(self.config.path, exist_ok=True)

    def serialize(self, data: List[Any], metadata: Dict[str, Any] = {}) -> bytes:
        return "\n".join(json.dumps({**entry, "_grove": metadata}, default=str) for entry in data).encode("utf-8")

    def submit(
        self,
        data: bytes,
        connector: str,
        identity: str,
        operation: str,
        part: int = 0,
        kind: Optional[str] = "json",
        descriptor: Optional[str] = "raw/",
        name: Optional[str] = None,
    ):
        folder = os.path.join(self.config.path, descriptor.strip("/"))
        try:
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, f"{name}.{connector}.{part}.{uuid.uuid4().hex}.{kind.strip('.')}")
            with open(f"{path}.part", "wb") as file:
                file.write(data)
            os.rename(f"{path}.part", path)
        except OSError as err:
            raise AccessException(f"Lines cannot be written: {err}") from err
