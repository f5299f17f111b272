"""One call of a stage: its two time-outs, its one attempt, and what it reports."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol, TypeVar

from shared.errors import AttemptLost, SpeechError, Stage, StageFailed, StageTimedOut
from shared.settings import Settings
from shared.stage_span import stage_span
from shared.stage_stream import StageFinished, StageItem, StageOutput, StageStarted, StageStream

Output = TypeVar("Output", bound=StageOutput)


class StageObserver(Protocol):
    """Whom a stage call reports to."""

    def waiting(self, stage: Stage) -> None:
        """The stage takes long to start: a cold start or a queue."""

    def started(self, stage: Stage, item: StageStarted) -> None:
        """The stage has started."""

    def finished(self, stage: Stage, item: StageFinished) -> None:
        """The call has ended well."""


async def stage_outputs(
    stage: Stage, stream: StageStream, output: type[Output], settings: Settings, observer: StageObserver
) -> AsyncGenerator[Output, None]:
    """Yield the outputs of one stage call, of one kind and of one attempt. Closing the generator closes the
    stage's stream.

    Raises SpeechError: StageTimedOut, AttemptLost if the work was restarted after an output was yielded,
    StageFailed for whatever the stage raised that is no SpeechError, or if its stream breaks off.
    """
    with stage_span(stage, "client") as span:
        async with aclosing(stream):
            with span.current():
                started = await _started(stage, stream, settings, observer)
            span.observe(started)
            attempt_id, has_yielded = started.attempt_id, False
            timeout_s = settings.output_timeout_s(stage)
            while True:
                item = await _next(stage, stream, timeout_s, "gave nothing for")
                span.observe(item)
                if isinstance(item, StageStarted) and not has_yielded:
                    attempt_id = item.attempt_id
                elif item.attempt_id != attempt_id:
                    raise AttemptLost(f"The {stage} stage was interrupted and restarted.", stage)
                elif isinstance(item, StageFinished):
                    observer.finished(stage, item)
                    return
                elif isinstance(item, output):
                    has_yielded = True
                    yield item
                else:
                    raise StageFailed(f"The {stage} stage gave a {type(item).__name__}.", stage)


async def _started(
    stage: Stage, stream: StageStream, settings: Settings, observer: StageObserver
) -> StageStarted:
    loop = asyncio.get_running_loop()
    waiting = loop.call_later(settings.stage_waiting_after_s, observer.waiting, stage)
    try:
        item = await _next(stage, stream, settings.stage_start_timeout_s, "did not start within")
    finally:
        waiting.cancel()
    if not isinstance(item, StageStarted):
        raise StageFailed(f"The {stage} stage did not begin with its start.", stage)
    observer.started(stage, item)
    return item


async def _next(stage: Stage, stream: StageStream, timeout_s: float, failing: str) -> StageItem:
    try:
        async with asyncio.timeout(timeout_s) as limit:
            return await anext(stream)
    except SpeechError as error:
        error.stage = stage
        raise
    except StopAsyncIteration:
        raise StageFailed(f"The {stage} stage broke off.", stage) from None
    except Exception as error:
        if limit.expired():
            message = f"The {stage} stage {failing} {timeout_s:g} s. Try again."
            raise StageTimedOut(message, stage) from None
        raise StageFailed(f"The {stage} stage failed: {error!r}", stage) from error
