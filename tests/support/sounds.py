"""Sound for tests, as Pcm and as the bytes of files."""

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.sounds import Samples
from shared.audio.decode import decode_audio
from shared.errors import BadAudio
from shared.settings import Settings


def tone(frequency_hz: float, duration_s: float, sample_rate_hz: int = 16_000, peak: float = 0.5) -> Samples:
    """A sine."""
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    return (peak * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def sound_file(
    samples: Samples, sample_rate_hz: int = 16_000, kind: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    """A file that libsndfile writes; `samples` may be of several channels (columns)."""
    file = io.BytesIO()
    channels = samples.shape[1] if samples.ndim == 2 else 1
    with soundfile.SoundFile(file, "w", sample_rate_hz, channels, subtype, format=kind) as writer:
        for start in range(0, len(samples), 65_536):  # the Vorbis encoder crashes if given very much at once
            writer.write(samples[start : start + 65_536])
    return file.getvalue()


def ffmpeg_file(wav: bytes, path: Path, *options: str) -> bytes:
    """The sound as ffmpeg writes it into a file of that name."""
    _ffmpeg(wav, *options, str(path))
    return path.read_bytes()


def ffmpeg_stream(wav: bytes, *options: str) -> bytes:
    """The sound as ffmpeg writes it to a pipe, where it cannot go back to complete a header."""
    return _ffmpeg(wav, *options, "pipe:1")


def _ffmpeg(wav: bytes, *arguments: str) -> bytes:
    command = ["ffmpeg", "-v", "error", "-i", "pipe:0", *arguments]
    return subprocess.run(command, input=wav, check=True, stdout=subprocess.PIPE).stdout


def strength(samples: Samples, frequency_hz: float, sample_rate_hz: int) -> float:
    """The amplitude of one frequency in the sound."""
    time_s = np.arange(samples.size) / sample_rate_hz
    return float(2 * abs(np.mean(samples * np.exp(-2j * np.pi * frequency_hz * time_s))))


def likeness(one: Samples, other: Samples) -> float:
    """Correlation of two sounds of equal length: 1.0 if they are the same but for their volume."""
    return float(one @ other / np.sqrt((one @ one) * (other @ other) + 1e-20))


def refused(data: bytes, settings: Settings | None = None) -> str:
    """The message with which the bytes are refused."""
    with pytest.raises(BadAudio) as caught:
        decode_audio(data, settings or Settings())
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert "Error" not in message
    assert "object at" not in message
    return message
