"""Configuration documents with which `http_json` collects a practice API, whatever its paging and order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grove.testing.practice import PracticeAPI

__all__ = ["http_json"]

_DAY = 86_400
_SECONDS = {"day": _DAY, "second": 1, "millisecond": 1}


def http_json(api: PracticeAPI, **fields: Any) -> dict[str, Any]:
    """A document of the connector `http_json` for an API that is served; `fields` stand over what it needs."""
    needed: dict[str, Any] = {
        "name": "practice",
        "identity": "practice",
        "connector": "http_json",
        **_credentials(api),
        "url": api.url,
        "params": {"since": "{since}"},
        "time_format": api.shape.time_format,
        "entries": "entries",
        "paging": _paging(api),
        "pointer_path": api.shape.path,
        "order": api.order,
        "first_run": _age(api),
        "outputs": {"logs": "raw"},
    }
    if api.filters == "exclusive":
        # Ties with the pointer, of which there may be more to come, are only behind what is asked for.
        needed["lookback"] = _SECONDS[api.granularity]
    if api.granularity != "millisecond":
        # The filter lets more through than was asked for, and that was delivered long ago.
        needed["trim"] = True
    return {**needed, **fields}


def _credentials(api: PracticeAPI) -> dict[str, Any]:
    if api.client is not None:
        client_id, client_secret = api.client
        auth = {
            "type": "oauth2",
            "token_url": api.token_url,
            "client_id": "{client_id}",
            "client_secret": "{client_secret}",
        }
        return {"client_id": client_id, "client_secret": client_secret, "auth": auth}
    if api.token is not None:
        return {"key": api.token, "auth": {"type": "header", "value": "Bearer {key}"}}
    return {}


def _paging(api: PracticeAPI) -> dict[str, Any]:
    paging: dict[str, dict[str, Any]] = {
        "cursor": {"type": "token", "path": "next_cursor", "param": "cursor"},
        "next_link": {"type": "link", "path": "next"},
        "offset": {"type": "offset", "param": "offset", "size": api.page_size, "size_param": "limit"},
        "keyset": {"type": "keyset", "path": "id", "param": "after", "more": "has_more"},
    }
    return paging[api.paging]


def _age(api: PracticeAPI) -> int:
    """Whole days, in seconds, that a first run has to go back for all there is; a week at least."""
    oldest = api.oldest
    seconds = api.clock() - oldest if oldest is not None else 0.0
    return max(7, int(seconds // _DAY) + 1) * _DAY
