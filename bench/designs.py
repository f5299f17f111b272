"""Three designs of a turn over the same stages: ours, one chained by hand, and one stage after another."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from bench.simulated_stages import ASR_S, SENTENCES, speaking_s, writing_s
from orchestrator.pipeline import Pipeline
from shared.payloads import ChatMessage, Mp3Audio, TextDelta
from shared.settings import Settings
from shared.stage_stream import AudioSegment, LLMOutput, StageItem, Stages
from shared.turn import SpeechChunk, TurnFailed, TurnRequest

AUDIO = Mp3Audio(mp3=bytes(16_000), sample_rate_hz=16_000, num_samples=32_000)
REQUEST = TurnRequest(audio=AUDIO)
MESSAGES = [ChatMessage(role="user", content="how do i get to the islands")]


@dataclass(frozen=True)
class Times:
    """Seconds from the request to the first and the last audio."""

    first_audio_s: float
    last_audio_s: float


Design = Callable[[Stages], Coroutine[Any, Any, Times]]


def critical_path_s() -> float:
    """No design can have audio sooner: transcript, first sentence, its speech."""
    return ASR_S + writing_s(SENTENCES[0]) + speaking_s(SENTENCES[0])


def overlapped(max_active_turns: int = 1000) -> Design:
    """Our pipeline. One for all turns, as in an orchestrator container."""
    settings = Settings(max_active_turns=max_active_turns)
    pipelines: dict[int, Pipeline] = {}

    async def turn(stages: Stages) -> Times:
        pipeline = pipelines.setdefault(id(stages), Pipeline(stages, settings))
        watch = _Watch()
        async for event in pipeline.stream(REQUEST):
            if isinstance(event, SpeechChunk):
                watch.audio()
            assert not isinstance(event, TurnFailed), event
        return watch.times()

    return turn


async def hand_chained(stages: Stages) -> Times:
    """The least that can be written with asyncio: the reply's first sentence, spoken at its full stop,
    then the rest of it. No time-outs, retries, ledger, bounds, events."""
    watch = _Watch()
    async with aclosing(stages.transcribe(AUDIO)) as items:
        async for _ in items:
            pass
    first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    rest: list[str] = []

    async def write() -> None:
        text = ""
        async for delta in _deltas(stages):
            text += delta
            if text.endswith(".") and not first.done():
                first.set_result(text)
                text = ""
        rest.append(text)

    writing = asyncio.create_task(write())
    await _speak(stages, await first, watch)
    await writing
    if rest[0]:
        await _speak(stages, rest[0], watch)
    return watch.times()


async def sequential(stages: Stages) -> Times:
    """All of the transcript, then all of the reply, then all of its speech: as a first version does."""
    watch = _Watch()
    async with aclosing(stages.transcribe(AUDIO)) as items:
        async for _ in items:
            pass
    await _speak(stages, "".join([delta async for delta in _deltas(stages)]), watch)
    return watch.times()


async def _deltas(stages: Stages) -> AsyncGenerator[str, None]:
    stream: AsyncGenerator[StageItem, None] = stages.generate(MESSAGES, max_tokens=200, temperature=0.7)
    async with aclosing(stream) as items:
        async for item in items:
            if isinstance(item, LLMOutput) and isinstance(item.delta, TextDelta):
                yield item.delta.text


async def _speak(stages: Stages, text: str, watch: "_Watch") -> None:
    async with aclosing(stages.synthesize(text)) as items:
        async for item in items:
            if isinstance(item, AudioSegment):
                watch.audio()


class _Watch:
    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._start_s = self._now()
        self._audio_s: list[float] = []

    def audio(self) -> None:
        self._audio_s.append(self._now() - self._start_s)

    def times(self) -> Times:
        return Times(self._audio_s[0], self._audio_s[-1])
