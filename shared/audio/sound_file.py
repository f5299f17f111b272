"""Sound files in memory, read by libsndfile: WAV, FLAC, Ogg, AIFF, CAF, AU, MP3.

No header is trusted: samples are read block by block, up to a limit, and checked.
"""

import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from math import ceil

import numpy as np
import soundfile
from numpy.typing import NDArray

from shared.audio.pcm import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ, Pcm
from shared.errors import BadAudio, TooLong

logger = logging.getLogger(__name__)

MAX_CHANNELS = 32
_BLOCK_FRAMES = 65_536


def read_mono(data: bytes, max_s: float) -> Pcm:
    """The sound of a file, its channels averaged, at its own sample rate; samples beyond ±1 are clipped.

    What comes before damage is returned, and a warning logged. Raises BadAudio if libsndfile cannot read
    the file, its rate or channels are none of recorded speech, or samples are no numbers; TooLong once
    more than `max_s` has been read.
    """
    try:
        with _SequentialFile(_Bytes(data)) as file:
            _check_header(file)
            return Pcm(_read(file, ceil(max_s * file.samplerate)), file.samplerate)
    except soundfile.LibsndfileError:
        raise BadAudio(
            "The audio file is damaged, or of an encoding that is not supported: "
            "export it again as WAV or MP3."
        ) from None


class _Bytes(io.BytesIO):
    """libsndfile seeks to before the start of some damaged files. Raised in its callback, the ValueError
    would not reach us, but standard error."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with suppress(ValueError):
            super().seek(offset, whence)
        return self.tell()


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """Only reads on. soundfile seeks after each read, which makes libmpg123 forget the frames that the
    next one borrows from (a dropout at each block), and fails on FLAC of unknown length."""

    def seekable(self) -> bool:
        return False


def _check_header(file: soundfile.SoundFile) -> None:
    if not MIN_SAMPLE_RATE_HZ <= file.samplerate <= MAX_SAMPLE_RATE_HZ:
        raise BadAudio(
            f"A sample rate of {file.samplerate} Hz is not one of recorded speech: export it again."
        )
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise BadAudio(f"{file.channels} channels are too many: export the audio as mono.")


def _read(file: soundfile.SoundFile, max_frames: int) -> NDArray[np.float32]:
    pieces: list[NDArray[np.float32]] = []
    num_frames = 0
    for block in _blocks(file):
        pieces.append(_mono(block))
        num_frames += len(block)
        if num_frames > max_frames:
            limit_s = max_frames / file.samplerate
            raise TooLong(f"The audio is longer than {limit_s:g} s: send a shorter part of it.")
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32)


def _blocks(file: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    """Frames by channels, in one array that is used again for each block."""
    block = np.empty((_BLOCK_FRAMES, file.channels), np.float32)
    num_frames = 0
    try:
        while frames := len(file.read(out=block)):
            yield block[:frames]
            num_frames += frames
    except soundfile.LibsndfileError:
        intact = int(file.tell())
        if not intact:
            raise
        logger.warning("The audio is damaged after %.1f s: what follows is lost.", intact / file.samplerate)
        yield block[: max(0, intact - num_frames)]


def _mono(block: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(block).all():
        raise BadAudio("The audio holds samples that are no numbers (NaN or infinity): export it again.")
    mono: NDArray[np.float32] = np.clip(block.T, -1.0, 1.0, order="C").mean(
        axis=0
    )  # 10 times axis=1 of block
    return mono
