"""The sound devices of this machine, by name, through PortAudio (the extra `talk` and libportaudio2)."""

import ctypes
import logging
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import ModuleType

from shared.errors import Misconfigured, SpeechError

logger = logging.getLogger(__name__)


class NoSoundDevice(Misconfigured):
    """There is no such microphone or loudspeaker, or no library to reach it with."""

    kind = "no_sound_device"


class SoundDeviceLost(SpeechError):
    """A microphone or loudspeaker that worked does not work any more."""

    kind = "sound_device_lost"
    retryable = True


class Direction(StrEnum):
    """Which way the audio goes."""

    INPUT = "input"
    OUTPUT = "output"

    @property
    def device_kind(self) -> str:
        """What a person calls such a device."""
        return "microphone" if self is Direction.INPUT else "loudspeaker"


@dataclass(frozen=True, slots=True)
class SoundDevice:
    """A microphone or loudspeaker, or what the sound server offers as one."""

    direction: Direction
    index: int
    name: str
    host_api: str
    """How PortAudio reaches it: ALSA, Core Audio, WASAPI."""
    channels: int
    sample_rate_hz: int
    """Its own rate; others may be refused."""
    default: bool


def sound_devices() -> list[SoundDevice]:
    """All devices, microphones first.

    PortAudio looks for them once, when it is first used. Raises NoSoundDevice without PortAudio.
    """
    portaudio = portaudio_library()
    found = enumerate(portaudio.query_devices())
    both = [_device(direction, index, info, portaudio) for index, info in found for direction in Direction]
    return sorted((device for device in both if device.channels), key=lambda device: device.direction)


def find_device(direction: Direction, name: str | None = None) -> SoundDevice:
    """The device of that name, or of which `name` is a part, or the default one.

    Raises NoSoundDevice if there is none, or if several have that part in their names.
    """
    portaudio = portaudio_library()
    try:
        info = portaudio.query_devices(name, kind=direction.value)
    except (ValueError, portaudio.PortAudioError) as error:
        raise NoSoundDevice(_why_none(direction, name, str(error))) from None
    return _device(direction, info["index"], info, portaudio)


def portaudio_library() -> ModuleType:
    """The library `sounddevice`, loaded now. Raises NoSoundDevice without it or PortAudio."""
    try:
        import sounddevice  # optional, and opens PortAudio
    except ImportError:
        raise NoSoundDevice(
            "This needs the library sounddevice: pip install -e '.[talk]', or make setup"
        ) from None
    except OSError:
        raise NoSoundDevice("This needs PortAudio: sudo apt install libportaudio2") from None
    _log_alsa_messages()
    library: ModuleType = sounddevice
    return library


def _device(direction: Direction, index: int, info: dict[str, object], portaudio: ModuleType) -> SoundDevice:
    defaults = portaudio.query_hostapis(portaudio.default.hostapi)
    return SoundDevice(
        direction=direction,
        index=index,
        name=str(info["name"]),
        host_api=str(portaudio.query_hostapis(info["hostapi"])["name"]),
        channels=int(str(info[f"max_{direction}_channels"])),
        sample_rate_hz=round(float(str(info["default_samplerate"]))),
        default=index == defaults[f"default_{direction}_device"],
    )


def _why_none(direction: Direction, name: str | None, reason: str) -> str:
    names = [f"{one.name}, {one.host_api}" for one in sound_devices() if one.direction is direction]
    if not names:
        return f"There is no {direction.device_kind} here: plug one in, or use a file instead of it."
    if name is None:
        return f"There is no default {direction.device_kind}: choose one by name ({'; '.join(names)})."
    if reason.startswith("Multiple"):
        names = [one for one in names if all(part in one.lower() for part in name.lower().split())]
        return f"Several {direction.device_kind}s are called {name!r}: say which ({'; '.join(names)})."
    return f"There is no {direction.device_kind} called {name!r}, only: {'; '.join(names)}."


@cache
def _log_alsa_messages() -> None:
    """Let ALSA's library log its messages, at level DEBUG; nothing where there is no ALSA.

    Otherwise it writes a line to standard error whenever a device underruns, into what is displayed
    there; SoundStream counts these.
    """
    try:
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_alsa_handler)
    except (OSError, AttributeError):
        return


def _log_alsa(_file: bytes, _line: int, function: bytes, _error: int, form: bytes) -> None:
    """The arguments for `form` are left out: they are C's, of any number."""
    logger.debug("ALSA: %s: %s", (function or b"").decode(errors="replace"), form.decode(errors="replace"))


_alsa_handler = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)(_log_alsa)
"""Kept: ALSA calls it as long as the process lives."""
