"""A credential in a file of its own, however it came there."""

import logging
from pathlib import Path

from grove.exceptions import AccessException, DataFormatException, NotFoundException

__all__ = ["read", "trimmed"]


def read(path: Path, logger: logging.Logger) -> str:
    """The file's text without trailing white space, with a warning where others may change it.

    NotFoundException, AccessException, or DataFormatException where it is empty or not UTF-8.
    """
    try:
        data = path.read_bytes()
        mode = path.stat().st_mode
    except FileNotFoundError as err:
        raise NotFoundException(f"There is no file {str(path)!r}.") from err
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        raise AccessException(f"The file {str(path)!r} cannot be read: {reason}.") from err
    if mode & 0o022:
        logger.warning("Others may change this secret; take their write permission away.", extra={"path": str(path)})
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: the error carries the secret.
        raise DataFormatException(f"The file {str(path)!r} is not UTF-8 text.") from None
    return trimmed(text, f"The file {str(path)!r}")


def trimmed(text: str, place: str) -> str:
    """`text` without trailing white space; DataFormatException where nothing is left, which names the `place`."""
    value = text.rstrip()
    if not value:
        raise DataFormatException(f"{place} is empty.")
    return value
