"""Fields that the documents of several vendors have."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

__all__ = ["DomainName", "HostName"]

HostName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:\d+)?$")]
"""A host, with a port where it is not the usual one."""

DomainName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")]
"""A domain, to which the name of a customer is added in front."""
