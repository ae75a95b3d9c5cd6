"""Addresses: which belong together, and which a server may send us to."""

import ipaddress
import re
from urllib.parse import SplitResult, urldefrag, urljoin, urlsplit

from grove.exceptions import ConfigurationException, RequestFailedException
from grove.logging import redact

__all__ = ["absolute", "check_base", "escaped", "is_exposed", "next_link", "origin", "same_origin", "shown"]

_PORTS = {"http": 80, "https": 443}
# What an address may consist of: visible ASCII. A backslash is a slash to some and none to others.
_ADDRESS = re.compile(r"[!-\[\]-~]+")
_LONGEST_SHOWN = 200


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host (lower case) and port of an absolute http(s) address; ValueError where it is none.

    Addresses with user names, white space, control or non-ASCII characters or backslashes are refused: programs do
    not agree on what their host is.
    """
    if not _ADDRESS.fullmatch(url):
        raise ValueError("it has characters that no address may have")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("it has no http(s) scheme or no host")
    if "@" in parts.netloc:
        raise ValueError("it has a user name")
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if parts.port is None else parts.port


def same_origin(url: str, base: str) -> bool:
    """Whether both are absolute http(s) addresses with exactly the same scheme, host and port."""
    try:
        return origin(url) == origin(base)
    except ValueError:
        return False


def next_link(base: str, link: str) -> str:
    """The absolute address of `link`, which an answer of `base` contained.

    `link` may be relative, and is otherwise used as it is: nothing in it is decoded. RequestFailedException where it
    is no address or leads to another origin, which must not see the credentials.
    """
    try:
        # Looked at before it is joined: urljoin drops what it does not like.
        if not link:
            raise ValueError("it is empty")
        if not _ADDRESS.fullmatch(link):
            raise ValueError("it has characters that no address may have")
        parts = urlsplit(link)
        if not parts.netloc and (parts.scheme or link.startswith("//")):
            raise ValueError("it names no host where one belongs")
        joined = urldefrag(urljoin(base, link)).url
        if origin(joined) != origin(base):
            raise ValueError(f"it leads to another origin ({_host(urlsplit(joined))})")
    except ValueError as err:
        reason = str(err)
    else:
        return joined
    raise RequestFailedException(f"A link in the answer of {shown(base)} is not followed: {reason}.")


def absolute(base: str | None, url: str) -> str:
    """`url` as it is where it is absolute, else below `base`.

    RequestFailedException where it leaves `base`'s origin, ConfigurationException where it is no address.

    "/events" and "events" below "https://host/api" are both "https://host/api/events".
    """
    if "://" in url.partition("?")[0]:
        joined = url
    elif base is None:
        raise ConfigurationException(f"The address {shown(url)} is relative, and the client has no base address.")
    else:
        joined = f"{base.rstrip('/')}/{url.lstrip('/')}" if url else base
    try:
        origin(joined)
        joined = urldefrag(joined).url
    except ValueError as err:
        reason = str(err)
    else:
        reason = ""
    if reason:
        raise ConfigurationException(f"The address {shown(joined)} cannot be asked: {reason}.")
    if base is not None and not same_origin(joined, base):
        raise RequestFailedException(
            f"{shown(joined)} is not asked: it is not on {shown(base)}, the only origin that may see the credentials."
        )
    return joined


def check_base(base: str) -> str:
    """`base` itself; ConfigurationException where no requests can be sent below it."""
    try:
        origin(base)
        if urlsplit(base).query or "#" in base:
            raise ValueError("it has a query or a fragment")
    except ValueError as err:
        reason = str(err)
    else:
        return base
    raise ConfigurationException(
        f"The address {shown(base)} cannot be used: {reason}. Give one like https://host/path."
    )


def is_exposed(url: str) -> bool:
    """Whether what is sent to the address `url` can be read on the way: plain http, beyond this host."""
    scheme, host, _ = origin(url)
    if scheme == "https" or host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def shown(url: str) -> str:
    """Host and path of `url`, for messages: no user names, no query, no control characters, no registered secret."""
    try:
        parts = urlsplit(url)
        text = f"{_host(parts)}{parts.path}"
    except ValueError:
        text = "(no address)"
    return escaped(redact(text))[:_LONGEST_SHOWN]


def escaped(text: str) -> str:
    """`text` on one line, with what cannot be seen written as an escape."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]
