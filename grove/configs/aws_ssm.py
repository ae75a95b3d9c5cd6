"""Configuration documents in parameters of AWS Systems Manager: JSON or YAML, one or several in each.

A parameter holds 4 KB, or 8 KB in the advanced tier; keep credentials out of them, and in `secrets`.
https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
"""

from typing import ClassVar

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.configs import BaseConfig
from grove.helpers import settings
from grove.helpers.parameter_store import Parameter, ParameterStore
from grove.models import ConnectorConfig

__all__ = ["Handler"]

ENV_PREFIX = "GROVE_CONFIG_AWS_SSM_"
SESSION_NAME = "GroveConfigurationHandler"


class Configuration(BaseSettings):
    """GROVE_CONFIG_AWS_SSM_PREFIX and the rest.

    `prefix` is the path below which documents lie. The region is `ssm_region`, `AWS_REGION`, the one of the AWS
    profile, or us-east-1. `assume_role_arn` is a role to assume first.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", hide_input_in_errors=True)

    prefix: str = Field(
        default="/grove/connectors/", description="The path below which parameters hold a document each, or several."
    )
    assume_role_arn: str | None = Field(default=None, description="A role to assume first.")
    ssm_region: str | None = Field(
        default=None, description="The region; without it AWS_REGION, the profile's, or us-east-1."
    )

    @field_validator("prefix")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if not value.startswith("/"):
            raise ValueError("it has to begin with a slash, as in /grove/connectors/")
        return value


class Handler(BaseConfig):
    """Reads documents from the parameters below GROVE_CONFIG_AWS_SSM_PREFIX."""

    EXTRA: ClassVar[str | None] = "aws"

    def __init__(self) -> None:
        super().__init__()
        self.config = settings.read(Configuration)
        self._store = ParameterStore(SESSION_NAME, self.config.ssm_region, self.config.assume_role_arn)

    def get(self, id: str | None = None) -> list[ConnectorConfig]:
        """The documents by name of their parameters; AccessException where those cannot be listed."""
        parameters = self._store.below(self.config.prefix)
        self.begin()
        found = [config for parameter in parameters for config in self._load(parameter)]
        return [config for config in found if id in (None, config.name)]

    def _load(self, parameter: Parameter) -> list[ConnectorConfig]:
        source = f"SSM parameter {parameter.name}"
        if parameter.value is None:
            return self.report(str(parameter.problem), source)
        return self.read(parameter.value.encode("utf-8", "surrogatepass"), source)
