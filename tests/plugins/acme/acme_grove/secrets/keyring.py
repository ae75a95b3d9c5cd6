"""Secrets in a file of lines, `name=value`."""

import os

from grove.exceptions import AccessException
from grove.secrets import BaseSecret


class Handler(BaseSecret):
    def __init__(self):
        self.path = os.environ.get("ACME_KEYRING", "keyring")

    def get(self, id: str) -> str:
        try:
            with open(self.path) as file:
                lines = file.read().splitlines()
        except OSError as err:
            raise AccessException(f"The keyring cannot be read: {err}") from err
        for line in lines:
            name, _, value = line.partition("=")
            if name == id:
                return value
        raise AccessException(f"The keyring has no {id}.")
