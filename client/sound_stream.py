"""A stream of sound from or to a device, at a rate and with the channels that the device takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from client.sound_devices import Direction, NoSoundDevice, SoundDevice, portaudio_library
