"""The frames of an MP3: where they are, and which of them can still be played.

libsndfile stops without a word, or refuses the file, where more than a kilobyte is damaged. Here the
whole frames before and after the damage are found, so that it is given nothing but these.
Sources: ISO 11172-3 and 13818-3 for header and side information, LAME's tag specification for Info.
"""

import re
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import NamedTuple

_MPEG_1, _MPEG_2, _MPEG_2_5 = 3, 2, 0  # the header's version bits
_MONO = 3  # the header's mode bits

_MPEG_1_BITRATES_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2_BITRATES_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES_HZ = {
    _MPEG_1: (44_100, 48_000, 32_000),
    _MPEG_2: (22_050, 24_000, 16_000),
    _MPEG_2_5: (11_025, 12_000, 8_000),
}

MP3_BITRATES_KBPS: dict[int, tuple[int, ...]] = {
    **dict.fromkeys(sorted(_SAMPLE_RATES_HZ[_MPEG_2_5]), _MPEG_2_BITRATES_KBPS[:8]),
    **dict.fromkeys(sorted(_SAMPLE_RATES_HZ[_MPEG_2]), _MPEG_2_BITRATES_KBPS),
    **dict.fromkeys(sorted(_SAMPLE_RATES_HZ[_MPEG_1]), _MPEG_1_BITRATES_KBPS),
}
"""The sample rates of MP3 in Hz, ascending, and the bitrates that LAME encodes each with (up to 64 kbps
for MPEG-2.5, where the standard would allow 160)."""

_LAYER_3_HEADER = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef].", re.DOTALL)
_FRAMES_AT_START = 3
"""So many frames in a row make an MP3; two occur by chance in some megabytes of noise."""
_FRAMES_AFTER_DAMAGE = 2
_START_WITHIN_BYTES = 2**20
_MAX_CANDIDATES = 1_000
"""Looked at in one search, so that bytes made to look like headers cannot make it slow."""
_MAX_RUNS = 100


class Mp3Frames(NamedTuple):
    """What can be played of an MP3: `mp3` holds whole frames and nothing else.

    `duration_s` is their length with the encoder's delay and padding. `lost_s` above 0 means that the
    MP3 is damaged or cut short, and that about so much is missing.
    """

    mp3: bytes
    sample_rate_hz: int
    duration_s: float
    lost_s: float


def playable_frames(data: bytes, max_s: float) -> Mp3Frames | None:
    """What can be played of these bytes; None if they are no MP3 (layer III).

    It looks only a little further than `max_s`: a longer MP3 shows by its `duration_s`.
    """
    runs = _runs(data, max_s + 1.0)
    if not runs:
        return None
    first, last = runs[0][0], runs[-1][-1]
    gaps = sum(after[0].start - before[-1].end for before, after in pairwise(runs))
    promised = _promised_frames(data, first)
    if promised is not None:
        runs[0].pop(0)  # the Info frame, which has no sound
    found = sum(map(len, runs))
    lost = _lost_frames(data, last, gaps, None if promised is None else promised - found)
    if not lost and promised in (found, found + 1):
        mp3 = data[first.start : last.end]
    else:
        mp3 = _info_frame(data, first, found) + b"".join(part for run in runs for part in _played(data, run))
    return Mp3Frames(mp3, first.sample_rate_hz, found * first.duration_s, lost * first.duration_s)


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
    side_info: int
    main_data: int
    borrowed: int  # bytes of earlier frames' main data that it needs

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
    side_info = start + (4 if version_bits & 1 else 6)  # a checksum may come first
    borrowed = int.from_bytes(data[side_info : side_info + 2]) >> (7 if version == _MPEG_1 else 8)
    main_data = side_info + side_info_size
    return _Frame(
        start, start + size, version, sample_rate_hz, num_samples, mono, side_info, main_data, borrowed
    )


