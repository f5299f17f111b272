"""Stages that follow a script, and remember how they were used.

A script is a list of steps: a number waits that many seconds, an Event until it is set, a text, tool call or
Pcm is an output, an exception is raised, RESTART begins a new attempt, SPLICE goes on as another attempt
without a word, HANG waits for ever, BREAK_OFF ends the stream early.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np

from orchestrator.pipeline import Pipeline
from shared.audio.pcm import Pcm
from shared.payloads import ChatMessage, LLMDelta, Speech, TextDelta, TokenUsage, Tool, ToolCall, Word
from shared.settings import Settings
from shared.stage_stream import AudioSegment, LLMOutput, StageFinished, StageItem, StageStarted, Transcript
from shared.turn import TurnEvent, TurnRequest

RESTART: Final = "\0restart"
SPLICE: Final = "\0splice"
HANG: Final = "\0hang"
BREAK_OFF: Final = "\0break off"

Step = float | str | ToolCall | Pcm | BaseException | asyncio.Event
Script = Sequence[Step]


REQUEST = TurnRequest(audio=Pcm(np.zeros(16_000, np.float32), 16_000))


def speech(duration_s: float = 1.0) -> Pcm:
    return Pcm(np.full(round(duration_s * 16_000), 0.1, np.float32), 16_000)


@dataclass
class Call:
    """One call of a stage: what it was given, when it began and ended (virtual seconds), and how."""

    given: Any
    began_s: float
    ended_s: float | None = None
    finished: bool = False


@dataclass
class ScriptedStage:
    """Plays its scripts, one a call, the last one for all further calls."""

    model: ClassVar[str]
    scripts: list[Script]
    start_s: float = 0.0
    transport_s: float = 0.0
    tokens: TokenUsage | None = None
    """What an LLM says that its reply took."""
    calls: list[Call] = field(default_factory=list)
    streams: list[AsyncGenerator[StageItem, None]] = field(default_factory=list)
    """Kept, so that a stream which nobody closes is not closed by the garbage collector either."""

    @property
    def under_way(self) -> list[Call]:
        return [call for call in self.calls if call.ended_s is None]

    def play(
        self, given: Any, script: Script, output: Callable[[str, Any, int], StageItem]
    ) -> AsyncGenerator[StageItem, None]:
        self.streams.append(self._play(given, script, output))
        return self.streams[-1]

    async def _play(
        self, given: Any, script: Script, output: Callable[[str, Any, int], StageItem]
    ) -> AsyncGenerator[StageItem, None]:
        now = asyncio.get_running_loop().time
        self.calls.append(call := Call(given, now()))
        try:
            attempt = 1
            await asyncio.sleep(self.start_s)
            yield StageStarted(attempt_id="attempt 1", model=self.model)
            started = now()
            for step in script:
                if isinstance(step, float | int):
                    await asyncio.sleep(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, BaseException):
                    raise step
                elif step is HANG:
                    await asyncio.Event().wait()
                elif step is BREAK_OFF:
                    return
                elif step is RESTART or step is SPLICE:
                    attempt += 1
                    if step is RESTART:
                        yield StageStarted(attempt_id=f"attempt {attempt}", model=self.model)
                else:
                    elapsed_us = round((now() - started) * 1e6)
                    await asyncio.sleep(self.transport_s)
                    yield output(f"attempt {attempt}", step, elapsed_us)
            elapsed_us = round((now() - started) * 1e6)
            yield StageFinished(
                attempt_id=f"attempt {attempt}", elapsed_us=elapsed_us, busy_us=elapsed_us, tokens=self.tokens
            )
            call.finished = True
        finally:
            call.ended_s = now()

    def next_script(self) -> Script:
        return self.scripts[min(len(self.calls), len(self.scripts) - 1)]


@dataclass
class ScriptedASR(ScriptedStage):
    model = "scripted ASR"
    languages: list[str | None] = field(default_factory=list)
    words: tuple[Word, ...] | None = None
    """What those get who ask for words."""

    def transcribe(
        self, audio: Speech, *, language: str | None = None, word_times: bool = False
    ) -> AsyncGenerator[StageItem, None]:
        def output(attempt_id: str, text: str, elapsed_us: int) -> StageItem:
            words = self.words if word_times else None
            return Transcript(attempt_id=attempt_id, text=text, words=words, elapsed_us=elapsed_us)

        self.languages.append(language)
        return self.play(audio, self.next_script(), output)


class ScriptedLLM(ScriptedStage):
    model = "scripted LLM"

    def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[StageItem, None]:
        def output(attempt_id: str, step: str | ToolCall, elapsed_us: int) -> StageItem:
            delta: LLMDelta = TextDelta(text=step) if isinstance(step, str) else step
            return LLMOutput(attempt_id=attempt_id, delta=delta, elapsed_us=elapsed_us)

        given = {
            "messages": list(messages),
            "tools": list(tools),
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        return self.play(given, self.next_script(), output)


@dataclass
class ScriptedTTS(ScriptedStage):
    """Without scripts: speech of 0.06 s a character, after 0.25 s and a quarter of its length."""

    model = "scripted TTS"

    scripts: list[Script] = field(default_factory=list)

    slowness: float = 1.0
    """How much of these times to take."""

    voices: list[tuple[str | None, str | None]] = field(default_factory=list)
    """The voice and the language of each call."""

    def synthesize(
        self, text: str, *, voice: str | None = None, language: str | None = None
    ) -> AsyncGenerator[StageItem, None]:
        def output(attempt_id: str, audio: Pcm, elapsed_us: int) -> StageItem:
            return AudioSegment(attempt_id=attempt_id, audio=audio, elapsed_us=elapsed_us)

        duration_s = 0.06 * len(text)
        self.voices.append((voice, language))
        usual: Script = [self.slowness * (0.25 + 0.25 * duration_s), speech(duration_s)]
        return self.play(text, self.next_script() if self.scripts else usual, output)

    @property
    def texts(self) -> list[str]:
        return [call.given for call in self.calls]


def typed(reply: str, tokens_per_s: float = 60.0, first_s: float = 0.15) -> list[Step]:
    """An LLM's script: the reply word by word, a token each."""
    words = [word + " " for word in reply.split(" ")]
    words[-1] = words[-1].rstrip()
    steps: list[Step] = [first_s]
    for word in words:
        steps += [word, 1 / tokens_per_s]
    return steps[:-1]


