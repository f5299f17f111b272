"""WAV written to a pipe, whose header was never completed."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_RIFF_HEADER_BYTES = 12
_CHUNK_HEADER_BYTES = 8
_CHUNK_NAME = re.compile(rb"[ -~]{4}")
_MAX_CHUNKS = 100


def with_real_length(wav: bytes) -> bytes:
    """The WAV with the length of its samples filled in, where its header says 0 and samples follow.

    libsndfile believes a 0, while it takes a length that is too large for "up to the end". A file that
    really holds no samples, but perhaps chunks of something else after them, is left as it is.
    """
    order: _ByteOrder = "big" if wav[:4] == b"RIFX" else "little"
    data = next((chunk for chunk in _chunks(wav, _RIFF_HEADER_BYTES, order) if chunk.name == b"data"), None)
    if data is None or data.size or data.end >= len(wav) or _is_made_of_chunks(wav, data.end, order):
        return wav
    size = (len(wav) - data.end).to_bytes(4, order)
    return wav[: data.end - len(size)] + size + wav[data.end :]


_ByteOrder = Literal["big", "little"]


class _Chunk(NamedTuple):
    name: bytes
    size: int
    end: int


def _chunks(wav: bytes, start: int, order: _ByteOrder) -> Iterator[_Chunk]:
    for _ in range(_MAX_CHUNKS):
        if start >= len(wav):
            return
        body = start + _CHUNK_HEADER_BYTES
        size = int.from_bytes(wav[start + 4 : body], order)
        start = body + size + size % 2
        yield _Chunk(wav[body - _CHUNK_HEADER_BYTES : body - 4], size, start)


def _is_made_of_chunks(wav: bytes, start: int, order: _ByteOrder) -> bool:
    end = start
    for chunk in _chunks(wav, start, order):
        if not _CHUNK_NAME.fullmatch(chunk.name):
            return False
        end = chunk.end
    return end in (len(wav), len(wav) + 1)  # the last one's padding is often missing
