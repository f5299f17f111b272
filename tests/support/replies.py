"""Replies of LLM engines as text."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from shared.payloads import LLMDelta, TextDelta


async def texts(reply: AsyncGenerator[LLMDelta, None]) -> AsyncGenerator[str, None]:
    """The text deltas of a reply that holds nothing else."""
    async with aclosing(reply):
        async for delta in reply:
            assert isinstance(delta, TextDelta), delta
            yield delta.text
