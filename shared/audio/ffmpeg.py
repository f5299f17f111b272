"""Audio that libsndfile does not read (M4A, AAC, WebM, WMA), decoded by pydub and ffmpeg.

They run as child processes, so that a bad file cannot take this one down, under limits of time and memory,
few at once, and in memory: ffmpeg needs a file that it can seek in (an M4A often has its index at the end),
so on Linux it gets one that has no name and is on no disk.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from math import ceil
from pathlib import Path
from threading import BoundedSemaphore
from typing import IO

from shared.errors import BadAudio, Overloaded, TooLong

MAX_AT_ONCE = 2
"""Decodings in this process. Each takes up to 0.5 GB: pydub holds up to five copies of what it decodes."""

_CHILD = Path(__file__).with_name("pydub_child.py")
_TOO_MUCH, _TOO_LONG = 3, 4
"""Exit codes of `pydub_child`."""
_slots = BoundedSemaphore(MAX_AT_ONCE)


def decode_to_wav(data: bytes, name: str, demuxer: str, max_s: float, timeout_s: float) -> bytes:
    """Decode to a mono 16-bit WAV, slightly longer than `max_s` at most; blocking.

    `name` is what a person calls the format, `demuxer` what ffmpeg does. Raises BadAudio if ffmpeg is not
    installed, cannot decode the data, or takes longer than `timeout_s`; TooLong if the data says that it is
    longer than `max_s`; Overloaded if others are being decoded for as long as `timeout_s`.
    """
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise BadAudio(
            f"{name} audio needs ffmpeg (apt install ffmpeg), or send it as WAV, FLAC, Ogg or MP3."
        )
    if not _slots.acquire(timeout=timeout_s):
        raise Overloaded(f"Too much {name} audio is being decoded at once: try again, or send WAV or MP3.")
    try:
        code, wav = _run(demuxer, max_s, data, timeout_s)
    except subprocess.TimeoutExpired:
        raise BadAudio(
            f"ffmpeg could not decode the {name} audio within {timeout_s:g} s: send it as WAV or MP3."
        ) from None
    finally:
        _slots.release()
    if code == _TOO_LONG:
        raise TooLong(f"The audio is longer than {max_s:g} s: send a shorter part of it.")
    if code == _TOO_MUCH:
        raise BadAudio(f"The {name} audio has too many channels for its length: export it as mono.")
    if code or not wav:
        raise BadAudio(f"The {name} audio is damaged, or has no sound in it: export it again as WAV or MP3.")
    return wav


def _run(demuxer: str, max_s: float, data: bytes, timeout_s: float) -> tuple[int, bytes]:
    """Run the child: its exit code and what it writes. None of its processes outlives the call."""
    command = [sys.executable, "-P", "-W", "ignore", str(_CHILD), demuxer, str(max_s), str(ceil(max_s) + 1)]
    with (
        _as_file(data) as file,
        subprocess.Popen(
            command,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a process group of its own, ffmpeg in it
        ) as child,
    ):
        try:
            wav, _ = child.communicate(timeout=timeout_s)
        finally:
            if child.returncode != 0:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, wav


def _as_file(data: bytes) -> IO[bytes]:
    """The data as a file in memory, or on disk without a name where the system has none in memory."""
    in_memory = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("audio"), "w+b") if in_memory else tempfile.TemporaryFile()  # noqa: SIM115  closed by the caller
    file.write(data)
    file.seek(0)
    return file
