"""RS256: the one thing that needs `cryptography`, which is imported where it is used."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from grove.exceptions import ConfigurationException

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["fingerprint", "load_key", "sign"]


def load_key(private_key: str, password: str = "") -> RSAPrivateKey:
    """The RSA key in the PEM text `private_key`; ConfigurationException where there is none, quoting nothing of it."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as err:
        raise ConfigurationException(
            "Signing with a private key needs the package 'cryptography'. Install it with: pip install 'grove[google]' "
            "(or 'grove[snowflake]', which is the same)"
        ) from err
    try:
        key = load_pem_private_key(private_key.encode(), password.encode() or None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationException(
            "The private key cannot be read: give an RSA key in PEM, with its password if it has one."
        )
    return key


def sign(key: RSAPrivateKey, claims: Mapping[str, Any], key_id: str = "") -> str:
    """The JWT (RFC 7515, compact) of `claims`, signed with RS256."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    header = {"alg": "RS256", "typ": "JWT", **({"kid": key_id} if key_id else {})}
    signed = b".".join(_base64url(orjson.dumps(part)) for part in (header, claims))
    return b".".join((signed, _base64url(key.sign(signed, PKCS1v15(), SHA256())))).decode()


def fingerprint(key: RSAPrivateKey) -> str:
    """`SHA256:` and the base64 of the public key's digest (DER, SubjectPublicKeyInfo)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"SHA256:{base64.b64encode(hashlib.sha256(public).digest()).decode()}"


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
