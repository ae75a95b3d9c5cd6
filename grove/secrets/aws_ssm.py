"""Credentials in parameters of AWS Systems Manager."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from grove.helpers import settings
from grove.helpers.parameter_store import ParameterStore
from grove.secrets import BaseSecret

__all__ = ["Handler"]

ENV_PREFIX = "GROVE_SECRET_AWS_SSM_"
SESSION_NAME = "GroveSecretHandler"


class Configuration(BaseSettings):
    """GROVE_SECRET_AWS_SSM_ASSUME_ROLE_ARN, a role to assume first, and GROVE_SECRET_AWS_SSM_SSM_REGION.

    The region is that one, `AWS_REGION`, the one of the AWS profile, or us-east-1.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", hide_input_in_errors=True)

    assume_role_arn: str | None = Field(default=None, description="A role to assume first.")
    ssm_region: str | None = Field(
        default=None, description="The region; without it AWS_REGION, the profile's, or us-east-1."
    )


class Handler(BaseSecret):
    """Reads a secret from the parameter that its locator names, in full: `/grove/okta/token`, say."""

    EXTRA: ClassVar[str | None] = "aws"

    def __init__(self) -> None:
        super().__init__()
        self.config = settings.read(Configuration)
        self._store = ParameterStore(SESSION_NAME, self.config.ssm_region, self.config.assume_role_arn)

    def get(self, id: str) -> str:
        """The parameter's value, decrypted. NotFoundException where there is none, or AccessException."""
        return self._store.get(id)
