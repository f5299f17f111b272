"""Calls of a stage for one request, outside a turn: their time-outs, and their place in the queue."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from gateway.metrics import Metrics, Waiting
from orchestrator.stage_call import Output, stage_outputs
from shared.errors import Stage
from shared.settings import Settings
from shared.stage_stream import StageFinished, StageStarted, StageStream


async def outputs(
    stage: Stage,
    stream: StageStream,
    output: type[Output],
    settings: Settings,
    metrics: Metrics,
    on_finished: Callable[[StageFinished], None] = lambda _: None,
) -> AsyncGenerator[Output, None]:
    """The outputs of a stage call; see `stage_outputs`."""
    waiting = Waiting(metrics)
    observer = _InQueue(waiting, on_finished)
    try:
        async with aclosing(stage_outputs(stage, stream, output, settings, observer)) as items:
            async for item in items:
                yield item
    finally:
        waiting.end()


class _InQueue:
    """A StageObserver that counts a call while it waits for its start."""

    def __init__(self, waiting: Waiting, on_finished: Callable[[StageFinished], None]) -> None:
        self._waiting = waiting
        self._on_finished = on_finished

    def waiting(self, stage: Stage) -> None:
        self._waiting.begin(stage)

    def started(self, stage: Stage, item: StageStarted) -> None:
        self._waiting.end()

    def finished(self, stage: Stage, item: StageFinished) -> None:
        self._on_finished(item)
