"""OpenAI's Agents SDK for Python: `RealtimeRunner`."""

import asyncio
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession

from tests.gateway.clients.person import (
    INSTRUCTIONS,
    WEATHER_DESCRIPTION,
    WEATHER_TOOL,
    Person,
)


async def main() -> None:
    person = Person()

    def weather(city: str) -> str:
        return person.called({"city": city})

    tool = function_tool(weather, name_override=WEATHER_TOOL, description_override=WEATHER_DESCRIPTION)
    agent: Any = RealtimeAgent(name="Assistant", instructions=INSTRUCTIONS, tools=[tool])
    runner = RealtimeRunner(agent)
    session = await runner.run(
        model_config={
            "url": person.realtime_url,
            "api_key": "no key",
            "initial_model_settings": {
                "audio": {"input": {"turn_detection": {"type": "server_vad", "interrupt_response": True}}}
            },
        }
    )
    async with session:
        receiving = asyncio.create_task(receive(session, person))
        await person.talk(session.send_audio)
        receiving.cancel()


async def receive(session: RealtimeSession, person: Person) -> None:
    async for event in session:
        if event.type == "audio":
            person.hears(event.audio.data)
        elif event.type == "audio_interrupted":
            person.interrupted()
        elif event.type == "agent_end":
            person.answered()
        elif event.type == "raw_model_event" and event.data.type == "input_audio_transcription_completed":
            person.transcribed(event.data.transcript)
        elif event.type == "raw_model_event" and event.data.type == "transcript_delta":
            person.reads(event.data.delta)
        elif event.type == "error":
            person.failed(event.error)


if __name__ == "__main__":
    asyncio.run(main())
