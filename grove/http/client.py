"""The only way in which Grove asks a source: time-outs, retries, rate limits, credentials and limits in one place.

The HTTP library is loaded with the first request: what only declares a source does not need it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from grove.__about__ import __version__
from grove.exceptions import RateLimitException, RequestFailedException
from grove.helpers import clock
from grove.http._breaker import Breaker
from grove.http._budget import Budget
from grove.http._call import Call, Params, with_query
from grove.http._decoding import ACCEPTED, CutError
from grove.http._failures import Failure, from_status
from grove.http.origin import absolute, check_base, escaped, is_exposed, next_link, origin, same_origin, shown
from grove.http.response import Response
from grove.http.waits import RateLimit, backoff, jittered, stated_wait
from grove.logging import redact

if TYPE_CHECKING:
    from grove.http._transport import Exchange

__all__ = ["Auth", "Client", "Params"]

logger = logging.getLogger(__name__)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
# What means "later" besides a rate limit: a time-out of the server's own, and everything that is its fault.
_LATER = frozenset({408, 425, *range(500, 600)})

_breaker = Breaker()


class Auth:
    """Credentials, and how they go on a request."""

    def apply(self, headers: dict[str, str], stop: threading.Event | None = None) -> None:
        """Add the credentials to `headers`; fetching them first ends when `stop` is set."""
        raise NotImplementedError

    def renew(self, refused: Mapping[str, str]) -> bool:
        """The vendor answered 401 to these headers: True where the next `apply` gives something else."""
        return False

    def base_url(self, stop: threading.Event | None = None) -> str | None:
        """Where the vendor said, with the credentials, that this tenant's API is."""
        return None


class _How(TypedDict, total=False):
    error: Callable[[Response], str | None] | None
    retry: Callable[[Response], bool] | None
    accept: Collection[int]
    idempotent: bool


