"""Why an attempt did not succeed, in words that contain nothing of the request, and whether another one may."""

import http.client
import socket
import ssl
from dataclasses import dataclass, replace

import requests
from requests import exceptions as requests_errors
from urllib3 import exceptions as urllib3_errors

from grove.http._decoding import BodyLimitError, CutError, EncodingError
from grove.http.origin import escaped
from grove.http.response import Response

__all__ = ["NETWORK_ERRORS", "Failure", "from_error", "from_status"]

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


_HINTS = {
    400: "Check the parameters in the stream's document.",
    401: "Check that the credentials are complete, in force, and of this tenant.",
    403: "Check that the credentials may read this log, and that the tenant's plan includes it.",
    404: "Check the identity and the address in the stream's document.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """`text` is the end of a sentence that begins with "GET host/path".

    `again` says that the same request may succeed later, `limited` that the vendor asked for patience, `down` that the
    host is out of order rather than dissatisfied. `wait` is what the vendor asked for, in seconds.
    """

    text: str
    status: int | None = None
    again: bool = False
    limited: bool = False
    down: bool = False
    wait: float | None = None


def from_status(response: Response, hint: bool = True) -> str:
    """What a status that is no success says, with the start of what the vendor wrote about it."""
    parts = [f"answered status {response.status}"]
    text = "an HTML page" if response.is_html else response.excerpt()
    if text:
        parts.append(f", saying: {text}")
    parts.append("." if not text.endswith((".", "!")) else "")
    if hint and response.status in _HINTS:
        parts.append(f" {_HINTS[response.status]}")
    return "".join(parts)


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
