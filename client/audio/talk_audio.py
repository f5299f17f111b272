"""The audio of a conversation: devices or recordings, checked before it begins."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from client.audio.audio_file import check_writable
from client.audio.device_microphone import DeviceMicrophone
from client.audio.device_speaker import DeviceSpeaker
from client.audio.echo_canceller import EchoCanceller
from client.audio.microphone import FileMicrophone, Microphone
from client.audio.sound_devices import Direction, find_device
from client.audio.speaker import FileSpeaker, Speaker
from conversation.audio import Frame
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """A device that is None is the default one, a file that is None is not used."""

    input_device: str | None
    output_device: str | None
    input_wav: str | None
    output_wav: Path | None
    cancel_echo: bool
    suppress_noise: bool


@dataclass(frozen=True)
class TalkAudio:
    """A microphone and a speaker, not opened yet, and what keeps one out of the other."""

    microphone: Microphone
    speaker: Speaker
    echo: EchoCanceller | None

    @classmethod
    def chosen(cls, options: AudioOptions, settings: Settings) -> Self:
        """Raises SpeechError if a recording cannot be read or written, or a device is not there."""
        cancel_echo = options.cancel_echo and not options.output_wav  # a file makes no echo
        needed = not options.input_wav and (cancel_echo or options.suppress_noise)
        echo = (
            EchoCanceller(cancel_echo=cancel_echo, suppress_noise=options.suppress_noise) if needed else None
        )
        return cls(_microphone(options, settings), _speaker(options, settings, echo), echo)

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """The microphone's frames, without the speaker's echo.

        Raises SoundDeviceLost or OutputNotWritten if microphone or speaker do not work any more, whether or
        not a reply is being played.
        """
        async for frame in self.microphone:
            self.speaker.check()
            yield replace(frame, samples=self.echo.near(frame.samples)) if self.echo else frame

    @property
    def lag_s(self) -> float:
        """How long audio takes from the air to `frames`."""
        echo_s = EchoCanceller.LATENCY_SAMPLES / ASR_SAMPLE_RATE_HZ if self.echo else 0.0
        return self.microphone.latency_s + echo_s


def _microphone(options: AudioOptions, settings: Settings) -> Microphone:
    if options.input_wav:
        return FileMicrophone.of(options.input_wav, settings)
    find_device(Direction.INPUT, options.input_device)
    return DeviceMicrophone(options.input_device)


def _speaker(options: AudioOptions, settings: Settings, echo: EchoCanceller | None) -> Speaker:
    on_played = echo.far if echo else None
    if options.output_wav:
        check_writable(options.output_wav, suffixes=(".wav",))
        return FileSpeaker(options.output_wav, on_played=on_played)
    find_device(Direction.OUTPUT, options.output_device)
    return DeviceSpeaker(options.output_device, latency_s=settings.speaker_latency_s, on_played=on_played)
