"""What a configuration document may say, and how a stream is named by it."""

import base64
import binascii
import functools
import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import Future
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, WithJsonSchema, model_validator

from grove.constants import DEFAULT_CONFIG_FREQUENCY, DEFAULT_OPERATION, DEFAULT_RUN_TIMEOUT
from grove.exceptions import DataFormatException

__all__ = [
    "ConnectorConfig",
    "Expectation",
    "Origin",
    "OutputStream",
    "ProcessorConfig",
    "Run",
    "attribute_name",
    "decode",
    "is_credential",
]

# Names that mean something to pydantic (`copy`, `json`, `schema`, ...) and so cannot be a document's.
_RESERVED = frozenset({*dir(BaseModel), "reference", "fill"})

# What fields are called that hold credentials, whatever the connector.
_CREDENTIAL = re.compile(
    r"(?:^|[_-])(?:key|secret|token|password|passphrase|credentials?|authorization)$", re.IGNORECASE
)


def is_credential(field: str) -> bool:
    """Whether a field is called like one that holds a credential: `key`, `client_secret`, `api-token`, ..."""
    return _CREDENTIAL.search(field) is not None


def attribute_name(field: str) -> str:
    """The attribute that keeps a document's `field`: `schema_` for `schema`, most names as they are."""
    return f"{field}_" if field in _RESERVED else field


def decode(value: str, encoding: str) -> str:
    """`value` decoded from `encoding` ("base64"). DataFormatException, which never quotes the value."""
    if encoding != "base64":
        raise DataFormatException(f"The encoding {encoding!r} is unknown; use 'base64'.")
    try:
        # Line breaks are common in what `base64` prints, other foreign characters are not base64.
        return base64.b64decode("".join(value.split()), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        # Not chained: a UnicodeDecodeError carries the decoded secret.
        pass
    raise DataFormatException("The value is not base64 of UTF-8 text.")


class _Document(BaseModel):
    """A part of a document: fields that nobody declared are kept, and never shown."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True, hide_input_in_errors=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        fields = type(self).model_fields
        return [(name, value) for name, value in super().__repr_args__() if name in fields]


class ProcessorConfig(_Document):
    """One processor of a stream, and its own settings.

    `on_error` says what becomes of a page with an entry that cannot be processed: "quarantine" delivers that
    entry apart, "fail" ends the run.
    """

    name: str
    processor: str
    on_error: Literal["quarantine", "fail"] = "quarantine"


class OutputStream(StrEnum):
    """Which entries an output descriptor receives: as the vendor sent them, or after the processors."""

    raw = "raw"
    processed = "processed"


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _seconds(value: Any) -> Any:
    """Seconds for a text such as "90s", "30m", "2h" or "1d"; everything else as it is."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value) if isinstance(value, str) else None
    if found is None:
        if isinstance(value, str):
            raise ValueError("it has to be seconds, or a duration such as 30m, 2h or 1d")
        return value
    return float(found[1]) * _UNITS[found[2] or "s"]


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]?$"}]}),
]


class Expectation(BaseModel):
    """What a stream is to bring; one that falls short is stale.

    `newest_within`: its newest entry is no older than that, in seconds or as "2h". `entries_per_day`: at least so
    many new entries in 24 hours.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    newest_within: Duration | None = None
    entries_per_day: int | None = Field(default=None, gt=0)


def _default_outputs() -> dict[str, OutputStream]:
    return {"logs": OutputStream.raw, "processed": OutputStream.processed}


class Origin:
    """Where a document was read. Nothing that it says depends on it, so that any two are equal."""

    def place(self, *path: str | int) -> str:
        """The file, line and column of the field at `path`; empty where they are not known."""
        return ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    __hash__ = None  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Origin":
        return self


class ConnectorConfig(_Document):
    """One stream to collect: a connector, whose logs, with which credentials, how often, where to.

    Fields that are not declared here belong to the connector and are attributes too; a missing one raises
    AttributeError. `frequency`, `lookback` and `run_timeout` are seconds.
    """

    name: str = Field(min_length=1, description="What you call this stream.")
    identity: str = Field(
        min_length=1, description="Whose logs: the tenant, organisation or account, as the connector wants it."
    )
    connector: str = Field(min_length=1, description="Which source.")
    key: str = Field(default="", repr=False, description="The credential; better through `secrets`.")
    disabled: bool = Field(default=False, description="Leave this document out.")
    interpolate: bool = Field(
        default=False, description="Put variables of the environment in the place of ${VAR} and ${VAR:-default}."
    )
    secrets: dict[str, str] = Field(
        default_factory=dict,
        repr=False,
        description="Fields, and where what belongs there is found: for each run anew.",
    )
    encoding: dict[str, str] = Field(default_factory=dict, description="Fields that are decoded before use: base64.")
    operation: str = Field(default=DEFAULT_OPERATION, description="Which kind of log, where a source has several.")
    frequency: int = Field(default=DEFAULT_CONFIG_FREQUENCY, gt=0, description="Seconds between two runs.")
    lookback: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds to ask for again before the pointer, for entries that arrive late.",
    )
    run_timeout: float = Field(
        default=DEFAULT_RUN_TIMEOUT,
        gt=0,
        allow_inf_nan=False,
        description="Seconds without progress after which a run is given up.",
    )
    expect: Expectation = Field(
        default_factory=Expectation, description="What the stream is to bring; one that falls short is stale."
    )
    processors: list[ProcessorConfig] = Field(
        default_factory=list, description="What to do to entries on the way to `processed` outputs."
    )
    outputs: dict[str, OutputStream] = Field(
        default_factory=_default_outputs, description="Where in the output each stream of entries goes."
    )

    # Whether another document has the same connector, identity and operation.
    _has_namesakes: bool = PrivateAttr(default=False)
    _origin: Origin = PrivateAttr(default_factory=Origin)

    @model_validator(mode="before")
    @classmethod
    def _keep_reserved_names_apart(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        # `$schema` is for editors.
        return {attribute_name(name): value for name, value in values.items() if name != "$schema"}

    @model_validator(mode="after")
    def _decode_fields(self) -> "ConnectorConfig":
        for field in self.encoding:
            # What comes from a secret store is decoded once it has been fetched.
            if field in self.secrets:
                continue
            value = getattr(self, attribute_name(field), None)
            if not isinstance(value, str) or not value:
                raise DataFormatException(f"Field `encoding` names {field!r}, which has no text to decode.")
            self.fill(field, value)
        return self

    def fill(self, field: str, value: str) -> None:
        """Set `field` to `value`, decoded if `encoding` says how; DataFormatException where that fails."""
        encoding = self.encoding.get(field)
        if encoding is not None:
            try:
                value = decode(value, encoding)
            except DataFormatException as err:
                raise DataFormatException(f"Field {field!r} cannot be decoded. {err}") from err
        setattr(self, attribute_name(field), value)

    def reference(self, suffix: str | None = None) -> str:
        """The stream's part of a cache key: `<connector>.<md5 of the identity>[.<suffix>]`."""
        reference = f"{self.connector}.{_digest(self.identity)}"
        return f"{reference}.{suffix}" if suffix else reference


class Run(BaseModel):
    """A stream that a scheduler has started: its future, its document, and when it last began."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    configuration: ConnectorConfig
    future: Future[Any] | None = None
    last: datetime | None = None


@functools.lru_cache(maxsize=65_536)  # every page asks for it several times
def _digest(identity: str) -> str:
    # A name, not a protection: hosts in FIPS mode refuse md5 unless told so.
    return hashlib.md5(identity.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
