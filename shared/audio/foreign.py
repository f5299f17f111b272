"""Audio that libsndfile does not read (M4A, AAC, WebM, WMA), decoded by pydub and ffmpeg.

They run as child processes, so that a bad file cannot take this one down, under a time limit, and in
memory: ffmpeg needs a file that it can seek in (an M4A often has its index at the end), so on Linux it
gets one that has no name and is on no disk.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import ceil
from pathlib import Path
from typing import IO

from shared.errors import BadAudio

_CHILD = Path(__file__).with_name("pydub_child.py")


def decode_to_wav(data: bytes, name: str, demuxer: str, max_s: float, timeout_s: float) -> bytes:
    """The sound as a 16-bit WAV, somewhat more than `max_s` at most; blocking.

    `name` is what a person calls the format, `demuxer` what ffmpeg does. Raises BadAudio if ffmpeg is not
    installed, cannot decode the data, or takes longer than `timeout_s`.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise BadAudio(
            f"{name} audio needs ffmpeg (apt install ffmpeg), or send it as WAV, FLAC, Ogg or MP3."
        )
    command = [sys.executable, "-P", "-W", "ignore", str(_CHILD), ffmpeg, demuxer, str(ceil(max_s) + 1)]
    try:
        wav = _output(command, data, timeout_s)
    except subprocess.TimeoutExpired:
        raise BadAudio(
            f"ffmpeg could not decode the {name} audio within {timeout_s:g} s: send it as WAV or MP3."
        ) from None
    if not wav:
        raise BadAudio(f"The {name} audio is damaged, or has no sound in it: export it again as WAV or MP3.")
    return wav


def _output(command: list[str], data: bytes, timeout_s: float) -> bytes:
    """What the command writes, b"" if it fails. None of its processes outlives the call."""
    with (
        _as_file(data) as file,
        subprocess.Popen(
            command,
            stdin=file or subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a process group of its own, ffmpeg in it
        ) as child,
    ):
        try:
            output, _ = child.communicate(None if file else data, timeout_s)
        finally:
            if child.returncode != 0:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
    return output if child.returncode == 0 else b""


@contextmanager
def _as_file(data: bytes) -> Iterator[IO[bytes] | None]:
    """The data as a file in memory; None where the system has none, so that a pipe has to do."""
    if not hasattr(os, "memfd_create"):
        yield None
        return
    with os.fdopen(os.memfd_create("audio"), "wb") as file:
        file.write(data)
        file.flush()
        yield file
