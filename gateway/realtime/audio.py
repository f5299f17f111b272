"""The audio of the protocol: base64 in events, three formats, resampled to and from the engines' rates."""

import base64
import binascii
import io
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any

import numpy as np
import soundfile
import soxr
from openai.types.realtime import RealtimeAudioFormats

from conversation.audio import Samples
from gateway.realtime.events import ProtocolError
from gateway.realtime.noise_gate import NoiseGate
from gateway.realtime.resampler import LowDelayResampler
from gateway.speech_encoder import SAMPLE_RATE_HZ, SpeechEncoder
from shared.audio.pcm import Pcm, as_int16, resample
from shared.audio.vad import FRAME_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ

PIECE_S = 0.1
"""At most so much audio is in one event of a reply."""


class AudioFormat(Enum):
    """A format of mono audio: its sample rate in Hz, libsndfile's name of its samples, and their bytes."""

    PCM = (24_000, "PCM_16", 2)
    PCMU = (8_000, "ULAW", 1)
    PCMA = (8_000, "ALAW", 1)

    @classmethod
    def of(cls, config: RealtimeAudioFormats | None) -> "AudioFormat":
        """The format that a session's configuration names; PCM where it names none."""
        name = config.type if config else None
        return {"audio/pcmu": cls.PCMU, "audio/pcma": cls.PCMA}.get(name or "", cls.PCM)

    @property
    def config(self) -> dict[str, Any]:
        """Its name in a session's configuration."""
        pcm = self is AudioFormat.PCM
        return {"type": f"audio/{self.name.lower()}"} | ({"rate": self.sample_rate_hz} if pcm else {})

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second."""
        return self.value[0]

    @property
    def sample_bytes(self) -> int:
        """Bytes a sample."""
        return self.value[2]

    def decoded(self, audio: bytes) -> Samples:
        """The samples of whole samples' bytes."""
        if self is AudioFormat.PCM:  # by libsndfile 40 ms take 0.2 ms
            return np.frombuffer(audio, "<i2") * np.float32(2**-15)
        samples: Samples = _g711_samples(self)[np.frombuffer(audio, np.uint8)]
        return samples

    def encoded(self, samples: Samples) -> bytes:
        """The bytes of samples within ±1."""
        if self is AudioFormat.PCM:
            return as_int16(samples).astype("<i2").tobytes()
        raw = io.BytesIO()
        soundfile.write(raw, samples, self.sample_rate_hz, subtype=self.value[1], format="RAW")
        return raw.getvalue()


@cache
def _g711_samples(audio_format: AudioFormat) -> Samples:
    """What each of the 256 bytes means."""
    samples: Samples
    samples, _ = soundfile.read(
        io.BytesIO(bytes(range(256))),
        dtype="float32",
        channels=1,
        format="RAW",
        samplerate=audio_format.sample_rate_hz,
        subtype=audio_format.value[1],
    )
    return samples


def from_base64(audio: str) -> bytes:
    """The bytes. Raises ProtocolError if the text is no base64."""
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("The audio is not base64.", "invalid_audio", param="audio") from None


def whole_audio(audio: str, audio_format: AudioFormat) -> Pcm:
    """Audio that comes in one piece, at 16 kHz. Raises ProtocolError."""
    data = from_base64(audio)
    samples = audio_format.decoded(data[: len(data) // audio_format.sample_bytes * audio_format.sample_bytes])
    return resample(Pcm(samples, audio_format.sample_rate_hz), ASR_SAMPLE_RATE_HZ)


class InputAudio:
    """Makes 16 kHz samples of the pieces that a client sends, through a noise gate. They may end within a
    sample."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self.audio_format = audio_format
        self.gate = NoiseGate(audio_format.sample_rate_hz)
        self._rest = b""
        self._resampler = LowDelayResampler(audio_format.sample_rate_hz)

    def samples(self, audio: bytes, *, opened: bool) -> tuple[Samples, bool]:
        """What the gate, which may be `opened`, lets through with the next bytes, and whether it may be
        speech."""
        audio = self._rest + audio
        whole = len(audio) // self.audio_format.sample_bytes * self.audio_format.sample_bytes
        self._rest = audio[whole:]
        passed, may_be_speech = self.gate.process(self.audio_format.decoded(audio[:whole]), opened=opened)
        return self._resampler.resampled(passed) if passed.size else passed, may_be_speech


class Frames:
    """Cuts samples into frames of FRAME_SAMPLES."""

    def __init__(self) -> None:
        self._rest = np.empty(0, np.float32)

    def frames(self, samples: Samples) -> list[Samples]:
        """The frames that are complete with these samples."""
        samples = np.concatenate([self._rest, samples])
        whole = samples.size // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = samples[whole:]
        return list(samples[:whole].reshape(-1, FRAME_SAMPLES))


class OutputAudio:
    """Makes base64 pieces of one reply's speech, in a session's output format.

    The reply goes through one resampler, so that nothing is heard where two segments meet. It is spoken
    `speed` times as fast, at the same pitch. Its owner closes it.
    """

    def __init__(self, audio_format: AudioFormat, speed: float = 1.0) -> None:
        self.speed = speed
        self._tempo = SpeechEncoder("pcm", speed) if speed != 1.0 else None
        self._format = audio_format
        self._resampler: soxr.ResampleStream | None = None
        self._rate_hz = 0

    def pieces(self, pcm: Pcm) -> list[str]:
        """The pieces of the next segment, at most PIECE_S each; the last few ms wait for what follows."""
        if self._tempo:
            pcm = _of_encoder(self._tempo.write(pcm))
        return list(self._encoded(self._resampled(pcm)))

    def rest(self) -> list[str]:
        """What is left at the reply's end."""
        pieces: list[str] = []
        if self._tempo:
            pieces += self._encoded(self._resampled(_of_encoder(self._tempo.finish())))
        if self._resampler:
            last = self._resampler.resample_chunk(np.empty(0, np.float32), last=True)
            pieces += self._encoded(last)
        return pieces

    def close(self) -> None:
        """There are no more pieces. Closing again does no harm."""
        self._resampler = None  # half a megabyte, which a session would keep until its next reply
        if self._tempo:
            self._tempo.close()

    def _resampled(self, pcm: Pcm) -> Samples:
        if pcm.sample_rate_hz != self._rate_hz:
            self._rate_hz = pcm.sample_rate_hz
            self._resampler = soxr.ResampleStream(
                pcm.sample_rate_hz, self._format.sample_rate_hz, 1, dtype="float32", quality="HQ"
            )
        assert self._resampler
        resampled: Samples = self._resampler.resample_chunk(pcm.samples)
        return resampled

    def _encoded(self, samples: Samples) -> Iterator[str]:
        size = round(PIECE_S * self._format.sample_rate_hz)
        for start in range(0, samples.size, size):
            piece = self._format.encoded(np.clip(samples[start : start + size], -1.0, 1.0))
            yield base64.b64encode(piece).decode("ascii")


def _of_encoder(audio: bytes) -> Pcm:
    return Pcm(AudioFormat.PCM.decoded(audio), SAMPLE_RATE_HZ)
