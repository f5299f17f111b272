"""A turn that is cancelled: nothing goes on working, whenever it happens."""

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pipeline import Pipeline
from shared.settings import Settings
from tests.support.scripted_stages import REQUEST, Cast, cast, speech, typed
from tests.support.virtual_clock import play

REPLY = "It is sunny outside. Take a hat with you. And come back before it is dark."


def ready() -> Cast:
    scripted = cast(llm=[typed(REPLY)], tts=[[0.2, speech(1.0), 0.3, speech(1.0)]])
    scripted.asr.start_s = scripted.llm.start_s = scripted.tts.start_s = 0.05
    return scripted


async def cancelled_at(scripted: Cast, at_s: float) -> None:
    async def turn() -> None:
        async for _ in Pipeline(scripted, Settings()).stream(REQUEST):
            pass

    task = asyncio.create_task(turn())
    await asyncio.sleep(at_s)
    task.cancel()
    await asyncio.wait([task])


@given(st.floats(0, 3.0))
def test_cancelling_the_reader_at_any_moment_stops_every_stage_at_that_moment(at_s: float) -> None:
    scripted = ready()

    async def story() -> None:
        await cancelled_at(scripted, at_s)
        assert scripted.under_way == []
        assert asyncio.get_running_loop().time() == pytest.approx(at_s)

    play(story())


@pytest.mark.parametrize("events", range(1, 20))
def test_closing_the_stream_after_any_event_stops_every_stage(events: int) -> None:
    scripted = ready()

    async def story() -> None:
        stream = Pipeline(scripted, Settings()).stream(REQUEST)
        for _ in range(events):
            if await anext(stream, None) is None:
                break
        closed_s = asyncio.get_running_loop().time()
        await stream.aclose()
        assert scripted.under_way == []
        assert all(call.ended_s is not None and call.ended_s <= closed_s for call in scripted.llm.calls)

    play(story())


def test_a_cancelled_turn_frees_its_place() -> None:
    scripted = ready()

    async def story() -> None:
        pipeline = Pipeline(scripted, Settings(max_active_turns=1))
        for _ in range(3):
            stream = pipeline.stream(REQUEST)
            await anext(stream)
            await stream.aclose()
        events = [event.event async for event in pipeline.stream(REQUEST)]
        assert events[-1] == "turn_completed"

    play(story())


def test_a_cancelled_turn_is_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "speech_to_speech"):
        play(cancelled_at(ready(), 0.5))
    (record,) = caplog.records
    assert record.__dict__["fields"]["outcome"] == "cancelled"
