"""The questions that the benches of the gateway ask, and what answers them."""

import asyncio
from collections.abc import AsyncIterator
from functools import cache

import numpy as np

from bench.simulated_stages import SimulatedStages, reply_of
from bench.sounds import Samples, example, voice
from shared.audio.pcm import Pcm, resample

BLOCK_S = 0.04
"""Of audio, in one event of a client: what browsers' pages and Hugging Face's client send."""
SILENCE_S = 0.5
"""That which ends a turn, Realtime's default."""
REPLY_SENTENCES = 3
QUESTIONS = ("what-is-two-plus-two", "what-time-is-it", "tell-me-a-joke")
PHASES = 4
"""At every fourth block a frame of the VAD ends with it. Where between two such blocks a question begins, and
which question it is, decides how long its end waits for frame and block: up to 80 ms more or less."""


class Question:
    """A spoken question of examples/ in blocks, the last filled up with silence."""

    def __init__(self, name: str, sample_rate_hz: int) -> None:
        samples = resample(example(name), sample_rate_hz).samples
        size = round(sample_rate_hz * BLOCK_S)
        filling = -samples.size % size
        self.silence: Samples = np.zeros(size, np.float32)
        self.blocks = list(np.concatenate([samples, self.silence[:filling]]).reshape(-1, size))
        self.filling_s = filling / sample_rate_hz
        """How long before the end of the last block the question is over."""


async def block_ends() -> AsyncIterator[float]:
    """The moments at which a microphone's blocks are complete, by the event loop's clock; without an end."""
    now = asyncio.get_running_loop().time
    end_s = now()
    while True:
        end_s += BLOCK_S
        await asyncio.sleep(end_s - now())
        yield end_s


def stages() -> SimulatedStages:
    """Stages that only take time, and hand speech on as engines in this process do."""
    return SimulatedStages(reply_of(REPLY_SENTENCES), speech=_spoken)


@cache
def _spoken(duration_s: float) -> Pcm:
    return voice(round(duration_s * 24_000), 24_000)