class Client:
    """Asks one API, with one set of credentials. Safe for threads; making one opens no connection.

    Addresses may be relative to `base_url`, and must be on its origin; where there is none, the first address that
    the credentials went to stands in for it. Times are in seconds: `timeout_connect` for a
    connection, `timeout_read` for silence, `deadline` for all attempts of one request together, `max_wait` for all
    waits between them. `attempts` bounds how often a request is made. `rate_limit` says how this vendor limits rates;
    answers with one of `retry_statuses`, or for which `retry` says so, are tried again like a rate limit or a failure.
    A body may have `max_response_bytes`, and unpack to `max_ratio` times what was sent. `stop` ends whatever a request
    is doing with StoppedError.
    """

    def __init__(
        self,
        base_url: str | None,
        auth: Auth | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_connect: float = 10.0,
        timeout_read: float = 60.0,
        deadline: float = 180.0,
        attempts: int = 5,
        max_wait: float = 180.0,
        max_response_bytes: int = 256 * 1024 * 1024,
        max_ratio: float = 200.0,
        rate_limit: RateLimit | None = None,
        retry_statuses: Collection[int] = (),
        retry: Callable[[Response], bool] | None = None,
        stop: threading.Event | None = None,
        user_agent: str = f"grove/{__version__}",
    ) -> None:
        self._base_url = None if base_url is None else check_base(base_url)
        self._auth = auth
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": ACCEPTED,
            **(headers or {}),
        }
        self._timeouts = (timeout_connect, timeout_read)
        self._deadline = deadline
        self._attempts = attempts
        self._max_wait = max_wait
        self._max_response_bytes = max_response_bytes
        self._max_ratio = max_ratio
        self._rate_limit = rate_limit or RateLimit()
        self._retry_statuses = retry_statuses
        self._retry = retry
        self._stop = stop
        self._lock = threading.Lock()
        # The first address that the credentials went to; they go nowhere but to its origin.
        self._home: str | None = None

    @property
    def base_url(self) -> str | None:
        """What relative addresses are relative to; from the credentials where the client was given none."""
        if self._base_url is None and self._auth is not None:
            found = self._auth.base_url(self._stop)
            return None if found is None else check_base(found)
        return self._base_url

    def get(
        self, url: str, params: Params | None = None, headers: Mapping[str, str] | None = None, **how: Unpack[_How]
    ) -> Response:
        """`request("GET", ...)`."""
        return self.request("GET", url, params=params, headers=headers, **how)

    def post(
        self,
        url: str,
        json: Any = None,
        data: Any = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        **how: Unpack[_How],
    ) -> Response:
        """`request("POST", ...)`."""
        return self.request("POST", url, params=params, headers=headers, json=json, data=data, **how)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: Any = None,
        error: Callable[[Response], str | None] | None = None,
        retry: Callable[[Response], bool] | None = None,
        accept: Collection[int] = (),
        idempotent: bool = True,
    ) -> Response:
        """The answer, read completely; one with status 2xx, or another of `accept`.

        `json` is sent as JSON; `data` as it is (bytes or str) or as a form (mapping). `error` returns what is wrong
        with an answer that hides an error under a good status. `retry`, in place of the client's own, recognises a
        rate limit by the answer's body. A request that is not `idempotent` is repeated only after a rate limit.

        RequestFailedException (with `status`, where there was one), RateLimitException (with `until`), StoppedError.
        """
        call = Call(
            method=method.upper(),
            url=self._address(url, params),
            headers={**self._headers, **(headers or {})},
            json=json,
            data=data,
            error=error,
            retry=retry or self._retry,
            accept=accept,
            repeatable=idempotent,
        )
        return self._perform(call, Budget(self._deadline, self._stop), whole=True)[0]

    def stream(
        self,
        url: str,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        deadline: float | None = None,
    ) -> Iterator[bytes]:
        """The body at `url` in pieces of 64 KiB at most, without its content encoding, asked for with the first piece.

        The time that the caller takes for a piece does not count. What has begun to arrive is not repeated. Raises
        what `request` raises.
        """
        from grove.http._network_errors import NETWORK_ERRORS

        call = Call("GET", self._address(url, params), {**self._headers, **(headers or {})}, retry=self._retry)
        budget = Budget(self._deadline if deadline is None else deadline, self._stop)
        _, exchange = self._perform(call, budget, whole=False)
        assert exchange is not None
        failure = None
        with exchange:
            try:
                yield from exchange.chunks()
            except NETWORK_ERRORS as err:
                failure = self._network_failure(err, budget)
        if failure is not None:
            raise RequestFailedException(f"GET {shown(call.url)} {failure.text}")

    def _address(self, url: str, params: Params | None) -> str:
        address = with_query(absolute(self.base_url, url), params)
        if self._auth is None:
            return address
        with self._lock:
            if self._home is None:
                self._home = address
                if is_exposed(address):
                    logger.warning(
                        "Credentials are sent without TLS; use an https address.",
                        extra={"event": "insecure", "address": shown(address)},
                    )
            elif not same_origin(address, self._home):
                raise RequestFailedException(
                    f"{shown(address)} is not asked: these credentials belong to {shown(self._home)}."
                )
        return address

    def _perform(self, call: Call, budget: Budget, whole: bool) -> tuple[Response, Exchange | None]:
        """The first acceptable answer; not `whole`, with the exchange that its body is to be read from."""
        url = call.url
        attempt, redirects, waited, renewed = 1, 0, 0.0, False
        while True:
            refusal = _breaker.refusal(_host(url))
            if refusal is not None:
                raise RequestFailedException(f"{call.method} {shown(url)} {refusal}")
            headers = dict(call.headers)
            if self._auth is not None:
                with budget.unspent():
                    self._auth.apply(headers, self._stop)
            result = self._attempt(call, url, headers, budget, whole)
            if not isinstance(result, Failure):
                _breaker.answered(_host(url))
                response = result[0]
                if response.status not in _REDIRECTS or response.status in call.accept:
                    return result
                redirects += 1
                url = _redirected(call, response, redirects)
                continue
            left_alone = False
            if result.down:
                left_alone = _breaker.failed(_host(url), result.text)
            elif result.status is not None:
                _breaker.answered(_host(url))
            if result.status == 401 and self._auth is not None and not renewed:
                renewed = True
                if self._auth.renew(headers):
                    continue
            last = left_alone or attempt >= self._attempts or budget.remaining() <= 0
            wait = self._wait_after(call, url, result, attempt, last, waited)
            budget.wait(wait)
            waited += wait
            attempt += 1

    def _attempt(
        self, call: Call, url: str, headers: dict[str, str], budget: Budget, whole: bool
    ) -> tuple[Response, Exchange | None] | Failure:
        """One request: its answer, or why there is none that could be used."""
        from grove.http import _transport
        from grove.http._network_errors import NETWORK_ERRORS

        try:
            request = call.prepared(url, headers)
            exchange = _transport.send(request, budget, self._timeouts, self._max_response_bytes, self._max_ratio)
            if not whole and 200 <= exchange.status < 300:
                response = Response(call.method, url, exchange.status, exchange.headers, b"")
                if response.content_type == "text/html" and not call.wants_page:
                    exchange.close()
                    return _page_failure(response)
                return response, exchange
            with exchange:
                body = b"".join(exchange.chunks())
            response = Response(call.method, url, exchange.status, exchange.headers, body)
            if not exchange.framed and 200 <= exchange.status < 300 and _is_cut(call, response):
                raise CutError
        except NETWORK_ERRORS as err:
            return self._network_failure(err, budget)
        failure = self._judge(call, response)
        return (response, None) if failure is None else failure

    def _network_failure(self, err: BaseException, budget: Budget) -> Failure:
        if budget.remaining() <= 0:
            return Failure(f"failed: it took longer than {self._deadline:g} seconds.", down=True)
        from grove.http._network_errors import from_error

        return from_error(err)

    def _judge(self, call: Call, response: Response) -> Failure | None:
        """What is wrong with an answer; None for one that the caller gets, and for a redirect."""
        status = response.status
        limited = self._rate_limit.applies(status, response.headers) or _recognised(call.retry, response)
        if limited or status in _LATER or status in self._retry_statuses:
            if status in call.accept and not limited:
                return None
            wait = stated_wait(response.headers, self._rate_limit, clock.now())
            return Failure(
                from_status(response, hint=False),
                status=status,
                again=True,
                limited=limited,
                down=status >= 500 and not limited,
                wait=self._rate_limit.default if wait is None and limited else wait,
            )
        if status in call.accept or status in _REDIRECTS:
            return None
        if not 200 <= status < 300:
            return Failure(from_status(response), status=status)
        if response.is_html and not call.wants_page:
            return _page_failure(response)
        text = call.error(response) if call.error is not None else None
        return (
            None if text is None else Failure(f"answered with an error: {escaped(redact(text))[:200]}", status=status)
        )

    def _wait_after(self, call: Call, url: str, failure: Failure, attempt: int, last: bool, waited: float) -> float:
        """Seconds until the next attempt; raises what the caller gets where this was the `last` one."""
        told = f"{call.method} {shown(url)} {failure.text}"
        wait = backoff(attempt) if failure.wait is None else failure.wait
        last = last or waited + wait > self._max_wait
        if failure.limited or (failure.wait is not None and call.repeatable):
            if last:
                until = clock.now() + timedelta(seconds=wait)
                raise RateLimitException(f"{told} It may be asked again at {until:%Y-%m-%dT%H:%M:%SZ}.", until=until)
        elif last or not failure.again or not call.repeatable:
            again = f" It was asked {attempt} times." if attempt > 1 else ""
            raise RequestFailedException(f"{told}{again}", status=failure.status)
        logger.info(
            "A request is made again.",
            extra={
                "event": "request_repeated",
                "method": call.method,
                "address": shown(url),
                "reason": failure.text,
                "attempt": attempt,
                "wait": round(wait, 3),
            },
        )
        return wait if failure.wait is None else jittered(wait)


