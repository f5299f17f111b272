"""A deployed turn whose orchestrator is lost on the way: retried before its reply began, never mixed."""

from collections.abc import AsyncGenerator, Callable

import pytest

from orchestrator.turn_attempts import deduplicated_events
from shared.errors import AttemptLost, Overloaded, SpeechError
from shared.ledger import Ledger
from shared.payloads import Mp3Audio
from shared.turn import (
    Models,
    ReplyDelta,
    SpeechChunk,
    TranscriptReady,
    TurnCompleted,
    TurnEvent,
    TurnStarted,
)

AUDIO = Mp3Audio(mp3=b"x", sample_rate_hz=16_000, num_samples=16_000)
STARTED, HEARD = TurnStarted(call_id="fc-1"), TranscriptReady(text="hello")
WROTE = ReplyDelta(text="Hi.")
SPOKE = SpeechChunk(index=0, segment=0, text="Hi.", audio=AUDIO)
DONE = TurnCompleted(ledger=Ledger(spans=(), total_us=0), models=Models())
TURN = (STARTED, HEARD, WROTE, SPOKE, DONE)
LOST = AttemptLost("the container died")

Run = tuple[TurnEvent | SpeechError, ...]


def of_run(number: int, *events: TurnEvent | SpeechError) -> Run:
    told = {"attempt_id": str(number)}
    return tuple(e.model_copy(update=told) if not isinstance(e, SpeechError) else e for e in events)


def playing(*runs: Run) -> Callable[[], AsyncGenerator[TurnEvent, None]]:
    left = list(runs)

    async def play() -> AsyncGenerator[TurnEvent, None]:
        for event in left.pop(0):
            if isinstance(event, SpeechError):
                raise event
            yield event

    return play


async def told(*runs: Run) -> tuple[list[str], SpeechError | None]:
    """The names of the events, and what was raised at their end."""
    events: list[str] = []
    try:
        async for event in deduplicated_events(playing(*runs), attempts=2):
            events.append(type(event).__name__)
    except SpeechError as error:
        return events, error
    return events, None


WHOLE = [type(event).__name__ for event in TURN]


@pytest.mark.parametrize("before", range(3))
async def test_a_turn_lost_before_its_reply_began_is_retried_and_each_event_yielded_once(before: int) -> None:
    assert await told(of_run(1, *TURN[:before], LOST), of_run(2, *TURN)) == (WHOLE, None)


@pytest.mark.parametrize("before", [3, 4])
async def test_a_turn_lost_after_its_reply_began_is_a_retryable_failure(before: int) -> None:
    events, error = await told(of_run(1, *TURN[:before], LOST), of_run(2, *TURN))
    assert events == WHOLE[:before]
    assert isinstance(error, AttemptLost)


@pytest.mark.parametrize("head", range(1, 5))
async def test_the_tail_of_another_run_never_follows_the_head_of_the_first(head: int) -> None:
    spliced = of_run(1, *TURN[:head]) + of_run(2, *TURN[head:])
    events, error = await told(spliced, of_run(3, *TURN))
    if head < 3:
        assert (events, error) == (WHOLE, None)
    else:
        assert events == WHOLE[:head]
        assert isinstance(error, AttemptLost)


@pytest.mark.parametrize("head", range(5))
async def test_a_stream_that_ends_without_an_end_of_the_turn_is_a_lost_one(head: int) -> None:
    events, error = await told(of_run(1, *TURN[:head]), of_run(2, *TURN))
    if head < 3:
        assert (events, error) == (WHOLE, None)
    else:
        assert events == WHOLE[:head]
        assert isinstance(error, AttemptLost)


async def test_a_second_run_with_another_transcript_is_not_yielded() -> None:
    other = of_run(2, STARTED, TranscriptReady(text="yellow"), WROTE, SPOKE, DONE)
    events, error = await told(of_run(1, STARTED, HEARD, LOST), other)
    assert events == ["TurnStarted", "TranscriptReady"]
    assert isinstance(error, AttemptLost)


async def test_a_turn_that_is_lost_each_time_fails() -> None:
    events, error = await told(of_run(1, STARTED, LOST), of_run(2, STARTED, LOST))
    assert events == ["TurnStarted"]
    assert error is LOST


async def test_other_errors_are_not_retried() -> None:
    busy = Overloaded("busy")
    assert await told(of_run(1, STARTED, busy), of_run(2, *TURN)) == (["TurnStarted"], busy)
