"""What a conversation is heard and spoken on: devices or recordings, found to be there before it begins."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from client.audio.audio_file import check_writable
from client.audio.device_microphone import DeviceMicrophone
from client.audio.device_speaker import DeviceSpeaker
from client.audio.echo_canceller import EchoCanceller
from client.audio.file_microphone import FileMicrophone
from client.audio.file_speaker import FileSpeaker
from client.audio.microphone import Microphone
from client.audio.sound_devices import Direction, find_device
from client.audio.speaker import Speaker
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SoundOptions:
    """Which; a device that is None is the default one, a file that is None is not used."""

    input_device: str | None
    output_device: str | None
    input_wav: str | None
    output_wav: Path | None
    cancel_echo: bool


@dataclass(frozen=True)
class TalkSound:
    """A microphone and a speaker, not opened yet, and what keeps one out of the other."""

    microphone: Microphone
    speaker: Speaker
    echo: EchoCanceller | None

    @classmethod
    def chosen(cls, options: SoundOptions, settings: Settings) -> Self:
        """Raises SpeechError if a recording cannot be read or written, or a device is not there."""
        # A recording does not hear the loudspeaker.
        echo = EchoCanceller() if options.cancel_echo and not options.input_wav else None
        return cls(_microphone(options, settings), _speaker(options, settings, echo), echo)

    @property
    def lag_s(self) -> float:
        """How long the echo canceller holds back what the microphone hears."""
        return EchoCanceller.LATENCY_SAMPLES / ASR_SAMPLE_RATE_HZ if self.echo else 0.0


def _microphone(options: SoundOptions, settings: Settings) -> Microphone:
    if options.input_wav:
        return FileMicrophone.of(options.input_wav, settings)
    find_device(Direction.INPUT, options.input_device)
    return DeviceMicrophone(options.input_device)


def _speaker(options: SoundOptions, settings: Settings, echo: EchoCanceller | None) -> Speaker:
    played = echo.far if echo else None
    if options.output_wav:
        check_writable(options.output_wav, suffixes=(".wav",))
        return FileSpeaker(options.output_wav, played=played)
    find_device(Direction.OUTPUT, options.output_device)
    return DeviceSpeaker(options.output_device, latency_s=settings.speaker_latency_s, played=played)
