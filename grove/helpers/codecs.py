"""How the lines of a delivered object are compressed."""

from __future__ import annotations

import sys
import zlib
from typing import Any, Protocol

from grove.exceptions import ConfigurationException

isal_zlib: Any
try:
    from isal import isal_zlib
except ImportError:  # isal has no build for this platform
    isal_zlib = None

__all__ = ["GZIP", "Codec", "Compressor", "Gzip", "Plain", "Zstd"]


class Compressor(Protocol):
    """Compresses one object, piece by piece. The interpreter is free meanwhile."""

    def compress(self, data: Any, /) -> bytes:
        """What `data` adds to the object, as far as it is known yet."""

    def flush(self) -> bytes:
        """The end of the object."""


class Codec(Protocol):
    """A way to compress; `suffix` is how the names of its objects end, `content_type` their media type."""

    suffix: str
    content_type: str

    def compressor(self) -> Compressor:
        """For a new object."""

    def pack(self, data: Any) -> bytes:
        """A whole object of `data`, any buffer of bytes."""

    def decompress(self, data: bytes) -> bytes:
        """What was packed."""


class Gzip:
    """One gzip member without name or time, for any reader of gzip; `level` is 0 to 3 (smallest).

    ValueError for another level.
    """

    suffix = ".gz"
    content_type = "application/gzip"

    # What comes near to isal's levels.
    _ZLIB_LEVELS = (1, 1, 4, 6)

    def __init__(self, level: int = 1) -> None:
        if not 0 <= level <= 3:
            raise ValueError(f"The gzip level is {level}; it has to be 0, 1, 2 or 3.")
        self.level = level

    def compressor(self) -> Compressor:
        """For a new object."""
        if isal_zlib is not None:
            made: Compressor = isal_zlib.compressobj(self.level, zlib.DEFLATED, 31)
            return made
        return zlib.compressobj(self._ZLIB_LEVELS[self.level], zlib.DEFLATED, 31)

    def pack(self, data: Any) -> bytes:
        """`data` as one member."""
        compressor = self.compressor()
        return compressor.compress(data) + compressor.flush()

    def decompress(self, data: bytes) -> bytes:
        """What the one member in `data` holds."""
        found: bytes = (isal_zlib or zlib).decompress(data, 31)
        return found


class Zstd:
    """One Zstandard frame with a checksum; `level` is 1 to 19 (smallest). ConfigurationException without the library.

    ValueError for another level.
    """

    suffix = ".zst"
    content_type = "application/zstd"

    def __init__(self, level: int = 3) -> None:
        if not 1 <= level <= 19:
            raise ValueError(f"The zstd level is {level}; it has to be from 1 to 19.")
        self.level = level
        self._zstd = _zstd()

    def compressor(self) -> Compressor:
        """For a new object."""
        parameters = self._zstd.CompressionParameter
        options = {parameters.compression_level: self.level, parameters.checksum_flag: 1}
        made: Compressor = self._zstd.ZstdCompressor(options=options)
        return made

    def pack(self, data: Any) -> bytes:
        """`data` as one frame."""
        compressor = self.compressor()
        return compressor.compress(data) + compressor.flush()

    def decompress(self, data: bytes) -> bytes:
        """What the frame in `data` holds."""
        found: bytes = self._zstd.decompress(data)
        return found


class Plain:
    """The lines as they are."""

    suffix = ""
    content_type = "application/x-ndjson"

    def compressor(self) -> Compressor:
        """For a new object."""
        return self

    def compress(self, data: Any, /) -> bytes:
        """`data` itself."""
        return bytes(data)

    def flush(self) -> bytes:
        """Nothing."""
        return b""

    def pack(self, data: Any) -> bytes:
        """`data` itself."""
        return bytes(data)

    def decompress(self, data: bytes) -> bytes:
        """`data` itself."""
        return data


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as err:
        raise ConfigurationException("Zstandard needs a package that is missing: pip install 'grove[zstd]'") from err
    return zstd


GZIP = Gzip()
"""What is used where nothing else is asked for."""
