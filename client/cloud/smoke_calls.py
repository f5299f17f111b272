"""One call of each deployed app, with real input, and what came of it."""

import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from client.audio.audio_file import read_audio
from client.turn_source import deployed_turns
from orchestrator.modal_stages import ModalStages
from services.host.vad_gate import SpeechGate
from shared.audio.decode import to_pcm
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import join, resample
from shared.engines import ASR_SAMPLE_RATE_HZ
from shared.errors import Stage, StageFailed
from shared.payloads import ChatMessage, Speech, TextDelta
from shared.settings import Settings
from shared.stage_stream import AudioSegment, LLMOutput, StageStarted, StageStream, Transcript
from shared.turn import ReplyDelta, SpeechChunk, TurnCompleted, TurnFailed, TurnRequest

QUESTION = Path(__file__).parents[2] / "examples" / "what-is-two-plus-two.mp3"
QUESTION_TEXT = "What is two plus two?"


@dataclass
class Answer:
    """What came of one call: the time to its first output and to its end, and whether it met a cold start
    (None: not known)."""

    first_ms: int
    total_ms: int
    cold: bool | None
    model: str
    text: str


class SmokeCalls:
    """Calls the apps of a deployment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stages = ModalStages(settings)
        self._question = encode_mp3(read_audio(str(QUESTION), settings), settings.mp3_bitrate_kbps)
        self._calls: dict[Stage, Callable[[], Awaitable[Answer]]] = {
            Stage.ASR: lambda: self._service(Stage.ASR, self._stages.transcribe(self._question)),
            Stage.LLM: lambda: self._service(
                Stage.LLM,
                self._stages.generate(
                    [ChatMessage(role="user", content=QUESTION_TEXT)], max_tokens=50, temperature=0.0
                ),
            ),
            Stage.TTS: lambda: self._service(Stage.TTS, self._stages.synthesize(QUESTION_TEXT)),
            Stage.ORCHESTRATOR: self._orchestrator,
        }

    async def call(self, stage: Stage) -> Answer:
        """Call the stage's app. Raises SpeechError if it does not answer, or with nothing."""
        return await self._calls[stage]()

    async def _service(self, stage: Stage, stream: StageStream) -> Answer:
        answer = _Answering(stage)
        async with aclosing(stream) as items:
            async for item in items:
                match item:
                    case StageStarted(cold=cold, model=model):
                        answer.cold, answer.model = cold, model
                    case Transcript(text=text) | LLMOutput(delta=TextDelta(text=text)):
                        answer.said(text)
                    case AudioSegment(audio=audio):
                        answer.spoken(audio)
        return answer.ended()

    async def _orchestrator(self) -> Answer:
        answer = _Answering(Stage.ORCHESTRATOR)
        request = TurnRequest(audio=self._question)
        async with (
            deployed_turns(self._settings, lambda _: None) as turns,
            aclosing(turns(request)) as events,
        ):
            async for event in events:
                match event:
                    case ReplyDelta(text=text):
                        answer.reply += text
                    case SpeechChunk(audio=audio):
                        answer.spoken(audio)
                    case TurnFailed():
                        raise event.to_error()
                    case TurnCompleted(models=models):
                        answer.model = f"{models.asr}, {models.llm}, {models.tts}"
        return answer.ended()


class _Answering:
    """An answer as it comes."""

    def __init__(self, stage: Stage) -> None:
        self.cold: bool | None = None
        self.model = ""
        self.reply = ""
        self._stage = stage
        self._speech: list[Speech] = []
        self._began_s = time.perf_counter()
        self._first_ms: int | None = None

    def said(self, text: str) -> None:
        """Take a bit of text."""
        self.reply += text
        self._output()

    def spoken(self, audio: Speech) -> None:
        """Take a bit of speech."""
        self._speech.append(audio)
        self._output()

    def ended(self) -> Answer:
        """The answer. Raises StageFailed if it is empty, or is speech in which nobody speaks."""
        total_ms = self._ms()
        if self._first_ms is None or not (self.reply or self._speech):
            raise StageFailed(f"The {self._stage} gave an empty answer.", self._stage)
        return Answer(self._first_ms, total_ms, self.cold, self.model, self._told())

    def _told(self) -> str:
        if not self._speech:
            return self.reply
        speech = join([to_pcm(one) for one in self._speech])
        if not SpeechGate().has_speech(resample(speech, ASR_SAMPLE_RATE_HZ)):
            raise StageFailed(f"Nobody speaks in the speech of the {self._stage}.", self._stage)
        return f"{self.reply} ({speech.duration_s:.1f} s of speech)".strip()

    def _output(self) -> None:
        if self._first_ms is None:
            self._first_ms = self._ms()

    def _ms(self) -> int:
        return round((time.perf_counter() - self._began_s) * 1000)
