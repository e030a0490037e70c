"""ClickHouse's own compression (`compress=1`, `decompress=1`), which JDBC and clickhouse-go use over HTTP.

A stream of blocks: 16 bytes checksum (CityHash128 of all that follows), 1 byte method, 4 bytes size of what follows the
checksum, 4 bytes size decompressed, data.
"""

import struct
from collections.abc import Callable

import lz4.block
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from connectors.embedded.engine.errors import QueryError

_CHECKSUM = struct.Struct("<QQ")
_HEADER = struct.Struct("<BII")
_NONE, _LZ4, _ZSTD = 0x02, 0x82, 0x90
_BLOCK = 1 << 20
_MOST = 256 << 20  # of bytes in one block, either way


def _lz4(data: bytes) -> bytes:
    return bytes(lz4.block.compress(data, store_size=False))


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


_METHODS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "LZ4": (_LZ4, _lz4),
    "LZ4HC": (_LZ4, _lz4),
    "ZSTD": (_ZSTD, _zstd),
    "NONE": (_NONE, bytes),
}


class BlockEncoder:
    """Compresses into blocks of at most a megabyte.

    Args:
        method: LZ4, ZSTD or NONE.

    Raises:
        QueryError: 89, none of those.
    """

    def __init__(self, method: str) -> None:
        if method not in _METHODS:
            raise QueryError(89, "UNKNOWN_COMPRESSION_METHOD", f"Unknown compression method '{method}'")
        self._byte, self._compress = _METHODS[method]

    def encode(self, data: bytes) -> bytes:
        """The data as complete blocks."""
        return b"".join(self._block(data[start : start + _BLOCK]) for start in range(0, len(data), _BLOCK))

    def finish(self) -> bytes:
        """Nothing: a block is never kept back."""
        return b""

    def _block(self, data: bytes) -> bytes:
        packed = self._compress(data)
        body = _HEADER.pack(self._byte, _HEADER.size + len(packed), len(data)) + packed
        return _checksum(body) + body


class BlockDecoder:
    """Takes the blocks apart again."""

    def __init__(self) -> None:
        self._kept = b""

    def decode(self, data: bytes) -> bytes:
        """The content of the blocks that are complete by now.

        Raises:
            QueryError: 40, 89 or 271: a block is damaged.
        """
        data = self._kept + data
        parts = []
        start = 0
        while len(data) - start >= _CHECKSUM.size + _HEADER.size:
            method, size, content_size = _HEADER.unpack_from(data, start + _CHECKSUM.size)
            if size < _HEADER.size or max(size, content_size) > _MOST:
                raise QueryError(271, "CANNOT_DECOMPRESS", f"Wrong sizes of a compressed block: {size}, {content_size}")
            end = start + _CHECKSUM.size + size
            if len(data) < end:
                break
            body = data[start + _CHECKSUM.size : end]
            if _checksum(body) != data[start : start + _CHECKSUM.size]:
                raise QueryError(40, "CHECKSUM_DOESNT_MATCH", "Checksum doesn't match: corrupted data")
            parts.append(_content(method, body[_HEADER.size :], content_size))
            start = end
        self._kept = data[start:]
        return b"".join(parts)

    def finish(self) -> None:
        """Say that there is no more.

        Raises:
            QueryError: 271, the last block isn't complete.
        """
        if self._kept:
            raise QueryError(271, "CANNOT_DECOMPRESS", "Unexpected end of a compressed block")


def _checksum(body: bytes) -> bytes:
    number = CityHash128(body)
    return _CHECKSUM.pack(number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF)


def _content(method: int, packed: bytes, size: int) -> bytes:
    try:
        if method == _LZ4:
            return bytes(lz4.block.decompress(packed, uncompressed_size=size))
        if method == _ZSTD:
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
        if method == _NONE:
            return packed
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise QueryError(271, "CANNOT_DECOMPRESS", f"Cannot decompress a block: {error}") from error
    raise QueryError(89, "UNKNOWN_COMPRESSION_METHOD", f"Unknown compression method of a block: {method:#x}")