def _redirected(call: Call, response: Response, redirects: int) -> str:
    """Where a redirect leads; RequestFailedException unless it is the GET's own origin, and one of few."""
    told = f"{call.method} {shown(response.url)} answered status {response.status}"
    location = response.headers.get("Location", "")
    if call.method != "GET":
        raise RequestFailedException(f"{told}, a redirect, which only a GET may follow.", status=response.status)
    if redirects > _MOST_REDIRECTS:
        raise RequestFailedException(f"{told}, redirect number {redirects} in a row.", status=response.status)
    if not location:
        raise RequestFailedException(f"{told}, a redirect without an address.", status=response.status)
    return next_link(response.url, location)


def _page_failure(response: Response) -> Failure:
    return Failure(
        "answered with an HTML page, perhaps to sign in. Check the address and the credentials.",
        status=response.status,
    )


def _is_cut(call: Call, response: Response) -> bool:
    """Whether a body that says nothing of its length ends too early; only JSON shows it."""
    if not call.wants_json or response.is_html:
        return False
    try:
        response.json()
    except RequestFailedException:
        return True
    return False


def _recognised(retry: Callable[[Response], bool] | None, response: Response) -> bool:
    if retry is None:
        return False
    try:
        return retry(response)
    except RequestFailedException:
        # It looked into a body that is no JSON.
        return False


def _host(url: str) -> str:
    scheme, host, port = origin(url)
    return f"{scheme}://{host}:{port}"
