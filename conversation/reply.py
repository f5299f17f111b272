"""The reply to one question: its events, held back until it is certain that the speaker has finished."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from conversation.audio import SegmentPlayed
from conversation.memory import SpokenSegment, played_text
from conversation.turn_record import TurnRecord
from conversation.turn_recorder import TurnRecorder
from shared.audio.decode import to_pcm
from shared.audio.pcm import Pcm
from shared.errors import SpeechError
from shared.payloads import Mp3Audio, Speech
from shared.turn import SpeechChunk, TranscriptReady, TurnCompleted, TurnEvent, TurnRequest

TurnSource = Callable[[TurnRequest], AsyncGenerator[TurnEvent, None]]
"""Runs a turn and yields its events; closing the generator cancels the turn in all its stages."""

OnEvent = Callable[[TurnEvent], None]


@dataclass
class SpokenTurn:
    """A turn that is over: what was said, what was answered, and how much of that was played."""

    record: TurnRecord
    question: Mp3Audio
    transcript: str
    reply: str
    played: str
    speech: list[Pcm]


class Reply:
    """Runs the turn of one question, from creation to `cancel` or to its end.

    Each event goes to the recorder when it comes, and to `emit`, its speech as Pcm, once the reply is
    released. `request` is awaited first.
    """

    def __init__(
        self,
        turns: TurnSource,
        question: Speech | None,
        request: Callable[[], Awaitable[TurnRequest]],
        recorder: TurnRecorder,
        emit: OnEvent,
    ) -> None:
        self.question = question
        self.recorder = recorder
        self.audible = False
        self.paused = False
        self.transcribed = asyncio.Event()
        """Set when the transcript has come, or cannot come any more."""
        self._transcript = ""
        self._chunks: list[SpeechChunk] = []
        self._completed = False
        self._error: SpeechError | None = None
        self._turns = turns
        self._observe: OnEvent = recorder.observe
        self._emit = emit
        self._held: list[TurnEvent] | None = []
        self._running = asyncio.create_task(self._run(request))
        self._running.add_done_callback(lambda _: self.transcribed.set())

    @property
    def ended(self) -> bool:
        """Whether no more events will come. Raises what `emit` raised, or an unexpected error of the turn."""
        if not self._running.done():
            return False
        if not self._running.cancelled():
            self._running.result()
        return True

    def release(self) -> None:
        """Emit the events so far, and from now on each one when it comes."""
        held, self._held = self._held or [], None
        for event in held:
            self._deliver(event)

    def mute(self) -> None:
        """Emit no more."""
        self._emit = _ignore

    def cancel(self) -> "asyncio.Task[None]":
        """Cancel the turn in all its stages and emit no more; the returned task ends when that is done."""
        self._observe = self._emit = _ignore
        self._running.cancel()
        return self._running

    def forget_speech(self) -> None:
        """Let go of the speech that was emitted so far: nobody wants its `spoken_turn`."""
        self._chunks.clear()

    def drop(self) -> "asyncio.Task[None]":
        """Cancel it, as the speaker goes on: the next request has all of this one's audio."""
        self.recorder.request_dropped()
        return self.cancel()

    def spoken_turn(
        self, played: Sequence[SegmentPlayed], rate_hz: int, *, interrupted: bool, underruns: int
    ) -> SpokenTurn:
        """The turn, which is over; of the segments that were emitted this was played, at this sample rate."""
        assert isinstance(self.question, Mp3Audio), "it was spoken"
        if self._error:
            self.recorder.failed(self._error)
        segments = [
            SpokenSegment(chunk.index, chunk.text, one.num_samples / rate_hz, one.played_samples / rate_hz)
            for chunk, one in zip(self._chunks, played, strict=True)
        ]
        played_s = sum(segment.played_s for segment in segments)
        return SpokenTurn(
            record=self.recorder.record(interrupted=interrupted, played_s=played_s, underruns=underruns),
            question=self.question,
            transcript=self._transcript,
            reply=" ".join({chunk.index: chunk.text for chunk in self._chunks}.values()),
            played=played_text(segments, complete=self._completed),
            speech=[to_pcm(chunk.audio) for chunk in self._chunks],
        )

    async def _run(self, request: Callable[[], Awaitable[TurnRequest]]) -> None:
        asked = await request()
        if not asked.transcribe_only:
            asked = asked.model_copy(update={"traceparent": self.recorder.traceparent})
        async with aclosing(self._decoded(asked)) as events:
            async for event in events:
                if self._held is None:
                    self._deliver(event)
                else:
                    self._held.append(event)

    async def _decoded(self, request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        try:
            async with aclosing(self._turns(request)) as events:
                async for event in events:
                    self._observe(event)
                    if isinstance(event, TranscriptReady):
                        self._transcript = event.text
                        self.transcribed.set()
                    yield await _with_pcm(event)
        except SpeechError as error:
            self._error = error

    def _deliver(self, event: TurnEvent) -> None:
        self._emit(event)
        self._completed |= isinstance(event, TurnCompleted)
        if isinstance(event, SpeechChunk) and self._emit is not _ignore:
            self._chunks.append(event)


async def _with_pcm(event: TurnEvent) -> TurnEvent:
    if isinstance(event, SpeechChunk) and isinstance(event.audio, Mp3Audio):
        return event.model_copy(update={"audio": await asyncio.to_thread(to_pcm, event.audio)})
    return event


def _ignore(event: TurnEvent) -> None:
    """For events of a reply that is not wanted any more."""
