"""Who is let into the practice API: a token that it knows, or one that it issues and takes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from grove.testing.practice_pages import RefusedError

__all__ = ["TOKEN", "TOKEN_PATH", "Access"]

TOKEN = "practice-token"
"""What the API accepts unless told otherwise."""

TOKEN_PATH = "/token"
"""Where tokens are issued: OAuth 2.0 client credentials, as a form (RFC 6749, section 4.4)."""


@dataclass(slots=True)
class Access:
    """The tokens that are in force.

    `token` is one that always is; None lets everybody in. `client` is the id and the secret with which others are to
    be had, each for `lifetime` seconds. `issued` counts them.
    """

    token: str | None
    client: tuple[str, str] | None
    lifetime: float
    issued: int = 0
    _ends: float = 0.0

    def admit(self, headers: Mapping[str, str], now: float) -> None:
        """RefusedError with status 401 where no token is in force; `now` is the API's clock."""
        if self.token is None:
            return
        given = headers.get("Authorization")
        if given == f"Bearer {self.token}":
            return
        if self.issued and given == f"Bearer {self._name()}" and now < self._ends:
            return
        raise RefusedError(401, "the token is not valid")

    def issue(self, form: Mapping[str, str], now: float) -> dict[str, object]:
        """The answer with a new token, which takes the place of the one before. RefusedError for wrong credentials."""
        if self.client is None:
            raise RefusedError(404, "tokens are not issued here")
        if form.get("grant_type") != "client_credentials":
            raise RefusedError(400, "grant_type has to be client_credentials")
        if (form.get("client_id"), form.get("client_secret")) != self.client:
            raise RefusedError(401, "the client is not known")
        self.issued += 1
        self._ends = now + self.lifetime
        return {"access_token": self._name(), "token_type": "Bearer", "expires_in": int(self.lifetime)}

    def revoke(self) -> None:
        """Let the token that was issued be no good any longer, although its time is not over."""
        self._ends = 0.0

    def _name(self) -> str:
        return f"issued-{self.issued}"
