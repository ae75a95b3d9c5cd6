"""Credentials in variables of the environment, as container platforms and CI systems set them."""

import os

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.exceptions import DataFormatException, NotFoundException
from grove.helpers import settings
from grove.secrets import BaseSecret, _files

__all__ = ["Handler"]

ENV_PREFIX = "GROVE_SECRET_ENVIRONMENT_"


class Configuration(BaseSettings):
    """GROVE_SECRET_ENVIRONMENT_PREFIX: what the names of all variables with secrets begin with.

    Locators are given without it, so that documents can name no other variable.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", hide_input_in_errors=True)

    prefix: str = Field(
        default="", description="What the names of variables with secrets begin with; locators leave it out."
    )


class Handler(BaseSecret):
    """Reads a secret from the variable that its locator names. A process keeps those that it was started with."""

    def __init__(self) -> None:
        super().__init__()
        self.config = settings.read(Configuration)

    def get(self, id: str) -> str:
        """The variable's value without trailing white space.

        NotFoundException where it is not set, DataFormatException where it is empty or not UTF-8.
        """
        name = f"{self.config.prefix}{id}"
        value = os.environ.get(name)
        if value is None:
            raise NotFoundException(f"The environment has no variable {name!r}.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise DataFormatException(f"The variable {name!r} is not UTF-8 text.")
        return _files.trimmed(value, f"The variable {name!r}")
