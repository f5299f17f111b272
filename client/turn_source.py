"""Where turns run: on engines in this process, or on the deployed orchestrator."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from client.cloud.turn_attempts import deduplicated_events
from client.targets import App, Target
from conversation.reply import TurnSource
from orchestrator.in_process import InProcessStages
from orchestrator.pipeline import Pipeline
from services.selection import Selection, check_runs_here, select
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.errors import Stage
from shared.settings import Settings
from shared.turn import TurnEvent, TurnRequest

Waiting = Callable[[str], None]
"""Called with what is being waited for; "" for nothing any more."""


def turns_at(target: Target, settings: Settings, waiting: Waiting) -> AbstractAsyncContextManager[TurnSource]:
    """Turns where a command wants them. Raises Misconfigured if the selected engines cannot run here."""
    if target.apps:
        return deployed_turns(target.apps[-1], settings, waiting)
    selection = select(settings)
    check_runs_here(selection)
    return turns_in_process(selection, settings, waiting)


@asynccontextmanager
async def turns_in_process(
    selection: Selection, settings: Settings, waiting: Waiting
) -> AsyncIterator[TurnSource]:
    """Turns on engines in this process, which are loaded first.

    Raises SpeechError if an engine cannot be loaded.
    """
    async with InProcessStages(selection, settings) as engines:
        left = engines.model_names

        def loaded(stage: Stage) -> None:
            del left[stage]
            waiting(f"Loading {', '.join(left.values())}" if left else "")

        waiting(f"Loading {', '.join(left.values())}")
        await engines.loaded(loaded)
        yield Pipeline(engines, settings).stream


@asynccontextmanager
async def deployed_turns(app: App, settings: Settings, waiting: Waiting) -> AsyncIterator[TurnSource]:
    """Turns of the deployed orchestrator, or of the monolith. At the end, every cancellation has arrived.

    Raises Misconfigured or StageFailed if Modal cannot be reached.
    """
    from client.cloud.modal_connection import app_function, connected  # needs modal
    from orchestrator.remote_stream import RemoteStreams

    waiting("Connecting to Modal")
    await connected()
    streams = RemoteStreams(settings.stage_start_timeout_s)
    stream_turn = app_function(app, "stream_turn")

    async def turns(request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        waiting(f"Waiting for the {app} to start")
        request = await asyncio.to_thread(_compressed, request, settings.mp3_bitrate_kbps)
        events = deduplicated_events(
            lambda: streams.stream(stream_turn, request, stage=Stage.ORCHESTRATOR, app=app.modal_name),
            attempts=settings.stage_attempts,
        )
        async with aclosing(events):
            async for event in events:
                yield event

    try:
        yield turns
    finally:
        await streams.close()


def _compressed(request: TurnRequest, bitrate_kbps: int) -> TurnRequest:
    if not isinstance(request.audio, Pcm):
        return request
    return request.model_copy(update={"audio": encode_mp3(request.audio, bitrate_kbps)})
