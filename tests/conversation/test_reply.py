"""The reply to one request: kept until it is certain that it is wanted, and stopped when it is not."""

import asyncio
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import numpy as np
import pytest

from conversation.audio import SegmentPlayed
from conversation.reply import OnEvent, Reply, SpokenTurn
from conversation.turn_recorder import TurnRecorder
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.errors import BadAudio, Overloaded
from shared.ledger import Ledger
from shared.payloads import Mp3Audio
from shared.turn import (
    Failure,
    Models,
    ReplyDelta,
    SpeechChunk,
    TranscriptReady,
    TurnCompleted,
    TurnEvent,
    TurnRequest,
)
from tests.support.waiting import until_async

QUESTION = Mp3Audio(mp3=b"a question", sample_rate_hz=16_000, num_samples=16_000)
SPEECH = Pcm(np.full(1600, 0.1, np.float32), 16_000)
ENDED = TurnCompleted(ledger=Ledger(spans=(), total_us=0), models=Models())
TRANSCRIBED, WRITTEN = TranscriptReady(text="two plus two"), ReplyDelta(text="four")
SPOKEN = SpeechChunk(index=0, segment=0, text="It is four.", audio=SPEECH)


@dataclass
class Turns:
    """Runs these events, then an error, if any, or waits to be cancelled."""

    events: tuple[TurnEvent, ...]
    error: Exception | None = None
    closed: bool = False
    emitted: list[TurnEvent] = field(default_factory=list)
    recorder: TurnRecorder = field(
        default_factory=lambda: TurnRecorder(asyncio.get_running_loop().time, "session", 0.0, 0.0)
    )
    _played: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        try:
            for event in self.events:
                yield event
            if self.error:
                raise self.error
            self._played.set()
            await asyncio.Event().wait()
        finally:
            self.closed = True
            self._played.set()

    async def request(self) -> TurnRequest:
        request = TurnRequest(audio=QUESTION)
        self.recorder.request_sent(request)
        return request

    def reply(self, emit: OnEvent | None = None) -> Reply:
        return Reply(self, QUESTION, self.request, self.recorder, emit or self.emitted.append)

    async def begun(self) -> Reply:
        """The reply, when all has come."""
        reply = self.reply()
        await self.played()
        return reply

    async def played(self) -> None:
        await self._played.wait()
        for _ in range(10):  # what ends has some steps to its end
            await asyncio.sleep(0)


def turn_of(reply: Reply, *played: SegmentPlayed) -> SpokenTurn:
    return reply.spoken_turn(played, 16_000, interrupted=True, underruns=0)


async def test_events_are_recorded_at_once_and_emitted_in_their_order_once_released() -> None:
    turns = Turns((TRANSCRIBED, WRITTEN, SPOKEN, ENDED))
    reply = await turns.begun()
    assert (turns.emitted, turns.recorder.record().reply_us) == ([], 100_000)
    assert reply.transcribed.is_set()
    reply.release()
    assert turns.emitted == [TRANSCRIBED, WRITTEN, SPOKEN, ENDED]
    turn = turn_of(reply, SegmentPlayed(1600, 800))
    assert (turn.transcript, turn.reply, turn.played) == ("two plus two", "It is four.", "It …")
    assert (turn.question, turn.speech, turn.record.played_us) == (QUESTION, [SPEECH], 50_000)
    await asyncio.wait([reply.cancel()])


async def test_speech_is_emitted_decoded() -> None:
    turns = Turns((SPOKEN.model_copy(update={"audio": encode_mp3(SPEECH)}),))
    reply = await turns.begun()
    reply.release()
    (emitted,) = turns.emitted
    assert isinstance(emitted, SpeechChunk)
    assert isinstance(emitted.audio, Pcm)
    assert emitted.audio.num_samples == SPEECH.num_samples
    await asyncio.wait([reply.cancel()])


async def test_speech_that_nobody_wants_again_takes_no_memory() -> None:
    turns = Turns((SPOKEN.model_copy(update={"audio": encode_mp3(SPEECH)}), ENDED))
    reply = await turns.begun()
    reply.release()
    emitted = turns.emitted.pop(0)
    assert isinstance(emitted, SpeechChunk)
    assert isinstance(emitted.audio, Pcm)
    kept = weakref.ref(emitted.audio.samples)
    del emitted
    assert kept() is not None
    reply.forget_speech()
    await until_async(lambda: kept() is None)  # the thread that decoded it may still be about to let it go
    await asyncio.wait([reply.cancel()])


async def test_a_cancelled_reply_emits_no_more_and_closes_its_turn() -> None:
    turns = Turns((TRANSCRIBED,))
    reply = await turns.begun()
    stopping = reply.cancel()
    reply.release()
    await asyncio.wait([stopping])
    assert (turns.emitted, turns.closed, reply.ended) == ([], True, True)


async def test_a_muted_reply_emits_no_more_and_its_turn_goes_on() -> None:
    turns = Turns((TRANSCRIBED, SPOKEN))
    reply = turns.reply()
    reply.mute()
    reply.release()
    await turns.played()
    assert (turns.emitted, turns.closed) == ([], False)
    assert turn_of(reply).transcript == "two plus two"
    await asyncio.wait([reply.cancel()])


async def test_a_reply_that_is_cancelled_before_it_begins_never_asks() -> None:
    turns = Turns((TRANSCRIBED,))
    reply = turns.reply()
    await asyncio.wait([reply.cancel()])
    await asyncio.wait_for(reply.transcribed.wait(), 1.0)
    assert (turns.recorder.record().turn_id, turns.closed, reply.ended) == ("", False, True)


@pytest.mark.parametrize("error", [Overloaded("Too much at once."), BadAudio("No MP3.")])
async def test_a_turn_that_breaks_off_ends_the_reply_with_its_error(error: Overloaded | BadAudio) -> None:
    reply = await Turns((TRANSCRIBED,), error).begun()
    assert (reply.ended, turn_of(reply).record.failure) == (True, Failure.of(error))


async def test_no_transcript_is_waited_for_that_cannot_come() -> None:
    reply = await Turns((), Overloaded("Too much at once.")).begun()
    await asyncio.wait_for(reply.transcribed.wait(), 1.0)


async def test_speech_that_cannot_be_decoded_ends_the_reply_with_its_error() -> None:
    broken = Mp3Audio(mp3=b"no mp3 at all", sample_rate_hz=16_000, num_samples=1600)
    turns = Turns((SPOKEN.model_copy(update={"audio": broken}),))
    failure = turn_of(await turns.begun()).record.failure
    assert failure
    assert failure.kind == "bad_audio"
    assert turns.closed


async def test_an_unexpected_error_is_raised_where_the_reply_is_looked_after() -> None:
    reply = await Turns((), ZeroDivisionError()).begun()
    with pytest.raises(ZeroDivisionError):
        _ = reply.ended


async def test_an_error_of_who_gets_the_events_closes_the_turn_and_is_none_of_the_turn() -> None:
    turns = Turns((TRANSCRIBED, WRITTEN))

    def broken(event: TurnEvent) -> None:
        raise ZeroDivisionError

    reply = turns.reply(broken)
    reply.release()
    await turns.played()
    with pytest.raises(ZeroDivisionError):
        _ = reply.ended
    assert (turns.closed, turn_of(reply).record.failure) == (True, None)
