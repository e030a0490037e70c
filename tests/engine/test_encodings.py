"""Compression: every way there and back, however the bytes are cut, and never a part for the whole."""

import gzip
import zlib

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from connectors.embedded.engine.blocks import BlockDecoder, BlockEncoder
from connectors.embedded.engine.encodings import Decoder, Encoder, decoding, encoding
from connectors.embedded.engine.errors import QueryError

PACK = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "": bytes,
}
METHODS = ["LZ4", "ZSTD", "NONE"]
pieces = st.lists(st.binary(max_size=200), max_size=5)


def packed(encoder: Encoder, parts: list[bytes]) -> bytes:
    return b"".join([encoder.encode(part) for part in parts]) + encoder.finish()


def unpacked(decoders: list[Decoder], data: bytes, step: int) -> bytes:
    parts = []
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        for decoder in decoders:
            piece = decoder.decode(piece)
        parts.append(piece)
    for decoder in decoders:
        decoder.finish()
    return b"".join(parts)


@given(st.sampled_from(sorted(PACK)), pieces, st.integers(1, 50))
def test_requests_are_decoded_frame_after_frame(name: str, parts: list[bytes], step: int) -> None:
    data = b"".join(PACK[name](part) for part in parts)

    assert unpacked(decoding(name), data, step) == b"".join(parts)


@given(st.sampled_from(["gzip", "deflate", "lz4", "zstd"]), pieces)
def test_responses_come_back_the_same(name: str, parts: list[bytes]) -> None:
    chosen, encoders = encoding(f"br, {name};q=0.5")

    assert chosen == name
    assert unpacked(decoding(name), packed(encoders[0], parts), 1 << 20) == b"".join(parts)


@given(st.sampled_from(METHODS), pieces, st.integers(1, 50))
def test_blocks_come_back_the_same(method: str, parts: list[bytes], step: int) -> None:
    assert unpacked([BlockDecoder()], packed(BlockEncoder(method), parts), step) == b"".join(parts)


def test_large_data_is_cut_into_blocks() -> None:
    data = bytes(range(256)) * 10_000

    assert unpacked([BlockDecoder()], packed(BlockEncoder("LZ4"), [data]), 100_000) == data


@pytest.mark.parametrize("name", ["gzip", "deflate", "lz4", "zstd"])
def test_half_a_body_is_an_error(name: str) -> None:
    with pytest.raises(QueryError, match="271"):
        unpacked(decoding(name), PACK[name](b"rows" * 100)[:-3], 10)


@pytest.mark.parametrize("name", ["gzip", "deflate", "lz4", "zstd"])
def test_another_body_is_an_error(name: str) -> None:
    with pytest.raises(QueryError, match="271"):
        unpacked(decoding(name), b"INSERT INTO t VALUES (1)", 10)


def test_a_damaged_block_is_an_error() -> None:
    good = packed(BlockEncoder("LZ4"), [b"rows" * 100])

    with pytest.raises(QueryError, match="40"):
        unpacked([BlockDecoder()], good[:-1] + b"x", 100)
    with pytest.raises(QueryError, match="271"):
        unpacked([BlockDecoder()], good[:-1], 100)
    with pytest.raises(QueryError, match="271"):
        unpacked([BlockDecoder()], b"x" * 100, 100)


def test_unknown_names() -> None:
    assert encoding("identity") == ("", [])
    with pytest.raises(QueryError, match="89"):
        decoding("br")
    with pytest.raises(QueryError, match="89"):
        BlockEncoder("SNAPPY")
