"""Credentials in files, as container platforms and service managers mount them."""

from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.exceptions import AccessException, ConfigurationException, DataFormatException, NotFoundException
from grove.helpers import parsing
from grove.secrets import BaseSecret

ENV_PREFIX = "GROVE_SECRET_LOCAL_FILE_"


class Configuration(BaseSettings):
    """GROVE_SECRET_LOCAL_FILE_PATH_PREFIX: the directory that relative locators begin at."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore")

    path_prefix: str = ""


class Handler(BaseSecret):
    """Reads a secret from the file that its locator names."""

    def __init__(self) -> None:
        super().__init__()
        try:
            self.config = Configuration()
        except ValidationError as err:
            raise ConfigurationException(parsing.validation_error(err, ENV_PREFIX)) from err

    def get(self, id: str) -> str:
        """The file's text without trailing white space.

        NotFoundException, AccessException, or DataFormatException where it is empty or not UTF-8.
        """
        path = Path(self.config.path_prefix, id)
        try:
            data = path.read_bytes()
            mode = path.stat().st_mode
        except FileNotFoundError as err:
            raise NotFoundException(f"There is no file {str(path)!r}.") from err
        except (OSError, ValueError) as err:
            reason = getattr(err, "strerror", None) or str(err)
            raise AccessException(f"The file {str(path)!r} cannot be read: {reason}.") from err
        if mode & 0o022:
            self.logger.warning(
                "Others may change this secret; take their write permission away.", extra={"path": str(path)}
            )
        try:
            value = data.decode("utf-8").rstrip()
        except UnicodeDecodeError:
            # Not chained: the error carries the secret.
            raise DataFormatException(f"The file {str(path)!r} is not UTF-8 text.") from None
        if not value:
            raise DataFormatException(f"The file {str(path)!r} is empty.")
        return value
