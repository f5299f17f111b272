"""Time to first and last audio of the three designs, and the orchestrator's own cost a turn."""

import asyncio
import gc
import random
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import psutil

from bench.designs import Design, Times, critical_path_s, hand_chained, overlapped, sequential
from bench.simulated_stages import SimulatedStages, reply_of

SESSION_COUNTS = (1, 10, 50, 100)
REPLY_SENTENCES = (1, 3, 8)
MIN_TURNS = 12
"""Of all sessions together; a session has at least three."""

STAGGER_S = 2.0
"""Sessions begin within this time of each other, at random but the same in every run."""


@dataclass(frozen=True)
class Latency:
    """Of one design and reply length, medians in seconds."""

    design: str
    sentences: int
    critical_path_s: float
    first_audio_s: float
    last_audio_s: float


@dataclass(frozen=True)
class Load:
    """Of one design at so many sessions in one process, of three turns or more each.

    `delay_ms` is the time to first audio after the critical path; CPU is the whole process's, stages
    included; memory is the process's resident set at its peak.
    """

    design: str
    sessions: int
    delay_p50_ms: float
    delay_p95_ms: float
    cpu_ms_a_turn: float
    turns_a_second: float
    memory_peak_mib: float


DESIGNS: dict[str, Design] = {
    "overlapped": overlapped(),
    "hand-chained": hand_chained,
    "sequential": sequential,
}


def latencies(rounds: int = 5) -> list[Latency]:
    """Each design and reply length, side by side at the same time, in so many rounds."""
    return asyncio.run(_latencies(rounds))


async def _latencies(rounds: int) -> list[Latency]:
    cases = [(name, sentences) for sentences in REPLY_SENTENCES for name in DESIGNS]
    stages = {sentences: SimulatedStages(reply_of(sentences)) for sentences in REPLY_SENTENCES}
    times = [
        await asyncio.gather(*(DESIGNS[name](stages[sentences]) for name, sentences in cases))
        for _ in range(rounds + 1)
    ][1:]  # the first round is the warm-up
    return [
        Latency(
            design=name,
            sentences=sentences,
            critical_path_s=critical_path_s(),
            first_audio_s=statistics.median(one.first_audio_s for one in of_case),
            last_audio_s=statistics.median(one.last_audio_s for one in of_case),
        )
        for (name, sentences), of_case in zip(cases, zip(*times, strict=True), strict=True)
    ]


def loads() -> list[Load]:
    """The overlapped and the hand-chained turn at each number of sessions, each in a fresh process.

    This is an orchestrator container without its calls to Modal. Through the local cloud the same
    would measure that one: it, its client and the containers of the stages share this machine's cores.
    """
    cases = [(name, sessions) for sessions in SESSION_COUNTS for name in ("overlapped", "hand-chained")]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        return [fresh.submit(_load, *case).result() for case in cases]


def _load(name: str, sessions: int) -> Load:
    return asyncio.run(_load_of(name, sessions))


async def _load_of(name: str, sessions: int) -> Load:
    design, stages = DESIGNS[name], SimulatedStages(reply_of(3))
    await design(stages)  # warm
    gc.collect()
    gc.freeze()  # as a server does once it has started: a full collection of its imports takes 40 ms
    chance = random.Random(sessions)
    memory = _Memory()
    cpu_s, wall_s = time.process_time(), time.perf_counter()

    async def session(begin_s: float) -> list[Times]:
        await asyncio.sleep(begin_s)
        return [await design(stages) for _ in range(max(3, MIN_TURNS // sessions))]

    sampling = asyncio.create_task(memory.sample())
    told = await asyncio.gather(*(session(chance.uniform(0, STAGGER_S)) for _ in range(sessions)))
    sampling.cancel()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    delays_ms = [(t.first_audio_s - critical_path_s()) * 1000 for times in told for t in times]
    return Load(
        design=name,
        sessions=sessions,
        delay_p50_ms=statistics.median(delays_ms),
        delay_p95_ms=float(np.percentile(delays_ms, 95)),
        cpu_ms_a_turn=cpu_s * 1000 / len(delays_ms),
        turns_a_second=len(delays_ms) / wall_s,
        memory_peak_mib=memory.peak / 2**20,
    )


class _Memory:
    """The resident set of this process in bytes at its peak, seen four times a second."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.peak = self._process.memory_info().rss

    async def sample(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            self.peak = max(self.peak, self._process.memory_info().rss)
