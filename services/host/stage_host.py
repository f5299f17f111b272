"""An engine behind its stage stream: what a container serves, and what runs in process."""

import asyncio
import threading
import time
from abc import ABC
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar
from uuid import uuid4

from services.host.batch_queue import BatchQueue
from services.host.vad_gate import SpeechGate
from services.host.worker_thread import WorkerThread
from shared.audio.decode import to_pcm
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm, resample
from shared.engines import ASR_SAMPLE_RATE_HZ, ASRModel, Engine, LLMModel, TTSModel
from shared.errors import BadRequest, EngineLoadFailed, SpeechError, Stage, StageFailed
from shared.payloads import ChatMessage, Mp3Audio, Speech, Tool
from shared.settings import Settings
from shared.stage_stream import (
    AudioSegment,
    LLMOutput,
    StageFinished,
    StageItem,
    StageStarted,
    StageStream,
    Transcript,
)

EngineType = TypeVar("EngineType", bound=Engine)


class StageHost(ABC, Generic[EngineType]):
    """Owns one engine: loads it, has it work on one thread, and tells what that cost.

    Calls that come before the engine is loaded wait for it. Every error leaves as a SpeechError that
    names the stage. `on_stuck` is called if the engine does not let go of work that nobody wants.
    """

    stage: ClassVar[Stage]

    def __init__(
        self, engine: EngineType, settings: Settings, *, on_stuck: Callable[[], None] = lambda: None
    ) -> None:
        self.engine = engine
        self._settings = settings
        self._worker = WorkerThread(
            f"{self.stage}-engine", on_stuck=on_stuck, stuck_after_s=settings.engine_stuck_after_s
        )
        self._loading: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Load the engine, once, however many ask.

        Raises SpeechError: EngineLoadFailed, unless the engine itself says something more exact.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(), name=f"load {self.stage} engine")
        await asyncio.shield(self._loading)

    async def close(self) -> None:
        """End the engine and its thread, also in the middle of work. A load, which cannot be interrupted and
        may take a minute, is abandoned."""
        loading = self._loading is not None and not self._loading.done()
        if self._loading is not None and loading:
            self._loading.cancel()
        await asyncio.to_thread(self._end, wait=not loading)

    def _end(self, *, wait: bool) -> None:
        self.engine.close()
        self._worker.close(wait=wait)

    async def _load(self) -> None:
        with self._typed_errors(EngineLoadFailed):
            await self._worker.run(self.engine.load)

    async def _start(self) -> StageStarted:
        cold = self._loading is None or not self._loading.done()
        await self.load()
        return StageStarted(attempt_id=uuid4().hex, model=self.engine.model_name, cold=cold)

    def _language(self, language: str | None) -> str | None:
        """The primary tag of a language that is asked for. Raises BadRequest if the engine lacks it."""
        if language is None:
            return None
        primary = language.partition("-")[0].lower()
        self._refuse_unless_offered("language", primary, self.engine.languages)
        return primary

    def _refuse_unless_offered(self, what: str, asked: str, offered: Sequence[str]) -> None:
        if asked not in offered:
            has = f"It has: {', '.join(offered)}." if offered else "It has only its own."
            raise BadRequest(f"{self.engine.model_name} has no {what} '{asked}'. {has}", self.stage)

    async def _on_thread(
        self,
        check: Callable[[], None],
        outputs: Callable[[str, "_Stopwatch", threading.Event], Iterator[StageItem]],
    ) -> StageStream:
        """A stage stream around outputs that are made on the worker thread: `outputs` gets the attempt's
        id, the time worked so far, and the event that tells of cancellation. `check` may refuse the call."""
        started = await self._start()
        check()

        def work(cancelled: threading.Event) -> Generator[StageItem, None, None]:
            yield started
            watch = _Stopwatch()
            yield from outputs(started.attempt_id, watch, cancelled)
            yield StageFinished(attempt_id=started.attempt_id, elapsed_us=watch.us, busy_us=watch.us)

        async with aclosing(self._worker.stream(work)) as items:
            with self._typed_errors():
                async for item in items:
                    yield item

    @contextmanager
    def _typed_errors(self, kind: type[SpeechError] = StageFailed) -> Iterator[None]:
        try:
            yield
        except SpeechError as error:
            raise type(error)(error.message, self.stage) from error
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise kind(f"{self.engine.model_name}: {reason}", self.stage) from error


