"""What sending a request and reading its answer may raise, and what it means.

Loads the HTTP library, so that only what is about to use it imports this.
"""

import http.client
import socket
import ssl
from dataclasses import replace

import requests
from requests import exceptions as requests_errors
from urllib3 import exceptions as urllib3_errors

from grove.http._decoding import BodyLimitError, CutError, EncodingError
from grove.http._failures import Failure
from grove.http.origin import escaped

__all__ = ["NETWORK_ERRORS", "from_error"]

NETWORK_ERRORS = (
    requests.RequestException,
    urllib3_errors.HTTPError,
    OSError,
    UnicodeError,
    BodyLimitError,
    CutError,
    EncodingError,
)
"""Everything that sending a request and reading its answer may raise."""

_NOT_SENT = (
    requests_errors.InvalidURL,
    requests_errors.InvalidSchema,
    requests_errors.MissingSchema,
    requests_errors.InvalidHeader,
    requests_errors.InvalidProxyURL,
    urllib3_errors.LocationParseError,
    UnicodeError,
)


def from_error(err: BaseException) -> Failure:
    """What an error of NETWORK_ERRORS means."""
    chain = _chain(err)
    if any(isinstance(cause, urllib3_errors.InvalidHeader) for cause in chain):
        return _network("its answer states two lengths")
    if any(isinstance(cause, _NOT_SENT) for cause in chain):
        return Failure(f"cannot be sent ({type(err).__name__}).")
    found = next(filter(None, map(_known, chain)), _network(type(err).__name__))
    if any(isinstance(cause, urllib3_errors.ProxyError) for cause in chain):
        return replace(found, text=f"{found.text} This was at the proxy.")
    return found


def _network(reason: str) -> Failure:
    return Failure(f"failed: {reason}.", again=True, down=True)


def _chain(err: BaseException) -> list[BaseException]:
    """`err` and what it was made of, the outermost first."""
    chain = [err]
    for one in chain:
        causes = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        chain.extend(cause for cause in causes if isinstance(cause, BaseException) and cause not in chain)
    return chain


def _known(err: BaseException) -> Failure | None:
    match err:
        case BodyLimitError():
            return Failure(f"failed: {err}. Ask for smaller pages.")
        case EncodingError():
            return _network(str(err))
        case ssl.SSLCertVerificationError():
            return Failure(f"failed: its certificate is refused: {err.verify_message}.", down=True)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return _network("the TLS connection was broken off")
        case ssl.SSLError():
            return _network(f"TLS failed: {err.reason or 'no reason given'}")
        case socket.gaierror():
            return _network("its name could not be resolved")
        case urllib3_errors.NewConnectionError():
            # What it was made of says more.
            return None
        case urllib3_errors.ConnectTimeoutError():
            return _network("there was no connection in time")
        case urllib3_errors.ReadTimeoutError() | TimeoutError():
            return _network("it sent nothing in time")
        case urllib3_errors.IncompleteRead() | urllib3_errors.InvalidChunkLength() | CutError():
            return _network("its answer was cut off")
        case OSError() if str(err).startswith("Tunnel connection failed"):
            return _network(escaped(str(err)[:100]))
        case ConnectionError() if err.strerror is None:
            return _network("the connection was closed without an answer")
        case OSError() if err.strerror is not None:
            return _network(err.strerror.lower())
        case http.client.LineTooLong():
            return _network("its headers are too long")
        case http.client.BadStatusLine():
            return _network("what it sent is not HTTP")
        case http.client.HTTPException() if "headers" in str(err):
            return _network("it sent too many headers")
        case urllib3_errors.ProtocolError() if str(err) == "Response ended prematurely":
            return _network("its answer was cut off")
        case _:
            return None
