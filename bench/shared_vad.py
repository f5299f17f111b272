"""What voice activity detection costs for sessions in which nobody speaks: `python -m bench.shared_vad`.

Frames come in real time, each session's at moments of its own. The gateway's noise gate keeps most of them
from it.
"""

import asyncio
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.sounds import pink_noise
from conversation.audio import Frame
from conversation.shared_vad import MODEL_FILE, SharedVad
from conversation.vad import OwnVad, Vad
from services.weights import weights_folder
from services.weights.pinned import SILERO_VAD
from shared.audio.vad import FRAME_S, FRAME_SAMPLES

SESSIONS = (1, 10, 50)
DURATION_S = 10.0
ROOM_NOISE_DB = -50.0
_NOISE = pink_noise(320 * FRAME_S, ROOM_NOISE_DB)
_FRAMES = [Frame(one) for one in _NOISE.reshape(-1, FRAME_SAMPLES)]


@dataclass(frozen=True)
class VadCost:
    """Of each session: percent of a core, and MiB; how long a frame waits for its answer."""

    detector: str
    sessions: int
    core_percent: float
    memory_mib: float
    median_ms: float
    p95_ms: float


class _Nothing:
    async def probabilities(self, *frames: Frame) -> list[float]:
        return [0.0] * len(frames)


async def vad_cost(detector: str, sessions: int, new_vad: Callable[[], Vad]) -> VadCost:
    """After a second of warming up."""
    before_mib = _memory_mib()
    vads = [new_vad() for _ in range(sessions)]
    await _listen(vads, 1.0)
    began_cpu_s, began_s = time.process_time(), time.perf_counter()
    waits_s = await _listen(vads, DURATION_S)
    percent = 100 * (time.process_time() - began_cpu_s) / (time.perf_counter() - began_s)
    median_s, p95_s = np.percentile(waits_s, [50, 95])
    memory_mib = (_memory_mib() - before_mib) / sessions
    waits_ms = median_s.item() * 1e3, p95_s.item() * 1e3
    return VadCost(detector, sessions, percent / sessions, memory_mib, *waits_ms)


async def _listen(vads: list[Vad], duration_s: float) -> list[float]:
    loop, chance = asyncio.get_running_loop(), random.Random(0)
    waits_s: list[float] = []

    async def session(vad: Vad, next_s: float, until_s: float) -> None:
        number = chance.randrange(len(_FRAMES))
        while next_s < until_s:
            await asyncio.sleep(next_s - loop.time())
            asked_s = loop.time()
            await vad.probabilities(_FRAMES[number % len(_FRAMES)])
            waits_s.append(loop.time() - asked_s)
            number, next_s = number + 1, next_s + FRAME_S

    now_s = loop.time()
    await asyncio.gather(
        *(session(vad, now_s + chance.random() * FRAME_S, now_s + duration_s) for vad in vads)
    )
    return waits_s


async def _main() -> None:
    async with SharedVad(weights_folder(SILERO_VAD) / MODEL_FILE) as shared:
        kinds: dict[str, Callable[[], Vad]] = {"none": _Nothing, "own": OwnVad, "shared": shared.stream}
        for detector in sys.argv[1:] or kinds:
            for sessions in SESSIONS:
                print(await vad_cost(detector, sessions, kinds[detector]), flush=True)


def _memory_mib() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux: the most it ever had
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    asyncio.run(_main())
