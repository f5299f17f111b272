"""A chat model that keeps to a script, for a server of the OpenAI chat protocol."""

import asyncio
import json
from itertools import count

from tests.support.chat_server import Behaviour, Exchange, deltas, reply

PLAIN = "The morning train leaves from the blue platform."
WEATHER_ARGUMENTS = {"city": "Paris"}
WEATHER_REPLY = "I have looked it up for you: {}"
STORY = "In part {} of the story the old sailor looks for his lighthouse again."
STORY_PACE_S = 0.5


class ScriptedChat:
    """The behaviour of a ChatServer: a tool's result is put into a sentence; the weather is asked of the
    first tool that is offered; a story has no end; anything else is answered with PLAIN."""

    def __init__(self) -> None:
        self.stories = 0
        """How many are being written."""

    async def __call__(self, exchange: Exchange) -> None:
        await self._behaviour(exchange)(exchange)

    def _behaviour(self, exchange: Exchange) -> Behaviour:
        last = exchange.body["messages"][-1]
        text = last["content"].lower()
        if last["role"] == "tool":
            return reply(WEATHER_REPLY.format(last["content"]))
        if "weather" in text and (tools := exchange.body.get("tools")):
            return _call_of(tools[0]["function"]["name"])
        return self._tell_story if "story" in text else reply(PLAIN)

    async def _tell_story(self, exchange: Exchange) -> None:
        self.stories += 1
        try:
            await exchange.begin_stream()
            for part in count(1):
                await exchange.write(f"{STORY.format(part)} ")
                await asyncio.sleep(STORY_PACE_S)
        finally:
            self.stories -= 1


def _call_of(tool: str) -> Behaviour:
    function = {"name": tool, "arguments": json.dumps(WEATHER_ARGUMENTS)}
    call = {"index": 0, "id": "call_weather", "type": "function", "function": function}
    return deltas({"tool_calls": [call]}, finish_reason="tool_calls")
