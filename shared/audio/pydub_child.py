"""Decodes audio from standard input to a mono 16-bit WAV on standard output, with pydub and ffmpeg.

A program of its own, run by `shared.audio.ffmpeg`: pydub waits for ffmpeg without a time limit, and
importing it warns. Nothing else imports this module.
"""

import io
import json
import os
import resource
import subprocess
import sys
from contextlib import suppress

from pydub import AudioSegment, audio_segment

_MAX_MEMORY_BYTES = 2 * 2**30
_MAX_DECODED_BYTES = 100 * 10**6
"""Two minutes of eight channels. A small file can hold minutes of silence in hundreds of channels."""

_INPUT = "/dev/stdin"
"""The very name by which ffmpeg knows that it must not read its keyboard commands from there."""


def main(demuxer: str, max_s: float, decoded_s: int) -> None:
    """Decode up to `decoded_s` with ffmpeg's `demuxer`, which is not left to guess: some of them open other
    files. Exits with 4 if the file says that it is longer than `max_s`, 3 if it has too many channels."""
    _limit(resource.RLIMIT_AS, _MAX_MEMORY_BYTES)
    _limit(resource.RLIMIT_FSIZE, 0)  # nothing is written to disk
    duration_s, bytes_per_s = _probe(demuxer)
    if duration_s > max_s + 1:  # whose padding is no sound
        sys.exit(4)
    if bytes_per_s * (duration_s or decoded_s) > _MAX_DECODED_BYTES:
        sys.exit(3)
    os.lseek(0, 0, os.SEEK_SET)
    audio_segment.mediainfo_json = lambda *_, **__: None  # ffprobe again, which would guess
    segment = AudioSegment.from_file(_INPUT, format=demuxer, duration=decoded_s)
    wav = io.BytesIO()
    segment.set_channels(1).set_sample_width(2).export(wav, format="wav")
    sys.stdout.buffer.write(wav.getbuffer())


def _probe(demuxer: str) -> tuple[float, int]:
    """The length that the file claims (0.0: none), and the bytes of a second of it, decoded to 16 bits."""
    command = ["ffprobe", "-v", "error", "-f", demuxer, "-select_streams", "a:0", "-of", "json"]
    show = ["-show_entries", "stream=channels,sample_rate:format=duration", _INPUT]
    found = json.loads(subprocess.run([*command, *show], check=True, stdout=subprocess.PIPE).stdout)
    stream = found["streams"][0]
    claimed = (
        0 if demuxer == "aac" else found["format"].get("duration", 0)
    )  # of AAC a guess, often far too long
    return float(claimed), int(stream["channels"]) * int(stream["sample_rate"]) * 2


def _limit(what: int, most: int) -> None:
    """For this process and its children, where the system has such a limit and it is not lower yet."""
    with suppress(ValueError):
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
