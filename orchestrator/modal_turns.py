"""Turns of a deployed app: the orchestrator, or the monolith."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import modal

from orchestrator.remote_stream import RemoteStreams
from orchestrator.turn_attempts import deduplicated_events
from orchestrator.turn_span import turn_call_span
from shared.audio.mp3 import to_mp3
from shared.errors import Stage
from shared.settings import Settings
from shared.turn import TurnEvent, TurnRequest


@asynccontextmanager
async def modal_turns(
    app: str, cls: str, settings: Settings
) -> AsyncIterator[Callable[[TurnRequest], AsyncGenerator[TurnEvent, None]]]:
    """Turns of the app's class, each one call. At the end, every cancellation has arrived."""
    streams = RemoteStreams(settings.stage_start_timeout_s)
    stream_turn = modal.Cls.from_name(app, cls)().stream_turn

    async def turns(request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        with turn_call_span(request) as (sent, observe):
            audio = sent.audio and await asyncio.to_thread(to_mp3, sent.audio, settings.mp3_bitrate_kbps)
            encoded = sent.model_copy(update={"audio": audio})
            events = deduplicated_events(
                lambda: streams.stream(stream_turn, encoded, stage=Stage.ORCHESTRATOR, app=app),
                attempts=settings.stage_attempts,
            )
            async with aclosing(events):
                async for event in events:
                    observe(event)
                    yield event

    try:
        yield turns
    finally:
        await streams.close()
