"""What listening costs: the processor's time for a minute of what the microphone hears."""

import asyncio
import time
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from bench.conversations import converse
from bench.simulated_stages import SimulatedStages, reply_of
from bench.sounds import HZ, Samples, example, pink_noise
from client.audio.echo_canceller import EchoCanceller
from conversation.audio import Frame
from conversation.listener import Listener
from conversation.vad import OwnVad
from shared.audio.pcm import Pcm
from shared.audio.vad import FRAME_SAMPLES
from shared.settings import Settings

DURATION_S = 30.0
IN_REAL_TIME_S = 15.0
WARM_UP_S = 2.0
ROOM_NOISE_DB = -50.0
"""Of full scale: a quiet room."""
SPOKEN = ("my-name-is-peter", "what-is-two-plus-two", "what-is-my-name")
"""Of examples/, over and over without a pause: one long utterance."""


@dataclass(frozen=True)
class ListeningCost:
    """Seconds of CPU for a minute of sound, of all threads of this process.

    Not `in_real_time` it is the listener alone, window after window: voice activity, endpointing and, while
    somebody speaks, the encoder. In real time it is the client's whole loop, which waits for each window,
    but without sound devices and terminal.
    """

    hears: str
    in_real_time: bool
    cancels_echo: bool
    cpu_s_a_minute: float

    @property
    def core_percent(self) -> float:
        """The same, of one core."""
        return self.cpu_s_a_minute / 60 * 100


def listening_costs(
    duration_s: float = DURATION_S, real_time_s: float = IN_REAL_TIME_S
) -> list[ListeningCost]:
    """Of silence, room noise and speech; with the echo canceller too, if livekit is installed."""
    longest_s = duration_s + WARM_UP_S
    noise = pink_noise(longest_s, ROOM_NOISE_DB)
    spoken = np.resize(np.concatenate([example(name).samples for name in SPOKEN]), noise.size)
    heard = {"silence": np.zeros_like(noise), "room noise": noise, "speech": spoken + noise}
    rows = []
    for cancels_echo in (False, True) if find_spec("livekit") else (False,):
        rows += [
            ListeningCost(name, False, cancels_echo, _listener_cpu_s(samples, cancels_echo) * 60)
            for name, samples in heard.items()
        ]
        loop_cpu_s = asyncio.run(_loop_cpu_s(noise[: round(real_time_s * HZ)], cancels_echo))
        rows.append(ListeningCost("room noise", True, cancels_echo, loop_cpu_s * 60))
    return rows


def _listener_cpu_s(samples: Samples, cancels_echo: bool) -> float:
    """For a second of sound, after the warm-up."""
    echo = EchoCanceller() if cancels_echo else None
    vad, listener = OwnVad(), Listener(Settings(), time.perf_counter)
    nothing_played = np.zeros(FRAME_SAMPLES, np.float32)
    windows = np.split(samples, range(FRAME_SAMPLES, samples.size, FRAME_SAMPLES))[:-1]
    warm_up = round(WARM_UP_S * HZ / FRAME_SAMPLES)
    began_s = 0.0
    for number, window in enumerate(windows):
        if number == warm_up:
            began_s = time.process_time()
        if echo:
            echo.far(nothing_played)
        frame = Frame(echo.near(window) if echo else window)
        listener.process(frame, vad.detect(frame))
        listener.encode()
    return (time.process_time() - began_s) / ((len(windows) - warm_up) * FRAME_SAMPLES / HZ)


async def _loop_cpu_s(samples: Samples, cancels_echo: bool) -> float:
    """For a second of sound, in which nobody is answered."""
    stages, echo = SimulatedStages(reply_of(1)), EchoCanceller() if cancels_echo else None
    began_s = time.process_time()
    await converse(stages, Pcm(samples, HZ), echo=echo)
    return (time.process_time() - began_s) / (samples.size / HZ)
