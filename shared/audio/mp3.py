"""MP3: encoding, and the frames of which it consists.

Sources: ISO 11172-3 and 13818-3 for headers and side information, LAME's tag specification for Info.
"""

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import soundfile

from shared.audio.pcm import Pcm, resample
from shared.errors import BadAudio
from shared.payloads import Mp3Audio, Speech

_MPEG_1, _MPEG_2, _MPEG_2_5 = 3, 2, 0  # the header's version bits
_MONO = 3  # the header's mode bits

_MPEG_1_BITRATES_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2_BITRATES_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES_HZ = {
    _MPEG_1: (44_100, 48_000, 32_000),
    _MPEG_2: (22_050, 24_000, 16_000),
    _MPEG_2_5: (11_025, 12_000, 8_000),
}

_BITRATES_KBPS: dict[int, tuple[int, ...]] = {
    **dict.fromkeys(sorted(_SAMPLE_RATES_HZ[_MPEG_2_5]), _MPEG_2_BITRATES_KBPS[:8]),
    **dict.fromkeys(sorted(_SAMPLE_RATES_HZ[_MPEG_2]), _MPEG_2_BITRATES_KBPS),
    **dict.fromkeys(sorted(_SAMPLE_RATES_HZ[_MPEG_1]), _MPEG_1_BITRATES_KBPS),
}
"""The sample rates of MP3 in Hz, ascending, and the bitrates that LAME encodes each with (up to 64 kbps
for MPEG-2.5, where the standard would allow 160)."""

_LAYER_3_HEADER = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef].", re.DOTALL)
_FRAMES_IN_A_ROW = 3
"""This many make an MP3; two occur by chance in some megabytes of noise."""
_MAX_CANDIDATES = 1_000
"""Tried in one search, so that bytes made to look like headers cannot make it slow."""


def encode_mp3(pcm: Pcm, bitrate_kbps: int = 64) -> Mp3Audio:
    """Encode as MP3 of constant bitrate.

    A sample rate that MP3 does not have is raised to the next one, or lowered to 48 kHz. A bitrate
    that LAME does not have at the sample rate becomes the nearest one, of two the higher: 8–64 kbps
    below 16 kHz, 8–160 kbps below 32 kHz, 32–320 kbps above. LAME lowers the volume by up to 5 %.

    Raises BadAudio if there are no samples.
    """
    rate_hz = next((rate for rate in _BITRATES_KBPS if rate >= pcm.sample_rate_hz), max(_BITRATES_KBPS))
    pcm = resample(pcm, rate_hz)
    if not pcm.num_samples:
        raise BadAudio("There is nothing to encode: the audio holds no samples.")
    mp3 = io.BytesIO()
    with mp3_writer(mp3, rate_hz, bitrate_kbps) as writer:
        writer.write(pcm.samples)
    return Mp3Audio(mp3=mp3.getvalue(), sample_rate_hz=rate_hz, num_samples=pcm.num_samples)


def to_mp3(speech: Speech, bitrate_kbps: int = 64) -> Mp3Audio:
    """The speech as MP3, encoded if it is Pcm. Raises what `encode_mp3` does."""
    return speech if isinstance(speech, Mp3Audio) else encode_mp3(speech, bitrate_kbps)


def mp3_writer(mp3: io.BytesIO, sample_rate_hz: int, bitrate_kbps: int) -> soundfile.SoundFile:
    """An encoder that writes mono float32 samples into `mp3` as `encode_mp3` would; closing it completes
    the MP3. The sample rate must be one of MP3's own.
    """
    bitrates = _BITRATES_KBPS[sample_rate_hz]
    nearest = min(bitrates, key=lambda kbps: (abs(kbps - bitrate_kbps), -kbps))
    lowest, highest = bitrates[0], bitrates[-1]
    return soundfile.SoundFile(
        mp3,
        "w",
        sample_rate_hz,
        channels=1,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=min((highest - nearest) / (highest - lowest), 0.995),  # 1.0 is refused
    )


class Mp3Frames(NamedTuple):
    """An MP3 up to where it ends or is damaged: `mp3` holds whole frames and nothing else.

    `duration_s` includes the encoder's delay and padding. `cut_short` means that more should follow.
    """

    mp3: bytes
    sample_rate_hz: int
    duration_s: float
    cut_short: bool


