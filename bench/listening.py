"""What listening costs: the processor's time for a minute of sound from the microphone."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle, islice

import numpy as np

from bench.simulated_stages import reply_of, simulated_stages
from bench.talk import conversation
from client.echo import EchoCanceller
from client.listener import Listener
from services.speech_gate import WINDOW_SAMPLES
from shared.settings import Settings
from tests.conversations import HZ, ROOT, example
from tests.noises import pink_noise
from shared.pcm import Pcm
from tests.sounds import Samples

DURATION_S = 30.0
IN_REAL_TIME_S = 15.0
ROOM_NOISE_DB = -50.0
"""Of full scale: a quiet room, as a headset hears it."""
WARM_UP_S = 2.0
SILENCE = np.zeros(WINDOW_SAMPLES, np.float32)


@dataclass(frozen=True)
class ListeningCost:
    """CPU of all threads of this process, in seconds for a minute of sound."""

    hears: str
    loop: str
    """"listener": voice activity and endpointing, window after window without a wait. "whole, in real time":
    with the waiting for each window, the speaker's silence and the display's calls, as in `s2s talk`."""
    echo_cancelled: bool
    cpu_s_a_minute: float

    @property
    def percent_of_a_core(self) -> float:
        """The same, of one core."""
        return self.cpu_s_a_minute / 60 * 100
