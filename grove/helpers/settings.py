"""Settings of a handler, read from the environment, with errors that name the variable and never show its value."""

import re
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from grove.exceptions import ConfigurationException
from grove.helpers import parsing

__all__ = ["read"]

Settings = TypeVar("Settings", bound=BaseSettings)


def read(kind: type[Settings], **given: Any) -> Settings:
    """An instance of `kind`, from the environment where `given` does not say otherwise.

    ConfigurationException names each variable that is missing or wrong.
    """
    prefix = str(kind.model_config.get("env_prefix", ""))
    try:
        return kind(**given)
    except ValidationError as err:
        problem = parsing.validation_error(err, prefix)
    except SettingsError as err:
        field = re.search(r'field "(\w+)"', str(err))
        problem = f"{prefix}{field[1] if field else ''}".upper() + ": it has to be valid JSON"
    # Not chained: those errors carry the value that they refuse, which may be a credential.
    raise ConfigurationException(f"The settings of {kind.__module__} are incomplete or wrong. {problem}.")
