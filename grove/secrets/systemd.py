"""Credentials that systemd hands to a service: `LoadCredential=`, `LoadCredentialEncrypted=`, `SetCredential=`.

https://systemd.io/CREDENTIALS/
"""

import os
from pathlib import Path

from grove.exceptions import ConfigurationException, NotFoundException
from grove.secrets import BaseSecret, _files

__all__ = ["Handler"]


class Handler(BaseSecret):
    """Reads a secret from the credential that its locator names, in $CREDENTIALS_DIRECTORY.

    ConfigurationException where the process was not given any.
    """

    def __init__(self) -> None:
        super().__init__()
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise ConfigurationException(
                "CREDENTIALS_DIRECTORY is not set: this process was given no credentials. Run it as a systemd service "
                "whose unit has LoadCredential=NAME:PATH."
            )
        self._directory = Path(directory)

    def get(self, id: str) -> str:
        """The credential's text without trailing white space.

        NotFoundException, AccessException, or DataFormatException where it is empty or not UTF-8.
        """
        if "/" in id or id in ("", ".", ".."):
            raise NotFoundException(
                f"{id!r} is no name of a systemd credential: give it as in LoadCredential=NAME:PATH."
            )
        return _files.read(self._directory / id, self.logger)
