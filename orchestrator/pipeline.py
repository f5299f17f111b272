"""The turn: an utterance is transcribed, answered, cut into chunks, and each chunk is synthesized while the
next is being written."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar
from uuid import uuid4

from orchestrator.chunker import Chunker
from orchestrator.messages import messages_for_llm
from orchestrator.stage_call import Output, stage_outputs
from orchestrator.turn_log import logger
from orchestrator.turn_output import TurnOutput
from orchestrator.turn_span import end_turn_span, start_turn_span
from shared.errors import BadAudio, Overloaded, SpeechError, Stage, StageFailed, TooLong
from shared.ledger import Ledger
from shared.payloads import ChatMessage, Mp3Audio, Speech, ToolCall
from shared.settings import Settings
from shared.stage_stream import AudioSegment, LLMOutput, Stages, StageStream, Transcript
from shared.telemetry import Span, error_attributes
from shared.turn import (
    Failure,
    Models,
    NoSpeechDetected,
    SpeechChunk,
    TranscriptReady,
    TurnCompleted,
    TurnEnd,
    TurnEvent,
    TurnFailed,
    TurnRequest,
    TurnStarted,
)

T = TypeVar("T")

OVERLOADED_PAUSE_S = (0.1, 0.3)
"""Between these, at random: an overloaded stage is not asked again at once, nor by all at the same moment."""


class Pipeline:
    """Runs turns over three stages; any number at once, up to `settings.max_active_turns`."""

    def __init__(self, stages: Stages, settings: Settings) -> None:
        self._stages = stages
        self._settings = settings
        self._active_turns = 0

    async def stream(self, request: TurnRequest, *, call_id: str = "") -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of a turn as they happen (see `shared.turn.TurnEvent`).

        Whatever goes wrong ends in the event TurnFailed; nothing is raised. Closing the generator, or
        cancelling the task that reads it, cancels the turn in all its stages.
        """
        overloaded = self._active_turns >= self._settings.max_active_turns
        output = TurnOutput(request, self._settings)
        turn = _Turn(request, self._stages, self._settings, output, start_turn_span(request, call_id))
        run = {"attempt_id": uuid4().hex}
        self._active_turns += 1
        running = asyncio.create_task(turn.run(call_id, overloaded=overloaded))
        running.add_done_callback(lambda _: output.close())
        try:
            while True:
                event = await output.next_event() or _broken(running)
                yield event.model_copy(update=run)
                if isinstance(event, TurnEnd):
                    return
        finally:
            self._active_turns -= 1
            await _cancel(running)