def _runs(data: bytes, max_s: float) -> list[list[_Frame]]:
    """Frames that follow one another without a gap, and again after each gap."""
    runs: list[list[_Frame]] = []
    frame = _find(data, 0, _START_WITHIN_BYTES, _FRAMES_AT_START)
    while frame and max_s > 0.0 and len(runs) < _MAX_RUNS:
        runs.append(list(islice(_successive(data, frame), int(max_s / frame.duration_s) + 1)))
        max_s -= len(runs[-1]) * frame.duration_s
        frame = _find(data, runs[-1][-1].end, len(data), _FRAMES_AFTER_DAMAGE, like=frame)
    for run in runs[:-1]:
        if len(run) > 1:
            run.pop()  # the damage may have begun inside it
    return runs


def _successive(data: bytes, first: _Frame) -> Iterator[_Frame]:
    frame: _Frame | None = first
    while frame and frame.end <= len(data) and frame.is_like(first):
        yield frame
        frame = _frame_at(data, frame.end)


def _find(data: bytes, start: int, stop: int, count: int, like: _Frame | None = None) -> _Frame | None:
    """The first frame that is followed by others, `count` in all or up to the end of the data."""
    for header in islice(_LAYER_3_HEADER.finditer(data, start, stop), _MAX_CANDIDATES):
        frame = _frame_at(data, header.start())
        if frame and (like is None or frame.is_like(like)):
            chain = list(islice(_successive(data, frame), count))
            if len(chain) == count or (chain and chain[-1].end == len(data)):
                return frame
    return None


def _promised_frames(data: bytes, first: _Frame) -> int | None:
    """How many frames are to follow `first`, if that is an Info frame which says so."""
    tag, flags, count = (data[first.main_data + at : first.main_data + at + 4] for at in (0, 4, 8))
    if tag in (b"Xing", b"Info") and int.from_bytes(flags) & 1:
        return int.from_bytes(count)
    return None


def _lost_frames(data: bytes, last: _Frame, gaps: int, missing: int | None) -> int:
    """About how many frames are lost. `gaps` is in bytes; `missing` are frames that Info promised."""
    after_last = _frame_at(data, last.end)
    cut_short = after_last is not None and after_last.is_like(last)
    if not gaps and not cut_short and (missing or 0) <= 1:  # some encoders count the Info frame too
        return 0
    return max(1, gaps // (last.end - last.start) if missing is None else missing)


def _info_frame(data: bytes, like: _Frame, num_frames: int) -> bytes:
    """A first frame that says how many follow: libsndfile would guess from their bitrate, and stop there."""
    _, version_bits, rate_bits, mode_bits = data[like.start : like.start + 4]
    bitrates = _MPEG_1_BITRATES_KBPS if like.version == _MPEG_1 else _MPEG_2_BITRATES_KBPS
    roomy = bitrates.index(64) + 1
    header = bytes((0xFF, version_bits | 1, roomy << 4 | rate_bits & 0b1100, mode_bits))
    frame = _frame_at(header + bytes(2), 0)
    assert frame
    tag = b"Xing" + (1).to_bytes(4) + num_frames.to_bytes(4)
    return (header + bytes(frame.main_data - len(header)) + tag).ljust(frame.end, b"\0")


def _played(data: bytes, run: list[_Frame]) -> Iterator[bytes]:
    """The frames of a run. What borrows from lost frames would play as noise, often loud, so it is
    muted; frames after it can still borrow from it."""
    lent = 0
    for frame in run:
        yield data[frame.start : frame.end] if frame.borrowed <= lent else _muted(data, frame)
        lent += frame.end - frame.main_data


def _muted(data: bytes, frame: _Frame) -> bytes:
    """The frame with no sound: of its side information only what it borrows is left."""
    size = frame.main_data - frame.side_info
    borrows = 0xFF80 if frame.version == _MPEG_1 else 0xFF00
    kept = int.from_bytes(data[frame.side_info : frame.side_info + 2]) & borrows
    side_info = kept.to_bytes(2) + bytes(size - 2)
    return data[frame.start : frame.side_info] + side_info + data[frame.main_data : frame.end]
