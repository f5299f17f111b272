"""An LLM engine behind its stage stream."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

from services.host.stage_host import StageHost, Stopwatch
from shared.engines import LLMModel, capacity
from shared.errors import BadRequest, Stage
from shared.payloads import ChatMessage, TokenUsage, Tool
from shared.settings import Settings
from shared.stage_stream import LLMOutput, StageFinished, StageStream


class LLMHost(StageHost[LLMModel]):
    """Conversation to reply; the engine is asynchronous by itself."""

    stage = Stage.LLM

    def __init__(
        self, engine: LLMModel, settings: Settings, *, on_stuck: Callable[[], None] | None = None
    ) -> None:
        super().__init__(engine, settings, on_stuck=on_stuck)
        self._free = asyncio.Semaphore(capacity(self.stage, engine.spec, settings))

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> StageStream:
        """See `Stages`."""
        started = await self._start()
        if tools and not self.engine.supports_tools:
            raise BadRequest(f"{self.engine.model_name} has no tools. It answers with text only.", self.stage)
        async with self._free:
            yield started
            attempt_id, watch = started.attempt_id, Stopwatch()
            reply = self.engine.generate(
                messages, tools=tools, max_tokens=max_tokens, temperature=temperature
            )
            tokens: TokenUsage | None = None
            async with aclosing(reply) as deltas:
                with self._speech_errors():
                    async for delta in deltas:
                        if isinstance(delta, TokenUsage):
                            tokens = delta
                            continue
                        with watch.paused():  # the reader's time is not the engine's
                            yield LLMOutput(attempt_id=attempt_id, delta=delta, elapsed_us=watch.us)
            yield StageFinished(attempt_id=attempt_id, elapsed_us=watch.us, busy_us=watch.us, tokens=tokens)
