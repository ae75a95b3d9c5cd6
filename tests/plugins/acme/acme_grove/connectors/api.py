"""A client for the Acme API."""

from typing import Any, Dict, Optional

import requests

from grove.exceptions import RateLimitException, RequestFailedException
from grove.types import AuditLogEntries, HTTPResponse


class Client:
    def __init__(self, url: str, token: Optional[str] = None) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def _get(self, params: Optional[Dict[str, Any]] = None) -> HTTPResponse:
        try:
            response = requests.get(self.url, headers=self.headers, params=params, timeout=30)
            response.raise_for_status()
        except requests.exceptions.RequestException as err:
            if getattr(err.response, "status_code", None) == 429:
                raise RateLimitException("Acme is busy.") from err
            raise RequestFailedException(err) from err
        return HTTPResponse(headers=dict(response.headers), body=response.json())

    def get_events(
        self,
        since: str,
        limit: int,
        cursor: Optional[str] = None,
    ) -> AuditLogEntries:
        params = {"since": since, "limit": limit}
        if cursor is not None:
            params["cursor"] = cursor
        result = self._get(params)
        return AuditLogEntries(cursor=result.body.get("next_cursor"), entries=result.body["entries"])
