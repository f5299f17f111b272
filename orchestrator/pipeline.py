"""The turn: an utterance is transcribed, answered, cut into chunks, and each chunk is spoken while the
next is being written."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from orchestrator.chunker import Chunker
from orchestrator.stage_call import CallLimits, Output, StageCall
from orchestrator.turn_log import TurnLog, logger
from shared.errors import BadAudio, Overloaded, SpeechError, Stage, StageFailed, TooLong
from shared.ledger import Activity, LedgerClock
from shared.payloads import ChatMessage, Mp3Audio, Speech, TextDelta, ToolCall
from shared.settings import Settings
from shared.stage_stream import AudioSegment, LLMOutput, StageFinished, StageStarted, StageStream, Transcript
from shared.stages import Stages
from shared.turn import (
    Failure,
    NoSpeechDetected,
    ReplyDelta,
    SpeechChunk,
    StageWaiting,
    ToolCallRequested,
    TranscriptReady,
    TurnCompleted,
    TurnEnd,
    TurnEvent,
    TurnFailed,
    TurnRequest,
    TurnStarted,
)

T = TypeVar("T")


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
        turn = _Turn(request, self._stages, self._settings)
        self._active_turns += 1
        running = asyncio.create_task(turn.run(call_id, overloaded=overloaded))
        try:
            while True:
                event = await turn.events.get()
                yield event
                if isinstance(event, TurnEnd):
                    return
        finally:
            self._active_turns -= 1
            await _cancel(running)


class _Turn:
    """One turn under way.

    What it has to tell goes into `events`, which is bounded: a client that does not take its events
    holds its own turn up, and nothing else.
    """

    def __init__(self, request: TurnRequest, stages: Stages, settings: Settings) -> None:
        self.events: asyncio.Queue[TurnEvent] = asyncio.Queue(settings.max_undelivered_events)
        self._request = request
        self._stages = stages
        self._settings = settings
        self._clock = LedgerClock(asyncio.get_running_loop().time)
        self._log = TurnLog(request)
        self._segments_spoken = 0
        self._untold_reply = ""
        self._telling_reply = asyncio.Lock()
        self._first_text: list[tuple[Activity, int, int | None]] = []

    async def run(self, call_id: str, *, overloaded: bool) -> None:
        """Play the turn and tell how it ended."""
        try:
            await self.events.put(TurnStarted(call_id=call_id))
            end = await self._play_to_its_end(overloaded=overloaded)
            self._log.outcome = end.event.removeprefix("turn_")
            await self.events.put(end)
        finally:
            self._log.write(self._clock.ledger(), texts=self._settings.log_texts)

    async def _play_to_its_end(self, *, overloaded: bool) -> TurnCompleted | NoSpeechDetected | TurnFailed:
        try:
            self._check(overloaded=overloaded)
            someone_spoke = await self._play()
        except Exception as error:
            failure = Failure.of(_as_speech_error(error))
            await self._tell_reply()  # what was written before it failed is finished work
            self._clock.lap(failure.stage, "lost")
            self._log.failure = failure
            return TurnFailed(**failure.model_dump(), ledger=self._clock.ledger(), models=self._log.models)
        if not someone_spoke:
            return NoSpeechDetected(ledger=self._clock.ledger(), models=self._log.models)
        return TurnCompleted(ledger=self._clock.ledger(), models=self._log.models)

    def _check(self, *, overloaded: bool) -> None:
        """Refuse what would only cost the stages something."""
        audio, settings = self._request.audio, self._settings
        if overloaded:
            raise Overloaded("Too many turns at once. Try again in a moment.")
        if audio is not None:
            _check_audio(audio, settings)
        self._clock.lap(Stage.ORCHESTRATOR, "checks")

    async def _play(self) -> bool:
        """The turn itself. Returns False if nobody spoke."""
        transcript = ""
        if (audio := self._request.audio) is not None:
            transcript = await self._retried(Stage.ASR, lambda: self._transcribe(audio))
            if not transcript:
                return False
            self._log.transcript = transcript
            await self.events.put(TranscriptReady(text=transcript))
        await self._retried(Stage.LLM, lambda: self._reply(self._messages(transcript)))
        return True

    async def _transcribe(self, audio: Speech) -> str:
        text = ""
        stream = self._stages.transcribe(audio, language=self._request.language)
        call = self._call(Stage.ASR, stream, Transcript)
        async with aclosing(call.outputs()) as transcripts:
            async for transcript in transcripts:
                text = transcript.text.strip()
                self._clock.lap(Stage.ASR, "work", callee_us=transcript.elapsed_us)
        return text

    async def _reply(self, messages: list[ChatMessage]) -> None:
        """Have the reply written, and each chunk of it spoken while the rest is being written."""
        self._untold_reply, self._first_text = "", []
        chunker = Chunker(
            min_first=self._settings.min_first_chunk_characters,
            max_first=self._settings.max_first_chunk_characters,
            min_later=self._settings.min_chunk_characters,
            max_later=self._settings.max_chunk_characters,
            max_growth=self._settings.max_chunk_growth,
        )
        writing = asyncio.create_task(self._write(messages, chunker))
        speaking = asyncio.create_task(self._speak(chunker))
        try:
            await asyncio.wait({writing, speaking}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and not self._segments_spoken:
                writing.result()  # raises at once if the reply broke off unheard: it can be written anew
            await speaking  # of one that broke off later, the complete sentences are still spoken
            await self._tell_reply()  # of tool calls and text that cannot be spoken
        finally:
            await _cancel(writing, speaking)

    async def _write(self, messages: list[ChatMessage], chunker: Chunker) -> None:
        """Pass the LLM's text to the chunker, and to the client once it is being spoken. Its tool calls go to
        the client at its end: a retried reply must not ask for them twice."""
        settings, characters = self._settings, 0
        tool_calls: list[ToolCall] = []
        stream = self._stages.generate(
            messages,
            tools=self._request.tools,
            max_tokens=min(self._request.max_tokens, settings.max_reply_tokens),
            temperature=self._request.temperature,
        )
        try:
            async with aclosing(self._call(Stage.LLM, stream, LLMOutput).outputs()) as outputs:
                async for output in outputs:
                    match output.delta:
                        case ToolCall() as call:
                            tool_calls.append(call)
                        case TextDelta(text=text):
                            if text and not characters:
                                first_us = self._clock.now_us()
                                self._first_text.append(("first token", first_us, output.elapsed_us))
                            characters += len(text)
                            chunker.write(text)
                            self._untold_reply += text
                            if self._segments_spoken:
                                await self._tell_reply()
                    if characters >= settings.max_reply_characters:
                        break
            self._log.tool_calls = len(tool_calls)
            for call in tool_calls:
                await self.events.put(ToolCallRequested(call=call))
            chunker.close()
        except Exception as error:
            chunker.fail(error)
            raise

    async def _speak(self, chunker: Chunker) -> None:
        """Have the chunks spoken, one after another."""
        index = 0
        while (text := await chunker.next_chunk()) is not None:
            self._book_text()
            await self._retried(Stage.TTS, partial(self._speak_chunk, index, text))
            if not index and not chunker.is_done:
                await self._hold()
            index += 1
        if index == 0:
            self._book_text()
            if not self._log.tool_calls:
                raise StageFailed("The LLM's reply holds nothing that can be spoken.", Stage.LLM)

    async def _hold(self) -> None:
        """Wait until the request allows a second chunk."""
        wait_s = self._request.second_chunk_after_s - self._clock.elapsed_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)
            self._clock.lap(Stage.ORCHESTRATOR, "held")

    async def _speak_chunk(self, index: int, text: str) -> None:
        segment, told_us = 0, 0
        request = self._request
        stream = self._stages.synthesize(text, voice=request.voice, language=request.language)
        async with aclosing(self._call(Stage.TTS, stream, AudioSegment).outputs()) as segments:
            async for speech in segments:
                self._clock.lap(Stage.TTS, "work", callee_us=speech.elapsed_us - told_us)
                told_us = speech.elapsed_us
                await self._tell_speech(
                    SpeechChunk(index=index, segment=segment, text=text, audio=speech.audio)
                )
                segment += 1
        self._clock.lap(Stage.TTS, "work")
        if not segment:
            raise StageFailed("The TTS made no speech of a chunk.", Stage.TTS)
        self._log.chunks += 1

    async def _tell_speech(self, chunk: SpeechChunk) -> None:
        self._segments_spoken += 1
        self._log.speech_s += chunk.audio.duration_s
        await self._tell_reply()
        await self.events.put(chunk)
        self._clock.lap(Stage.ORCHESTRATOR, "delivery")
        self._clock.first_audio()

    async def _tell_reply(self) -> None:
        """Tell what of the reply has not been told; its order holds, whoever tells."""
        async with self._telling_reply:
            text, self._untold_reply = self._untold_reply, ""
            if text:
                self._log.reply += text
                await self.events.put(ReplyDelta(text=text))

    async def _retried(self, stage: Stage, work: Callable[[], Awaitable[T]]) -> T:
        """Do a stage's work; if it fails and can be retried, again, while nothing of it was spoken."""
        for attempts_left in reversed(range(self._settings.stage_attempts)):
            segments_spoken = self._segments_spoken
            try:
                return await work()
            except SpeechError as error:
                own = error.stage is stage and error.retryable
                if not (own and attempts_left and segments_spoken == self._segments_spoken):
                    raise
                self._clock.lap(stage, "lost")
                logger.warning("The %s stage is tried again: %s", stage, error)
        raise AssertionError("the last attempt returns or raises")

    def _call(self, stage: Stage, stream: StageStream, output: type[Output]) -> StageCall[Output]:
        return StageCall(
            stage,
            stream,
            output,
            CallLimits(
                start_timeout_s=self._settings.stage_start_timeout_s,
                waiting_after_s=self._settings.stage_waiting_after_s,
                output_timeout_s=self._settings.output_timeout_s(stage),
            ),
            on_waiting=self._on_waiting,
            on_started=self._on_started,
            on_finished=self._on_finished,
        )

    def _on_waiting(self, stage: Stage) -> None:
        if not self.events.full():
            self.events.put_nowait(StageWaiting(stage=stage))

    def _on_started(self, stage: Stage, started: StageStarted) -> None:
        self._log.models = self._log.models.model_copy(update={stage.value: started.model})
        if started.cold and stage not in self._log.cold:
            self._log.cold.append(stage)
        if stage is not Stage.LLM:  # it is read beside the critical path, see _book_text
            self._clock.lap(stage, "start")
        elif not self._segments_spoken:
            self._first_text.append(("start", self._clock.now_us(), None))

    def _on_finished(self, stage: Stage, finished: StageFinished) -> None:
        self._clock.busy(stage, finished.busy_us)

    def _book_text(self) -> None:
        """Book the wait for a chunk; for the first one, as start, first token and the rest of it."""
        for activity, until_us, callee_us in self._first_text:
            self._clock.lap(Stage.LLM, activity, until_us=until_us, callee_us=callee_us)
        self._first_text.clear()
        self._clock.lap(Stage.LLM, "work")

    def _messages(self, transcript: str) -> list[ChatMessage]:
        conversation, newest = self._request.conversation, self._settings.max_conversation_messages
        if not transcript:
            newest = max(newest, 1)  # the last one is the question
        first = max(0, len(conversation) - newest)
        while first and conversation[first:] and conversation[first].role == "tool":
            first -= 1  # a result without its tool call is no conversation
        system = ChatMessage(role="system", content=self._request.system_prompt)
        question = [ChatMessage(role="user", content=transcript)] if transcript else []
        return [system, *conversation[first:], *question]


def _check_audio(audio: Speech, settings: Settings) -> None:
    if isinstance(audio, Mp3Audio) and len(audio.mp3) > settings.max_request_bytes:
        raise TooLong(f"The audio has more than {settings.max_request_bytes:,} bytes. Send a shorter one.")
    if audio.duration_s > settings.max_audio_s:
        raise TooLong(f"The audio is longer than {settings.max_audio_s:g} s. Send a shorter one.")
    if audio.duration_s < settings.min_audio_s:
        raise BadAudio(f"The audio is shorter than {settings.min_audio_s:g} s: nothing can be said in it.")


def _as_speech_error(error: Exception) -> SpeechError:
    if isinstance(error, SpeechError):
        return error
    logger.error("A turn failed in the orchestrator itself.", exc_info=error)
    return StageFailed(f"The orchestrator failed: {error!r}")


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