class _Turn:
    """One turn under way."""

    def __init__(
        self, request: TurnRequest, stages: Stages, settings: Settings, output: TurnOutput, span: Span
    ) -> None:
        self._span = span
        self._request = request
        self._stages = stages
        self._settings = settings
        self._output = output
        self._clock = output.clock
        self._log = output.log

    async def run(self, call_id: str, *, overloaded: bool) -> None:
        """Run the turn to its end."""
        try:
            with self._span.current():
                await self._output.emit(TurnStarted(call_id=call_id))
                end = await self._run_to_its_end(overloaded=overloaded)
            self._log.outcome = end.event.removeprefix("turn_")
            await self._output.emit(end)
        finally:
            ledger = self._clock.ledger()
            self._log.write(ledger, texts=self._settings.log_texts)
            end_turn_span(self._span, self._log, ledger)

    async def _run_to_its_end(self, *, overloaded: bool) -> TurnCompleted | NoSpeechDetected | TurnFailed:
        try:
            self._check(overloaded=overloaded)
            someone_spoke = await self._answer()
        except Exception as error:
            failure = Failure.of(_as_speech_error(error))
            await self._output.emit_text()  # what was written before it failed is finished work
            self._clock.lap(failure.stage, "lost")
            self._log.failure = failure
            return TurnFailed(**failure.model_dump(), ledger=self._clock.ledger(), models=self._log.models)
        ledger, models = self._clock.ledger(), self._log.models
        if not someone_spoke:
            return NoSpeechDetected(ledger=ledger, models=models)
        return TurnCompleted(at_limit=self._output.at_limit, ledger=ledger, models=models)

    def _check(self, *, overloaded: bool) -> None:
        """Refuse what would only cost the stages something."""
        if overloaded:
            raise Overloaded("Too many turns at once. Try again in a moment.")
        if self._request.audio is not None:
            _check_audio(self._request.audio, self._settings)
        self._clock.lap(Stage.ORCHESTRATOR, "checks")

    async def _answer(self) -> bool:
        """The turn itself. Returns False if nobody spoke."""
        transcript = ""
        if (audio := self._request.audio) is not None:
            ready = await self._retried(Stage.ASR, lambda: self._transcribe(audio))
            if not (transcript := ready.text):
                return False
            self._log.transcript = transcript
            await self._output.emit(ready)
            if self._request.transcribe_only:
                return True
        messages = messages_for_llm(self._request, transcript, self._settings)
        await self._retried(Stage.LLM, lambda: self._reply(messages))
        return True

    async def _transcribe(self, audio: Speech) -> TranscriptReady:
        ready, request = TranscriptReady(text=""), self._request
        language = request.audio_language or request.language
        stream = self._stages.transcribe(audio, language=language, word_times=request.word_times)
        async with aclosing(self._outputs(Stage.ASR, stream, Transcript)) as transcripts:
            async for transcript in transcripts:
                ready = TranscriptReady(text=transcript.text.strip(), words=transcript.words)
                self._clock.lap(Stage.ASR, "work", callee_us=transcript.elapsed_us)
        return ready

    async def _reply(self, messages: list[ChatMessage]) -> None:
        """Generate the reply, and synthesize each chunk of it while the rest is being generated."""
        self._output.begin_reply()
        if not self._request.spoken:
            await self._write(messages)
            self._output.book_text()
            if not self._log.reply and not self._log.tool_calls:
                raise StageFailed("The LLM's reply is empty.", Stage.LLM)
            return
        chunker = Chunker.of(self._settings)
        writing = asyncio.create_task(self._write(messages, chunker))
        speaking = asyncio.create_task(self._speak(chunker))
        try:
            await asyncio.wait({writing, speaking}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and not self._output.segments:
                writing.result()  # raises at once if the reply broke off unspoken: it can be retried
            await speaking  # if the reply broke off later, its complete sentences are still synthesized
            await self._output.emit_text()  # what could not be spoken
        finally:
            await _cancel(writing, speaking)

    async def _write(self, messages: list[ChatMessage], chunker: Chunker | None = None) -> None:
        """Pass the LLM's text on as it comes, and its tool calls at the end: a retried reply must not ask for
        them twice."""
        settings, characters = self._settings, 0
        tool_calls: list[ToolCall] = []
        stream = self._stages.generate(
            messages,
            tools=self._request.tools,
            max_tokens=min(self._request.max_tokens, settings.max_reply_tokens),
            temperature=self._request.temperature,
        )
        try:
            async with aclosing(self._outputs(Stage.LLM, stream, LLMOutput)) as outputs:
                async for output in outputs:
                    if isinstance(output.delta, ToolCall):
                        tool_calls.append(output.delta)
                        continue
                    text = output.delta.text
                    if chunker:
                        chunker.write(text)
                    await self._output.add_text(text, output.elapsed_us)
                    characters += len(text)
                    if characters >= settings.max_reply_characters:
                        self._output.at_limit = True
                        break
            await self._output.emit_tool_calls(tool_calls)
            if chunker:
                chunker.close()
        except Exception as error:
            if chunker:
                chunker.fail(error)
            raise

    async def _speak(self, chunker: Chunker) -> None:
        """Have the chunks synthesized, one after another."""
        index = 0
        while (text := await chunker.next_chunk()) is not None:
            self._output.book_text()
            await self._retried(Stage.TTS, partial(self._synthesize, index, text))
            if not index and not chunker.is_done:
                await self._hold()
            index += 1
        if self._output.segments:
            return
        self._output.book_text()
        if not self._log.tool_calls:
            missing = "The LLM's reply holds nothing", Stage.LLM
            if index:
                missing = "The TTS found nothing in the reply", Stage.TTS
            raise StageFailed(f"{missing[0]} that can be spoken.", missing[1])

    async def _hold(self) -> None:
        """Wait until the request allows a second chunk."""
        wait_s = self._request.second_chunk_after_s - self._clock.elapsed_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)
            self._clock.lap(Stage.ORCHESTRATOR, "held")

    async def _synthesize(self, index: int, text: str) -> None:
        request, segment, so_far_us = self._request, 0, 0
        stream = self._stages.synthesize(text, voice=request.voice, language=request.language)
        async with aclosing(self._outputs(Stage.TTS, stream, AudioSegment)) as segments:
            async for one in segments:
                self._clock.lap(Stage.TTS, "work", callee_us=one.elapsed_us - so_far_us)
                so_far_us = one.elapsed_us
                await self._output.emit_speech(
                    SpeechChunk(index=index, segment=segment, text=text, audio=one.audio)
                )
                segment += 1
        self._clock.lap(Stage.TTS, "work")
        self._log.chunks += 1
        if not segment:  # a voice may know none of a text's letters
            logger.warning("The TTS made no speech of chunk %d; it is left out.", index)

    async def _retried(self, stage: Stage, work: Callable[[], Awaitable[T]]) -> T:
        """Run a stage's work; retry it if that can help and none of its output has been emitted."""
        for attempts_left in reversed(range(self._settings.stage_attempts)):
            delivered = self._output.delivered
            try:
                return await work()
            except SpeechError as error:
                own = error.stage is stage and error.retryable
                if not (own and attempts_left and delivered == self._output.delivered):
                    raise
                logger.warning("Retrying the %s stage: %s", stage, error)
                self._span.event("retry", error_attributes(error))
                if isinstance(error, Overloaded):
                    await asyncio.sleep(random.uniform(*OVERLOADED_PAUSE_S))
                self._clock.lap(stage, "lost")
        raise AssertionError("the last attempt returns or raises")

    def _outputs(
        self, stage: Stage, stream: StageStream, output: type[Output]
    ) -> AsyncGenerator[Output, None]:
        return stage_outputs(stage, stream, output, self._settings, self._output)


def _check_audio(audio: Speech, settings: Settings) -> None:
    if isinstance(audio, Mp3Audio) and len(audio.mp3) > settings.max_request_bytes:
        raise TooLong(f"The audio has more than {settings.max_request_bytes:,} bytes. Send a shorter one.")
    if audio.duration_s > settings.max_audio_s:
        raise TooLong(f"The audio is longer than {settings.max_audio_s:g} s. Send a shorter one.")
    if audio.duration_s < settings.min_audio_s:
        raise BadAudio(f"The audio is shorter than {settings.min_audio_s:g} s: nothing can be said in it.")


def _as_speech_error(error: BaseException) -> SpeechError:
    if isinstance(error, SpeechError):
        return error
    logger.error("A turn failed in the orchestrator itself.", exc_info=error)
    return StageFailed(f"The orchestrator failed: {error!r}")


def _broken(running: asyncio.Task[None]) -> TurnFailed:
    """The end of a turn that ended without one."""
    error = None if running.cancelled() else running.exception()
    failure = Failure.of(_as_speech_error(error or RuntimeError("its task was cancelled")))
    return TurnFailed(**failure.model_dump(), ledger=Ledger(spans=(), total_us=0), models=Models())


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
