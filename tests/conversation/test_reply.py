"""The reply to one request: kept until it is certain that it is wanted, and stopped when it is not."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import numpy as np
import pytest

from client.errors import OutputNotWritten
from conversation.reply import Reply
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.errors import BadAudio, Overloaded
from shared.payloads import Mp3Audio
from shared.turn import ReplyDelta, SpeechChunk, TranscriptReady, TurnEvent, TurnRequest

SPEECH = Pcm(np.full(1600, 0.1, np.float32), 16_000)
HEARD, WRITTEN = TranscriptReady(text="two plus two"), ReplyDelta(text="four")
SPOKEN = SpeechChunk(index=0, segment=0, text="four", audio=SPEECH)


@dataclass
class Turns:
    """Plays these events, then an error, if any, or waits to be cancelled."""

    events: tuple[TurnEvent, ...]
    error: Exception | None = None
    closed: bool = False
    noted: list[TurnEvent] = field(default_factory=list)
    told: list[TurnEvent] = field(default_factory=list)
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

    def reply(self) -> Reply:
        return Reply(self, TurnRequest(audio=SPEECH), noted=self.noted.append, told=self.told.append)

    async def begun(self) -> Reply:
        """The reply, when all has come."""
        reply = self.reply()
        await self.played()
        return reply

    async def played(self) -> None:
        await self._played.wait()
        for _ in range(10):  # what ends has some steps to its end
            await asyncio.sleep(0)


async def test_what_comes_is_noted_at_once_and_told_in_its_order_once_it_is_wanted() -> None:
    turns = Turns((HEARD, WRITTEN, SPOKEN))
    reply = await turns.begun()
    assert (turns.noted, turns.told) == ([HEARD, WRITTEN, SPOKEN], [])
    assert reply.transcript == "two plus two"
    reply.release()
    assert turns.told == [HEARD, WRITTEN, SPOKEN]
    await asyncio.wait([reply.cancel()])


async def test_speech_is_told_decoded_and_noted_as_it_came() -> None:
    turns = Turns((SPOKEN.model_copy(update={"audio": encode_mp3(SPEECH)}),))
    reply = await turns.begun()
    reply.release()
    (noted,), (told,) = turns.noted, turns.told
    assert isinstance(noted, SpeechChunk)
    assert isinstance(noted.audio, Mp3Audio)
    assert isinstance(told, SpeechChunk)
    assert isinstance(told.audio, Pcm)
    assert told.audio.num_samples == SPEECH.num_samples
    await asyncio.wait([reply.cancel()])


async def test_a_cancelled_reply_tells_nothing_more_and_closes_its_turn() -> None:
    turns = Turns((HEARD,))
    reply = await turns.begun()
    stopping = reply.cancel()
    reply.release()
    await asyncio.wait([stopping])
    assert (turns.told, turns.closed, reply.ended) == ([], True, True)


async def test_a_reply_that_is_cancelled_before_it_begins_never_asks() -> None:
    turns = Turns((HEARD,))
    reply = turns.reply()
    await asyncio.wait([reply.cancel()])
    assert (turns.noted, turns.closed, reply.ended) == ([], False, True)


@pytest.mark.parametrize("error", [Overloaded("Too much at once."), BadAudio("No MP3.")])
async def test_a_turn_that_breaks_off_ends_the_reply_with_its_error(error: Overloaded | BadAudio) -> None:
    reply = await Turns((HEARD,), error).begun()
    assert (reply.ended, reply.error) == (True, error)


async def test_speech_that_cannot_be_decoded_ends_the_reply_with_its_error() -> None:
    broken = Mp3Audio(mp3=b"no mp3 at all", sample_rate_hz=16_000, num_samples=1600)
    turns = Turns((SPOKEN.model_copy(update={"audio": broken}),))
    reply = await turns.begun()
    assert isinstance(reply.error, BadAudio)
    assert turns.closed


async def test_what_nobody_expected_is_raised_where_the_reply_is_looked_after() -> None:
    reply = await Turns((), ZeroDivisionError()).begun()
    with pytest.raises(ZeroDivisionError):
        _ = reply.ended


async def test_what_cannot_be_told_closes_the_turn_and_is_no_error_of_the_turn() -> None:
    turns = Turns((HEARD, WRITTEN))

    def broken(event: TurnEvent) -> None:
        raise OutputNotWritten("The disk is full.")

    reply = Reply(turns, TurnRequest(audio=SPEECH), noted=turns.noted.append, told=broken)
    reply.release()
    await turns.played()
    with pytest.raises(OutputNotWritten, match="disk is full"):
        _ = reply.ended
    assert (turns.noted, turns.closed, reply.error) == ([HEARD], True, None)
