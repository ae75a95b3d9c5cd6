"""The settings of outputs that deliver compressed objects."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from grove.exceptions import ConfigurationException
from grove.helpers.codecs import GZIP, Codec, Gzip, Plain, Zstd
from grove.outputs import BaseOutput

__all__ = ["CompressionSettings"]


class CompressionSettings(BaseOutput.Configuration):
    """`compression`: gzip, zstd or none. `compression_level`: 0 to 3 for gzip, 1 to 19 for zstd; more is smaller."""

    compression: Literal["gzip", "zstd", "none"] = Field(
        default="gzip", description="How objects are compressed: gzip, zstd (with its extra) or none."
    )
    compression_level: int | None = Field(
        default=None, description="0 to 3 for gzip, 1 to 19 for zstd; more is smaller."
    )

    @model_validator(mode="after")
    def _check(self) -> CompressionSettings:
        try:
            self.codec()
        except ConfigurationException as err:
            raise ValueError(str(err)) from err
        return self

    def codec(self) -> Codec:
        """What these settings ask for. ValueError for a level that there is not, ConfigurationException as `Zstd`."""
        level = self.compression_level
        if self.compression == "none":
            if level is not None:
                raise ValueError("There are no levels of no compression.")
            return Plain()
        if level is None:
            return GZIP if self.compression == "gzip" else Zstd()
        return Gzip(level) if self.compression == "gzip" else Zstd(level)