def intact_frames(data: bytes, max_s: float) -> Mp3Frames | None:
    """The frames with which these bytes begin; None if they are no MP3 (layer III).

    It reads only a little further than `max_s`: a longer MP3 shows by its `duration_s`.
    """
    first = _find(data, 0)
    if first is None:
        return None
    max_frames = int((max_s + 1.0) / first.duration_s) + 1
    frames = list(islice(_successive(data, first), max_frames))
    promised = _promised_frames(data, first)
    found = len(frames) - (promised is not None)  # the Info frame has no sound
    end = frames[-1].end
    cut_short = len(frames) < max_frames and (
        (promised or 0) > found + 1  # some encoders count the Info frame too
        or _find(data, end) is not None
        or ((partial := _frame_at(data, end)) is not None and partial.is_like(first))
    )
    mp3 = data[first.start : end]
    if promised not in (found, found + 1):
        body = mp3 if promised is None else mp3[first.end - first.start :]
        mp3 = _info_frame(data, first, found) + body
    return Mp3Frames(mp3, first.sample_rate_hz, found * first.duration_s, cut_short)


def first_frame_bytes(mp3: bytes) -> int:
    """The size of the frame with which an MP3 begins. Raises ValueError if it begins otherwise."""
    frame = _frame_at(mp3, 0)
    if frame is None:
        raise ValueError("The MP3 does not begin with a frame.")
    return frame.end


class _Frame(NamedTuple):
    start: int
    end: int
    version: int
    sample_rate_hz: int
    num_samples: int
    mono: bool
    main_data: int  # where it begins, behind the side information

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate_hz

    def is_like(self, other: "_Frame") -> bool:
        """Whether both can be of one MP3, in which the bitrate may change."""
        return self.sample_rate_hz == other.sample_rate_hz and self.mono == other.mono


def _frame_at(data: bytes, start: int) -> _Frame | None:
    """The frame with its header at `start`; its end may lie beyond the data."""
    if not _LAYER_3_HEADER.match(data, start):
        return None
    _, version_bits, rate_bits, mode_bits = data[start : start + 4]
    version, rate_index, mono = version_bits >> 3 & 3, rate_bits >> 2 & 3, mode_bits >> 6 == _MONO
    if rate_index == 3:
        return None
    sample_rate_hz = _SAMPLE_RATES_HZ[version][rate_index]
    if version == _MPEG_1:
        num_samples, bitrates_kbps, side_info_size = 1152, _MPEG_1_BITRATES_KBPS, 17 if mono else 32
    else:
        num_samples, bitrates_kbps, side_info_size = 576, _MPEG_2_BITRATES_KBPS, 9 if mono else 17
    size = num_samples * 125 * bitrates_kbps[(rate_bits >> 4) - 1] // sample_rate_hz + (rate_bits >> 1 & 1)
    main_data = start + (4 if version_bits & 1 else 6) + side_info_size  # a checksum may come first
    return _Frame(start, start + size, version, sample_rate_hz, num_samples, mono, main_data)


def _successive(data: bytes, first: _Frame) -> Iterator[_Frame]:
    frame: _Frame | None = first
    while frame and frame.end <= len(data) and frame.is_like(first):
        yield frame
        frame = _frame_at(data, frame.end)


def _find(data: bytes, start: int) -> _Frame | None:
    """The first frame that others follow, _FRAMES_IN_A_ROW in all or up to the end of the data."""
    for header in islice(_LAYER_3_HEADER.finditer(data, start), _MAX_CANDIDATES):
        if frame := _frame_at(data, header.start()):
            row = list(islice(_successive(data, frame), _FRAMES_IN_A_ROW))
            if len(row) == _FRAMES_IN_A_ROW or (row and row[-1].end == len(data)):
                return frame
    return None


def _promised_frames(data: bytes, first: _Frame) -> int | None:
    """How many frames are to follow `first`, if that is an Info frame which says so."""
    tag, flags, count = (data[first.main_data + at : first.main_data + at + 4] for at in (0, 4, 8))
    if tag in (b"Xing", b"Info") and int.from_bytes(flags) & 1:
        return int.from_bytes(count)
    return None


def _info_frame(data: bytes, like: _Frame, num_frames: int) -> bytes:
    """A first frame that says how many follow: libsndfile would guess from their bitrate, and stop there."""
    _, version_bits, rate_bits, mode_bits = data[like.start : like.start + 4]
    bitrates = _MPEG_1_BITRATES_KBPS if like.version == _MPEG_1 else _MPEG_2_BITRATES_KBPS
    roomy = bitrates.index(64) + 1
    header = bytes((0xFF, version_bits | 1, roomy << 4 | rate_bits & 0b1100, mode_bits))
    frame = _frame_at(header, 0)
    assert frame
    tag = b"Xing" + (1).to_bytes(4) + num_frames.to_bytes(4)
    return (header + bytes(frame.main_data - len(header)) + tag).ljust(frame.end, b"\0")
