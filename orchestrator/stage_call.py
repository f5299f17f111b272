"""One call of a stage: its two time-outs, its one attempt, and what it cost."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.errors import AttemptLost, SpeechError, Stage, StageFailed, StageTimedOut
from shared.stage_stream import StageFinished, StageItem, StageOutput, StageStarted, StageStream

Output = TypeVar("Output", bound=StageOutput)


@dataclass(frozen=True)
class CallLimits:
    """How many seconds a call may take to start (a cold start is long), when it is shown as waiting
    until then, and how many seconds each next output may take."""

    start_timeout_s: float
    waiting_after_s: float
    output_timeout_s: float


class StageCall(Generic[Output]):
    """Reads the stream of one stage call and hands on its outputs, of one kind and of one attempt.

    `on_waiting` is called if the stage takes long to start, `on_started` once it has.
    """

    def __init__(
        self,
        stage: Stage,
        stream: StageStream,
        output: type[Output],
        limits: CallLimits,
        *,
        on_waiting: Callable[[Stage], None],
        on_started: Callable[[Stage, StageStarted], None],
        on_finished: Callable[[Stage, StageFinished], None],
    ) -> None:
        self._stage = stage
        self._stream = stream
        self._output = output
        self._limits = limits
        self._on_waiting = on_waiting
        self._on_started = on_started
        self._on_finished = on_finished

    async def outputs(self) -> AsyncGenerator[Output, None]:
        """Yield the outputs; closing the generator closes the stage's stream.

        Raises SpeechError: StageTimedOut, AttemptLost if the work began anew after an output was handed
        on, StageFailed for whatever the stage raised that is no SpeechError, or if its stream breaks off.
        """
        async with aclosing(self._stream):
            attempt_id = (await self._started()).attempt_id
            handed_on = False
            while True:
                item = await self._next(self._limits.output_timeout_s, "gave nothing for")
                if isinstance(item, StageStarted) and not handed_on:
                    attempt_id = item.attempt_id
                elif item.attempt_id != attempt_id:
                    raise AttemptLost(f"The {self._stage} stage was interrupted and began anew.", self._stage)
                elif isinstance(item, StageFinished):
                    self._on_finished(self._stage, item)
                    return
                elif isinstance(item, self._output):
                    handed_on = True
                    yield item
                else:
                    raise StageFailed(f"The {self._stage} stage gave a {type(item).__name__}.", self._stage)

    async def _started(self) -> StageStarted:
        waiting = asyncio.get_running_loop().call_later(
            self._limits.waiting_after_s, self._on_waiting, self._stage
        )
        try:
            item = await self._next(self._limits.start_timeout_s, "did not start within")
        finally:
            waiting.cancel()
        if not isinstance(item, StageStarted):
            raise StageFailed(f"The {self._stage} stage did not say that it started.", self._stage)
        self._on_started(self._stage, item)
        return item

    async def _next(self, timeout_s: float, failing: str) -> StageItem:
        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await anext(self._stream)
        except SpeechError as error:
            raise type(error)(error.message, self._stage) from error
        except StopAsyncIteration:
            raise StageFailed(f"The {self._stage} stage broke off.", self._stage) from None
        except Exception as error:
            if limit.expired():
                message = f"The {self._stage} stage {failing} {timeout_s:g} s. Try again."
                raise StageTimedOut(message, self._stage) from None
            raise StageFailed(f"The {self._stage} stage failed: {error!r}", self._stage) from error
