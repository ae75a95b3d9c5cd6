"""What lies between a handler and the parameter store of AWS, and may answer in its place."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs

from tests.http.server import Received, Sent, Server, reply
from tests.servers import Server as Process


@dataclass(frozen=True, slots=True)
class Request:
    """`operation` by the name that AWS gives it, with its parameters; `key` and `region` are those it is signed for."""

    operation: str
    parameters: dict[str, Any]
    key: str
    region: str


Fault = Callable[[Request], Sent | None]


class Link:
    """Passes requests on to `process`, but for those that the functions in `faults` answer. A context manager.

    `waits` are the seconds that a client meant to wait between two attempts.
    """

    def __init__(self, process: Process, waits: list[float]) -> None:
        self.waits = waits
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._target = f"http://127.0.0.1:{process.port}/"

    def __enter__(self) -> Link:
        self._server = Server(self._answer)
        self.url = self._server.url
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def named(self, operation: str) -> list[Request]:
        """The requests for `operation`, in order."""
        return [request for request in self.requests if request.operation == operation]

    def fail(self, operation: str, code: str, times: int = 1, status: int = 400) -> None:
        """Answer that many requests for `operation` with the error `code`."""
        left = [times]

        def fault(request: Request) -> Sent | None:
            if request.operation != operation or not left[0]:
                return None
            left[0] -= 1
            return refused(code) if operation == "AssumeRole" else error(code, status)

        self.faults.append(fault)

    def _answer(self, received: Received) -> Sent:
        request = _read(received)
        self.requests.append(request)
        for fault in self.faults:
            sent = fault(request)
            if sent is not None:
                return sent
        headers = {
            name: value for name, value in received.headers.items() if name not in ("connection", "content-length")
        }
        passed = urllib.request.Request(self._target, received.body, headers, method=received.method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(passed, timeout=30) as answer:
                return reply(answer.read(), answer.status, content_type=answer.headers["Content-Type"])
        except HTTPError as err:
            with err:
                return reply(err.read(), err.code, content_type=err.headers["Content-Type"])


def error(code: str, status: int = 400) -> Sent:
    """An error as the parameter store words it."""
    body = {"__type": code, "message": f"This is how AWS says {code}"}
    return reply(json.dumps(body).encode(), status, content_type="application/x-amz-json-1.1")


def refused(code: str) -> Sent:
    """An error as STS words it."""
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>AssumeRole is refused</Message></Error></ErrorResponse>"
    return reply(body.encode(), 403, content_type="text/xml")


def _read(received: Received) -> Request:
    signed = received.headers["authorization"].partition("Credential=")[2].split("/")
    operation = received.headers.get("x-amz-target", "").rpartition(".")[2]
    if operation:
        return Request(operation, json.loads(received.body), signed[0], signed[2])
    form = {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
    return Request(form["Action"], form, signed[0], signed[2])
