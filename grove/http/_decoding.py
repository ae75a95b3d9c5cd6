"""Bodies without their content encoding, and within limits, however much was packed into them."""

import zlib
from collections.abc import Iterable, Iterator

__all__ = ["ACCEPTED", "BodyLimitError", "CutError", "EncodingError", "decoded"]

ACCEPTED = "gzip, deflate"
"""The encodings to ask for."""

_PIECE = 1 << 16
# A small body may be packed as well as it likes.
_HARMLESS = 1 << 20


class BodyLimitError(Exception):
    """A body is longer, or was packed more tightly, than is allowed; the text says which."""


class EncodingError(Exception):
    """A body is not in the encoding that its header names."""


class CutError(Exception):
    """A body ends before its encoding does."""


def decoded(chunks: Iterable[bytes], encoding: str, limit: int, ratio: float) -> Iterator[bytes]:
    """The body that arrives as `chunks`, encoded as its Content-Encoding header says, in pieces of 64 KiB at most.

    BodyLimitError beyond `limit` bytes, or beyond 1 MiB where more than `ratio` bytes come out of each that went in;
    nothing is unpacked that far ahead. EncodingError and CutError where it is not what it says.
    """
    received = produced = 0
    decoder = _decoder(encoding)
    for chunk in chunks:
        received += len(chunk)
        for piece in decoder.feed(chunk) if decoder else (chunk,):
            produced += len(piece)
            if produced > limit:
                raise BodyLimitError(f"its body is longer than {limit:,} bytes")
            if produced > max(_HARMLESS, ratio * received):
                raise BodyLimitError(f"its body grows to more than {ratio:g} times its size when it is unpacked")
            yield piece
    if decoder and received and not decoder.finished:
        raise CutError


class _Inflate:
    """Undoes gzip (any number of members) and deflate (with the zlib header that it should have, or without)."""

    def __init__(self, gzip: bool) -> None:
        self._gzip = gzip
        self._engine = zlib.decompressobj(zlib.MAX_WBITS | 16) if gzip else None
        self._start = b""
        self._members = 0
        self.finished = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` adds to the body, in bounded pieces."""
        if self._engine is None:
            self._start += data
            if len(self._start) < 2:
                return
            data = self._start
            # The header of RFC 1950 is a multiple of 31 and names method 8.
            has_header = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._engine = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        while data or not self.finished:
            if self.finished:
                # What follows the last member is padding, and another one only if it looks like it.
                if not self._gzip or not data.startswith(b"\x1f"):
                    return
                self._engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
                self.finished = False
            try:
                piece = self._engine.decompress(data, _PIECE)
            except zlib.error as err:
                raise EncodingError("its body is not in the encoding that it names") from err
            if piece:
                yield piece
            self.finished = self._engine.eof
            data = self._engine.unused_data if self.finished else self._engine.unconsumed_tail
            if not data and not self.finished and len(piece) < _PIECE:
                return


def _decoder(encoding: str) -> _Inflate | None:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name in ("gzip", "x-gzip", "deflate"):
        return _Inflate(gzip=name != "deflate")
    raise EncodingError("its body is in an encoding that was not asked for")
