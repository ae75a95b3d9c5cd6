"""Every error that Grove raises on purpose.

    GroveException
    ├── ConfigurationException       a document, setting or plugin is wrong: fix it, then run again
    ├── ConnectorMissingException    a configured connector is not installed
    ├── ConcurrencyException         another worker holds the stream's lease: nothing to do
    ├── NotImplementedException      this backend cannot do what was asked of it
    ├── NotFoundException            the cache has no such value
    ├── RequestFailedException       a vendor's API did not answer as it should
    ├── RateLimitException           a vendor asked for more patience than a run has
    ├── AccessException              a cache, output or secret store could not be used
    ├── DataFormatException          data does not have the form that was expected
    │   └── ConflictError            the condition of a write is not met; nothing was changed
    ├── ProcessorError               a processor could not handle an entry
    ├── CorruptStateError            a stored record cannot be trusted
    ├── PoisonedRunError             a run tried to go on after a commit of its own failed
    └── StoppedError                 the process was asked to stop: the next run goes on from here

An `AccessException` from a cache *write* says that its outcome is unknown: read back before deciding.
"""

import datetime


class GroveException(Exception):
    """The parent of every error below; catching it catches what Grove raises on purpose."""


class ConfigurationException(GroveException):
    """A configuration document, an environment setting or a plugin is wrong."""


class ConnectorMissingException(GroveException):
    """A configured connector is not installed."""


class ConcurrencyException(GroveException):
    """Another worker holds the lease of this stream."""


class NotImplementedException(GroveException):
    """The backend cannot do what was asked of it."""


class NotFoundException(GroveException):
    """The cache holds no value under this key."""


class RequestFailedException(GroveException):
    """A request to a vendor's API failed.

    `status` is the status it was answered with; None where there was no answer.
    """

    def __init__(self, *args: object, status: int | None = None) -> None:
        super().__init__(*args)
        self.status = status


class RateLimitException(GroveException):
    """A vendor's rate limit would outlast this run.

    `until` is when it may be asked again, aware and in UTC; None where that is not known.
    """

    def __init__(self, *args: object, until: datetime.datetime | None = None) -> None:
        super().__init__(*args)
        self.until = until


class AccessException(GroveException):
    """A cache, output, configuration or secret backend could not be used.

    Raised by a write to a cache, it means that the outcome is unknown.
    """


class DataFormatException(GroveException):
    """Data does not have the form that was expected."""


class ConflictError(DataFormatException):
    """A condition of a write is not met, and nothing was changed."""


class ProcessorError(GroveException):
    """A processor could not handle an entry."""


class CorruptStateError(GroveException):
    """A stored record cannot be trusted, so a stream's position is unknown."""


class PoisonedRunError(GroveException):
    """A run tried to save after one of its commits failed."""


class StoppedError(GroveException):
    """The process was asked to stop while this run was under way; nothing committed is lost."""
