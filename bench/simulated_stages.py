"""Stages that take a set time each and do nothing, to the timer's precision.

ASR 0.10 s; LLM 0.15 s to its first token, then 60 tokens a second, a word a token; TTS 0.25 s and a
quarter of its speech's length, at 0.06 s of speech a character; or so many times as long. Every time is
kept against the call's start, so that late timers do not add up.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from shared.payloads import ChatMessage, Mp3Audio, Speech, TextDelta, Tool
from shared.stage_stream import AudioSegment, LLMOutput, StageFinished, StageItem, StageStarted, Transcript

ASR_S = 0.10
FIRST_TOKEN_S = 0.15
TOKENS_PER_S = 60
TTS_FIXED_S = 0.25
TTS_REAL_TIME_FACTOR = 0.25
SPEECH_S_PER_CHARACTER = 0.06

SENTENCES = (
    "The morning train to the coast leaves at eight from platform four.",
    "You should reach the harbour shortly before noon if nothing goes wrong.",
    "The ferry to the islands sails every hour until seven this evening.",
    "Most people buy their tickets on board because the office closes early.",
    "The crossing itself takes forty minutes and is calm at this season.",
    "There is a small market on the quay with fruit and bread.",
    "The old lighthouse opens in the afternoon and has a splendid view.",
    "Please remember that the last boat back never waits for late visitors.",
)
"""Twelve words each and no comma, so that a sentence is a clause and every design cuts alike."""


def reply_of(sentences: int) -> str:
    """A reply of so many sentences of twelve words."""
    return " ".join(SENTENCES[:sentences])


def writing_s(text: str) -> float:
    """When the last token of a text is there, from the LLM's start."""
    return FIRST_TOKEN_S + (len(text.split()) - 1) / TOKENS_PER_S


def speaking_s(text: str) -> float:
    """How long the TTS needs for a text."""
    return TTS_FIXED_S + TTS_REAL_TIME_FACTOR * SPEECH_S_PER_CHARACTER * len(text)


def mp3_sized(duration_s: float) -> Speech:
    """As large as MP3 at 64 kbps, and no sound."""
    return Mp3Audio(
        mp3=bytes(round(duration_s * 8_000)), sample_rate_hz=24_000, num_samples=round(duration_s * 24_000)
    )


class SimulatedStages:
    """See the module. The LLM writes `reply`, and `speech` makes so many seconds of sound."""

    def __init__(
        self, reply: str, *, slowness: float = 1.0, speech: Callable[[float], Speech] = mp3_sized
    ) -> None:
        self._slowness = slowness
        self._speech = speech
        words = reply.split(" ")
        self._tokens = [words[0], *(f" {word}" for word in words[1:])]

    async def transcribe(
        self, audio: Speech, *, language: str | None = None, word_times: bool = False
    ) -> AsyncGenerator[StageItem, None]:
        """The same words always."""
        call = _Call()
        yield call.started()
        await call.reach(ASR_S * self._slowness)
        yield Transcript(attempt_id="1", text="how do i get to the islands", elapsed_us=call.us)
        yield call.finished()

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[StageItem, None]:
        """Writes the reply, a word a token, the space before it."""
        call = _Call()
        yield call.started()
        for number, token in enumerate(self._tokens):
            await call.reach((FIRST_TOKEN_S + number / TOKENS_PER_S) * self._slowness)
            yield LLMOutput(attempt_id="1", delta=TextDelta(text=token), elapsed_us=call.us)
        yield call.finished()

    async def synthesize(
        self, text: str, *, voice: str | None = None, language: str | None = None
    ) -> AsyncGenerator[StageItem, None]:
        """One audio segment."""
        call = _Call()
        yield call.started()
        audio = self._speech(SPEECH_S_PER_CHARACTER * len(text))
        await call.reach(speaking_s(text) * self._slowness)
        yield AudioSegment(attempt_id="1", audio=audio, elapsed_us=call.us)
        yield call.finished()


class _Call:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()

    @property
    def us(self) -> int:
        return round((self._loop.time() - self._start_s) * 1e6)

    async def reach(self, at_s: float) -> None:
        await asyncio.sleep(self._start_s + at_s - self._loop.time())

    def started(self) -> StageStarted:
        return StageStarted(attempt_id="1", model="simulated")

    def finished(self) -> StageFinished:
        return StageFinished(attempt_id="1", elapsed_us=self.us, busy_us=self.us)
