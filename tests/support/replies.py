"""Replies of LLM engines as text."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from shared.payloads import LLMDelta, TextDelta, TokenUsage


async def texts(reply: AsyncGenerator[LLMDelta | TokenUsage, None]) -> AsyncGenerator[str, None]:
    """The text deltas of a reply that holds nothing else, but for what it took."""
    async with aclosing(reply):
        async for delta in reply:
            if isinstance(delta, TokenUsage):
                continue
            assert isinstance(delta, TextDelta), delta
            yield delta.text