class ASRHost(StageHost[ASRModel]):
    """Speech to text, behind the speech gate: an engine asked about silence answers with words.

    Calls that wait together are given to the engine together, as many as it works on at once.
    """

    stage = Stage.ASR

    def __init__(
        self, engine: ASRModel, settings: Settings, *, on_stuck: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(engine, settings, on_stuck=on_stuck)
        self._gate = SpeechGate()
        largest = settings.asr.concurrent_inputs or engine.spec.concurrent_inputs
        self._queue = BatchQueue[_Utterance, _Heard](self._worker, self._hear, largest)

    async def transcribe(self, audio: Speech, *, language: str | None = None) -> StageStream:
        """See `shared.stages.Stages`."""
        started = await self._start()
        ticket = self._queue.put(_Utterance(audio, self._language(language)))
        try:
            with self._typed_errors():
                await ticket.begun
                yield started
                heard = await ticket.result
            attempt_id, took_us = started.attempt_id, heard.took_us
            yield Transcript(attempt_id=attempt_id, text=heard.text, elapsed_us=took_us)
            yield StageFinished(attempt_id=attempt_id, elapsed_us=took_us, busy_us=took_us)
        finally:
            ticket.result.cancel()

    async def close(self) -> None:
        """End the engine and its thread, also in the middle of work; what waits fails."""
        await super().close()
        await self._queue.join()

    def _hear(self, utterances: Sequence["_Utterance"]) -> list["_Heard | Exception"]:
        watch = _Stopwatch()
        gated = [self._gated(one.audio) for one in utterances]
        texts: dict[int, str | Exception] = {
            i: one for i, one in enumerate(gated) if not isinstance(one, Pcm)
        }
        for language in dict.fromkeys(one.language for one in utterances):
            spoken = {
                index: one
                for index, one in enumerate(gated)
                if isinstance(one, Pcm) and utterances[index].language == language
            }
            texts |= zip(spoken, self._texts(list(spoken.values()), language), strict=True)
        took_us = watch.us
        outcomes = [texts[index] for index in range(len(utterances))]
        return [one if isinstance(one, Exception) else _Heard(one.strip(), took_us) for one in outcomes]

    def _gated(self, audio: Speech) -> Pcm | str | Exception:
        """The audio if somebody speaks in it, "" if not, or what is wrong with it."""
        try:
            pcm = resample(to_pcm(audio, self._settings.max_audio_s), ASR_SAMPLE_RATE_HZ)
            return pcm if self._gate.has_speech(pcm) else ""
        except Exception as error:
            return error

    def _texts(self, utterances: Sequence[Pcm], language: str | None) -> Sequence[str | Exception]:
        """What is said in each. One that breaks the engine does not take its neighbours with it."""
        if not utterances:
            return []
        try:
            texts = self.engine.transcribe_batch(utterances, language=language)
            if len(texts) != len(utterances):
                raise ValueError(f"{len(texts)} transcripts of {len(utterances)} utterances")
        except Exception as error:
            if len(utterances) == 1:
                return [error]
            return [self._texts([utterance], language)[0] for utterance in utterances]
        return texts


@dataclass(frozen=True)
class _Utterance:
    audio: Speech
    language: str | None


@dataclass(frozen=True)
class _Heard:
    text: str
    took_us: int


class LLMHost(StageHost[LLMModel]):
    """Conversation to reply; the engine is asynchronous by itself."""

    stage = Stage.LLM

    def __init__(
        self, engine: LLMModel, settings: Settings, *, on_stuck: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(engine, settings, on_stuck=on_stuck)
        self._capacity = asyncio.Semaphore(engine.spec.concurrent_inputs)

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> StageStream:
        """See `shared.stages.Stages`."""
        started = await self._start()
        if tools and not self.engine.supports_tools:
            raise BadRequest(f"{self.engine.model_name} has no tools. It answers with text only.", self.stage)
        async with self._capacity:
            yield started
            attempt_id, watch = started.attempt_id, _Stopwatch()
            reply = self.engine.generate(
                messages, tools=tools, max_tokens=max_tokens, temperature=temperature
            )
            async with aclosing(reply) as deltas:
                with self._typed_errors():
                    async for delta in deltas:
                        with watch.paused():  # the reader's time is not the engine's
                            yield LLMOutput(attempt_id=attempt_id, delta=delta, elapsed_us=watch.us)
            yield StageFinished(attempt_id=attempt_id, elapsed_us=watch.us, busy_us=watch.us)


class TTSHost(StageHost[TTSModel]):
    """Text to speech."""

    stage = Stage.TTS

    def synthesize(self, text: str, *, voice: str | None = None, language: str | None = None) -> StageStream:
        """See `shared.stages.Stages`."""

        def outputs(attempt_id: str, watch: _Stopwatch, cancelled: threading.Event) -> Iterator[StageItem]:
            segments = self.engine.synthesize(text, cancelled, voice=voice, language=self._language(language))
            for pcm in segments:
                yield AudioSegment(attempt_id=attempt_id, audio=pcm, elapsed_us=watch.us)

        def check() -> None:
            self._language(language)
            if voice is not None:
                self._refuse_unless_offered("voice", voice, self.engine.voices)

        return self._on_thread(check, outputs)

    async def synthesize_mp3(
        self, text: str, *, voice: str | None = None, language: str | None = None
    ) -> StageStream:
        """The same as MP3, for a caller in another process. A segment is encoded while the engine makes the
        next one."""
        elapsed_us = 0
        async with aclosing(self.synthesize(text, voice=voice, language=language)) as items:
            async for item in items:
                if not isinstance(item, AudioSegment):
                    yield item
                    continue
                watch = _Stopwatch()
                mp3 = await self._encoded(item)
                # The engine's next segment may have been ready before this one was encoded.
                elapsed_us = max(elapsed_us, item.elapsed_us) + watch.us
                yield item.model_copy(update={"audio": mp3, "elapsed_us": elapsed_us})

    async def _encoded(self, segment: AudioSegment) -> Mp3Audio:
        pcm = to_pcm(segment.audio)
        return await asyncio.to_thread(encode_mp3, pcm, self._settings.mp3_bitrate_kbps)


class _Stopwatch:
    """Time worked so far, in microseconds."""

    def __init__(self) -> None:
        self._start_ns = time.perf_counter_ns()

    @property
    def us(self) -> int:
        return (time.perf_counter_ns() - self._start_ns) // 1000

    @contextmanager
    def paused(self) -> Iterator[None]:
        paused_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self._start_ns += time.perf_counter_ns() - paused_ns
