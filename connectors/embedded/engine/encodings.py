"""The compressions of HTTP bodies: what a client sends, and what it accepts."""

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import lz4.frame
import zstandard

from connectors.embedded.engine.errors import QueryError

_GZIP, _ZLIB = zlib.MAX_WBITS | 16, zlib.MAX_WBITS


class Decoder(Protocol):
    """Undoes a compression, piece by piece."""

    def decode(self, data: bytes) -> bytes:
        """The next bytes.

        Raises:
            QueryError: 271, it isn't that compression.
        """
        ...

    def finish(self) -> None:
        """Say that there is no more.

        Raises:
            QueryError: 271, there should be more.
        """
        ...


class Encoder(Protocol):
    """Compresses, piece by piece."""

    def encode(self, data: bytes) -> bytes:
        """The next bytes; may be none yet."""
        ...

    def finish(self) -> bytes:
        """The last bytes."""
        ...


class _Frames:
    """Decodes frames in a row, by a library object per frame: gzip, deflate, LZ4 and zstd all come so."""

    def __init__(self, encoding: str, new_frame: Callable[[], Any]) -> None:
        self._encoding = encoding
        self._new_frame = new_frame
        self._frame: Any = None  # none between two frames

    def decode(self, data: bytes) -> bytes:
        """The next bytes.

        Raises:
            QueryError: 271, it isn't that compression.
        """
        parts = []
        try:
            while data:
                self._frame = self._frame or self._new_frame()
                parts.append(self._frame.decompress(data))
                data = self._frame.unused_data or b""
                if self._frame.eof:
                    self._frame = None
        except (zlib.error, zstandard.ZstdError, RuntimeError) as error:
            raise QueryError(271, "CANNOT_DECOMPRESS", f"{self._encoding} decode failed: {error}") from error
        return b"".join(parts)

    def finish(self) -> None:
        """Say that there is no more.

        Raises:
            QueryError: 271, there should be more.
        """
        if self._frame:
            raise QueryError(271, "CANNOT_DECOMPRESS", f"{self._encoding} decode failed: unexpected end of data")


class _Stream:
    """Encodes with a library object that compresses and flushes."""

    def __init__(self, stream: Any, beginning: bytes = b"") -> None:  # noqa: ANN401
        self._stream = stream
        self._beginning = beginning

    def encode(self, data: bytes) -> bytes:
        """The next bytes; may be none yet."""
        beginning, self._beginning = self._beginning, b""
        return beginning + bytes(self._stream.compress(data))

    def finish(self) -> bytes:
        """The last bytes."""
        return self._beginning + bytes(self._stream.flush())


def _lz4() -> _Stream:
    compressor = lz4.frame.LZ4FrameCompressor()
    return _Stream(compressor, compressor.begin())


_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(_GZIP),
    "x-gzip": lambda: zlib.decompressobj(_GZIP),
    "deflate": lambda: zlib.decompressobj(_ZLIB),
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
# The cheapest first.
_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "lz4": _lz4,
    "zstd": lambda: _Stream(zstandard.ZstdCompressor(level=1).compressobj()),
    "gzip": lambda: _Stream(zlib.compressobj(1, wbits=_GZIP)),
    "deflate": lambda: _Stream(zlib.compressobj(1, wbits=_ZLIB)),
}


def decoding(content_encoding: str) -> list[Decoder]:
    """What a body with this Content-Encoding goes through.

    Raises:
        QueryError: 89, it isn't known.
    """
    name = content_encoding.strip().lower()
    if name in {"", "identity"}:
        return []
    if name not in _DECODERS:
        known = ", ".join(_DECODERS)
        raise QueryError(
            89, "UNKNOWN_COMPRESSION_METHOD", f"Unknown Content-Encoding '{content_encoding}'. Known are: {known}"
        )
    return [_Frames(name, _DECODERS[name])]


def encoding(accept_encoding: str) -> tuple[str, list[Encoder]]:
    """The Content-Encoding for a client with this Accept-Encoding, "" for none, and what the body goes through."""
    accepted = {part.partition(";")[0].strip().lower() for part in accept_encoding.split(",")}
    for name, new in _ENCODERS.items():
        if name in accepted:
            return name, [new()]
    return "", []
