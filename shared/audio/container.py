"""Which container audio bytes are in, by their first bytes."""

import re
from typing import NamedTuple


class Container(NamedTuple):
    """A kind of audio file. `ffmpeg_demuxer` is None where libsndfile reads it."""

    name: str
    ffmpeg_demuxer: str | None = None


_SIGNATURES = (
    (rb"(RIFF|RIFX|RF64)....WAVE", Container("WAV")),
    (rb"fLaC", Container("FLAC")),
    (rb"OggS", Container("Ogg")),
    (rb"FORM....AIF[FC]", Container("AIFF")),
    (rb"caff", Container("CAF")),
    (rb"\.snd", Container("AU")),
    (rb"....ftyp", Container("M4A", "mp4")),
    (rb"\x1a\x45\xdf\xa3", Container("WebM", "matroska")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", Container("WMA", "asf")),
    (rb"\xff[\xf0\xf1\xf8\xf9]", Container("AAC", "aac")),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), container) for pattern, container in _SIGNATURES)

_ID3_HEADER_BYTES = 10


def container_of(data: bytes) -> Container | None:
    """The container that the bytes begin with; None for anything else, MP3 among it."""
    return next((container for pattern, container in _PATTERNS if pattern.match(data)), None)


def without_id3(data: bytes) -> bytes:
    """The bytes after an ID3v2 tag, which may come before any kind of audio."""
    if data[:3] != b"ID3":
        return data
    size = 0
    for seven_bits in data[6:_ID3_HEADER_BYTES]:
        size = size << 7 | seven_bits
    return data[_ID3_HEADER_BYTES + size :]
