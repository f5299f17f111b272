"""The same turns without a gateway: the listener and the pipeline, chained in one process."""

import asyncio
from collections import deque

import numpy as np

from bench.gateway.spoken import PHASES, QUESTIONS, SILENCE_S, Question, block_ends, stages
from bench.sounds import Samples
from conversation.audio import Frame
from conversation.endpointing import PauseReached, SpeechResumed, UtteranceEnded
from conversation.listener import Listener
from conversation.vad import Vad
from gateway.backend import listening
from orchestrator.pipeline import Pipeline
from shared.audio.vad import FRAME_SAMPLES
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.settings import Settings
from shared.turn import SpeechChunk, TurnRequest

SETTINGS = Settings(end_of_turn_silence_s=SILENCE_S, pre_roll_s=0.3)
"""As a Realtime session with server_vad listens."""

_LEAD_BLOCKS = 10


def voice_to_voice_s(turns: int) -> list[float]:
    """Of one turn after another: from the end of the question to the reply's first audio. Each question is
    asked in each phase, in turn."""
    return asyncio.run(_turns(turns))


async def _turns(turns: int) -> list[float]:
    pipeline = Pipeline(stages(), SETTINGS)
    async with listening(SETTINGS) as (_, new_vad):
        return [
            await _Turn(pipeline, new_vad()).voice_to_voice_s(
                Question(QUESTIONS[number % len(QUESTIONS)], ASR_SAMPLE_RATE_HZ),
                _LEAD_BLOCKS + number // len(QUESTIONS) % PHASES,
            )
            for number in range(turns)
        ]


class _Turn:
    def __init__(self, pipeline: Pipeline, vad: Vad) -> None:
        self._pipeline = pipeline
        self._vad = vad
        self._now = asyncio.get_running_loop().time
        self._listener = Listener(SETTINGS, self._now)
        self._asked: asyncio.Task[float] | None = None

    async def voice_to_voice_s(self, question: Question, lead_blocks: int) -> float:
        coming = deque([question.silence] * lead_blocks + question.blocks)
        heard: Samples = np.empty(0, np.float32)
        ended_s = 0.0
        async for end_s in block_ends():
            if coming:
                ended_s = end_s - question.filling_s
            heard = np.concatenate([heard, coming.popleft() if coming else question.silence])
            while heard.size >= FRAME_SAMPLES:
                frame, heard = heard[:FRAME_SAMPLES], heard[FRAME_SAMPLES:]
                if certain_s := await self._listen(frame):
                    assert self._asked, "an utterance ends in a pause"
                    return max(certain_s, await self._asked) - ended_s
        raise AssertionError("a microphone has no end")

    async def _listen(self, samples: Samples) -> float | None:
        """When the turn was certain, if this frame made it so."""
        frame = Frame(samples)
        [probability] = await self._vad.probabilities(frame)
        for event in self._listener.process(frame, probability):
            match event:
                case SpeechResumed() if self._asked:
                    self._asked.cancel()
                case PauseReached():
                    request = TurnRequest(audio=self._listener.question(event))
                    self._asked = asyncio.create_task(self._first_audio_s(request))
                case UtteranceEnded():
                    return self._now()
        self._listener.encode()
        return None

    async def _first_audio_s(self, request: TurnRequest) -> float:
        moments = [
            self._now() async for event in self._pipeline.stream(request) if isinstance(event, SpeechChunk)
        ]
        return moments[0]
