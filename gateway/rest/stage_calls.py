"""Calls of a stage for one request, outside a turn: their time-outs, and their place in the queue."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.metrics import Metrics, Waiting
from orchestrator.stage_call import Output, stage_outputs
from shared.errors import Stage
from shared.settings import Settings
from shared.stage_stream import StageFinished, StageStarted, StageStream


async def outputs(
    stage: Stage, stream: StageStream, output: type[Output], settings: Settings, metrics: Metrics
) -> AsyncGenerator[Output, None]:
    """The outputs of a stage call; see `stage_outputs`."""
    waiting = Waiting(metrics)
    try:
        async with aclosing(stage_outputs(stage, stream, output, settings, _InQueue(waiting))) as items:
            async for item in items:
                yield item
    finally:
        waiting.end()


class _InQueue:
    """A StageObserver that counts a call while it waits for its start."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def waiting(self, stage: Stage) -> None:
        self._waiting.begin(stage)

    def started(self, stage: Stage, item: StageStarted) -> None:
        self._waiting.end()

    def finished(self, stage: Stage, item: StageFinished) -> None:
        pass
