"""What the engine `rules` replies."""

import asyncio
from datetime import datetime

from services.llm.rules import RulesLLM
from shared.payloads import ChatMessage
from tests.support.replies import texts

NOW = datetime(2026, 11, 23, 15, 10)


async def deltas(*messages: ChatMessage, max_tokens: int = 200, now: datetime = NOW) -> list[str]:
    reply = RulesLLM(lambda: now).generate(messages, max_tokens=max_tokens, temperature=0.7)
    return [text async for text in texts(reply)]


def answer(*said: str, now: datetime = NOW) -> str:
    """The reply to the last of the things that the user said."""
    messages = [ChatMessage(role="user", content=text) for text in said]
    return "".join(asyncio.run(deltas(*messages, now=now)))
