"""What a caller asks for, in the form in which it is sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode

from grove.exceptions import RequestFailedException
from grove.http.origin import shown
from grove.http.response import Response

if TYPE_CHECKING:
    import requests

__all__ = ["Call", "Params", "with_query"]

Params: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]]
"""A query or form: a list of values repeats its name, None leaves it out, True is "true"."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request, and how its answers are judged; see `Client.request`."""

    method: str
    url: str
    headers: Mapping[str, str]
    json: Any = None
    data: Any = None
    error: Callable[[Response], str | None] | None = None
    retry: Callable[[Response], bool] | None = None
    accept: Collection[int] = ()
    repeatable: bool = True

    def prepared(self, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
        """This request to `url`, where a redirect may have led, with `headers`. Raises what requests raises."""
        import requests

        data = list(_pairs(self.data)) if isinstance(self.data, Mapping) else self.data
        request = requests.Request(self.method, url, headers=headers, json=self.json, data=data).prepare()
        # As it was given: a link that a server signed must come back byte by byte.
        request.url = url
        return request

    @property
    def wants_json(self) -> bool:
        """Whether JSON was asked for."""
        return "json" in self._accepted

    @property
    def wants_page(self) -> bool:
        """Whether an HTML page is among what was asked for."""
        return "html" in self._accepted or "*/*" in self._accepted

    @property
    def _accepted(self) -> str:
        return {name.lower(): value for name, value in self.headers.items()}.get("accept", "*/*")


def with_query(url: str, params: Params | None) -> str:
    """`url` with `params` added to its query. RequestFailedException where one is no text (a lone surrogate)."""
    try:
        query = urlencode(list(_pairs(params or ())))
    except UnicodeError:
        query = None
    if query is None:
        # Not chained: the error has the values.
        raise RequestFailedException(f"{shown(url)} cannot be sent: a value of its query is no text.")
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"


def _pairs(params: Params) -> Iterator[tuple[str, str]]:
    for name, value in params.items() if isinstance(params, Mapping) else params:
        for one in value if isinstance(value, list | tuple | set) else (value,):
            if one is not None:
                yield name, str(one).lower() if isinstance(one, bool) else str(one)
