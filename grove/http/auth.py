"""Every kind of credential that a client can carry."""

from grove.http._static import Basic, Bearer, Header
from grove.http._stored import Stored
from grove.http._tokens import OAuth2, SignedJwt
from grove.http.client import Auth

__all__ = ["Auth", "Basic", "Bearer", "Header", "OAuth2", "SignedJwt", "Stored"]
