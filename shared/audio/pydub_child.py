"""Decodes audio from standard input to a 16-bit WAV on standard output, with pydub and ffmpeg.

A program of its own, run by `shared.audio.foreign`: pydub waits for ffmpeg without a time limit, and
importing it warns. Nothing else imports this module.
"""

import io
import resource
import sys
from contextlib import suppress

from pydub import AudioSegment, audio_segment

_MAX_MEMORY_BYTES = 4 * 2**30
"""A small file can hold minutes of silence in hundreds of channels."""

_INPUT = "/dev/stdin"
"""The very name by which ffmpeg knows that it must not read its keyboard commands from there."""


def main(ffmpeg: str, demuxer: str, max_s: str) -> None:
    """Decode up to `max_s` (whole seconds) with ffmpeg's `demuxer`, which is not left to guess: some of
    them open other files."""
    _limit(resource.RLIMIT_AS, _MAX_MEMORY_BYTES)
    _limit(resource.RLIMIT_FSIZE, 0)  # nothing is written to disk
    AudioSegment.converter = ffmpeg
    audio_segment.mediainfo_json = lambda *_, **__: None  # ffprobe, which would guess
    segment = AudioSegment.from_file(_INPUT, format=demuxer, duration=int(max_s))
    wav = io.BytesIO()
    segment.export(wav, format="wav")
    sys.stdout.buffer.write(wav.getbuffer())


def _limit(what: int, most: int) -> None:
    """For this process and its children, where the system has such a limit and it is not lower yet."""
    with suppress(ValueError):
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main(*sys.argv[1:])
