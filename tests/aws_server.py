"""moto as a server, as strict as AWS where moto is not: `python -m tests.aws_server PORT`.

Requests are handled one after the other (moto's transactions are not safe for threads), a transaction that comes again
with its token is not done again, and the sizes that DynamoDB refuses are refused. S3 says so where an upload is gone.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

TRANSACTION_BYTES = 4 * 1024 * 1024


class Application:
    """The WSGI application: moto behind the rules above."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._guard = threading.Lock()
        self._done: dict[str, tuple[str, list[tuple[str, str]], bytes]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        with self._guard:
            status, headers, answer = self._answer(environ, operation, body)
        start_response(status, headers)
        return [answer]

    def _answer(self, environ: dict[str, Any], operation: str, body: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
        if operation not in ("TransactWriteItems", "TransactGetItems"):
            try:
                return self._ask_moto(environ)
            except KeyError:
                # How moto takes an upload that is completed, or aborted.
                if "uploadId=" in environ["QUERY_STRING"]:
                    return _no_such_upload()
                raise
        request = json.loads(body)
        if operation == "TransactWriteItems":
            token = request["ClientRequestToken"]
            if token in self._done:
                return self._done[token]
            if sum(_size(action) for action in request["TransactItems"]) > TRANSACTION_BYTES:
                return _refused("Transaction request cannot include more than 4MB of data")
        status, headers, answer = self._ask_moto(environ)
        if operation == "TransactGetItems" and len(answer) > TRANSACTION_BYTES:
            return _refused("Transaction response cannot include more than 4MB of data")
        if operation == "TransactWriteItems" and status.startswith("200"):
            self._done[token] = (status, headers, answer)
        return status, headers, answer

    def _ask_moto(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
            started[:] = [status, headers]
            return lambda data: None

        answer = b"".join(self._moto(environ, start))
        return started[0], started[1], answer


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _refused(message: str) -> tuple[str, list[tuple[str, str]], bytes]:
    answer = json.dumps({"__type": "com.amazon.coral.validate#ValidationException", "message": message}).encode()
    headers = [("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", str(len(answer)))]
    return "400 BAD REQUEST", headers, answer


def _no_such_upload() -> tuple[str, list[tuple[str, str]], bytes]:
    answer = (
        b"<Error><Code>NoSuchUpload</Code><Message>The specified multipart upload does not exist.</Message></Error>"
    )
    return "404 NOT FOUND", [("Content-Type", "application/xml"), ("Content-Length", str(len(answer)))], answer


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: thousands of lines help nobody."""


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), Application(), threaded=True, request_handler=_Handler).serve_forever()
