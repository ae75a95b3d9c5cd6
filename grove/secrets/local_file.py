"""Credentials in files, as container platforms and service managers mount them."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.helpers import settings
from grove.secrets import BaseSecret, _files

ENV_PREFIX = "GROVE_SECRET_LOCAL_FILE_"


class Configuration(BaseSettings):
    """GROVE_SECRET_LOCAL_FILE_PATH_PREFIX: the directory that relative locators begin at."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore")

    path_prefix: str = Field(default="", description="The directory that relative locators begin at.")


class Handler(BaseSecret):
    """Reads a secret from the file that its locator names."""

    def __init__(self) -> None:
        super().__init__()
        self.config = settings.read(Configuration)

    def get(self, id: str) -> str:
        """The file's text without trailing white space.

        NotFoundException, AccessException, or DataFormatException where it is empty or not UTF-8.
        """
        return _files.read(Path(self.config.path_prefix, id), self.logger)