@dataclass
class Cast:
    """Three scripted stages, as the Stages of a pipeline."""

    asr: ScriptedASR
    llm: ScriptedLLM
    tts: ScriptedTTS

    def __post_init__(self) -> None:
        self.transcribe = self.asr.transcribe
        self.generate = self.llm.generate
        self.synthesize = self.tts.synthesize

    @property
    def under_way(self) -> list[Call]:
        return self.asr.under_way + self.llm.under_way + self.tts.under_way


def cast(
    asr: Sequence[Script] = ([0.1, "what is the weather like"],),
    llm: Sequence[Script] = (typed("It is sunny outside. Take a hat with you."),),
    tts: Sequence[Script] = (),
) -> Cast:
    return Cast(ScriptedASR(list(asr)), ScriptedLLM(list(llm)), ScriptedTTS(list(tts)))


@dataclass(frozen=True)
class Emitted:
    """An event and when it came, in seconds since the turn was asked for."""

    at_s: float
    event: TurnEvent


async def run_turn(scripted: Cast, request: TurnRequest = REQUEST, **settings: Any) -> list[Emitted]:
    """Run a turn to its end and take every event at once."""
    now = asyncio.get_running_loop().time
    began_s = now()
    pipeline = Pipeline(scripted, Settings(**settings))
    return [Emitted(now() - began_s, event) async for event in pipeline.stream(request)]
