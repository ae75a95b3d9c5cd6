"""A certificate authority of our own, and servers with its certificates, good and bad."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@cache
def key(number: int = 0) -> RSAPrivateKey:
    """An RSA key; a different one for each number."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def pem(private: RSAPrivateKey) -> str:
    """The key as unencrypted PKCS#8."""
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class Authority:
    """Issues certificates for names and addresses; its own is in the file `path`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "authority.pem"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of the tests")])
        certificate = self._certificate(self._name, key(0), key(0), None, authority=True)
        self.path.write_bytes(certificate.public_bytes(Encoding.PEM))

    def server(
        self,
        host: str,
        *,
        self_signed: bool = False,
        expired: bool = False,
        most: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> ssl.SSLContext:
        """What a server called `host` is to use; `most` is the newest version of TLS that it speaks."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        issuer = name if self_signed else self._name
        signer = key(1) if self_signed else key(0)
        certificate = self._certificate(name, key(1), signer, host, issuer=issuer, expired=expired)
        path = self._folder / f"server-{host}.pem"
        path.write_text(certificate.public_bytes(Encoding.PEM).decode() + pem(key(1)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_ciphers("ALL:@SECLEVEL=0")
        if most is not ssl.TLSVersion.MAXIMUM_SUPPORTED:
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = most
        return context

    def _certificate(
        self,
        subject: x509.Name,
        own: RSAPrivateKey,
        signer: RSAPrivateKey,
        host: str | None,
        *,
        issuer: x509.Name | None = None,
        authority: bool = False,
        expired: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=-1 if expired else 30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if authority:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        return builder.sign(signer, SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
