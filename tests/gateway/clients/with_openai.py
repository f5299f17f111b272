"""OpenAI's own library, which leaves all to its user: `AsyncOpenAI().realtime`."""

import asyncio
import base64
import json
from typing import Any

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.gateway.clients.person import INSTRUCTIONS, WEATHER_DESCRIPTION, WEATHER_TOOL, Person

SESSION: Any = {
    "type": "realtime",
    "instructions": INSTRUCTIONS,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "turn_detection": {"type": "server_vad"},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin"},
    },
    "tools": [
        {
            "type": "function",
            "name": WEATHER_TOOL,
            "description": WEATHER_DESCRIPTION,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        }
    ],
}


async def main() -> None:
    person = Person()
    client = AsyncOpenAI(base_url=f"{person.url}/v1", api_key="no key")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(session=SESSION)
        receiving = asyncio.create_task(receive(connection, person))
        await person.talk(lambda frame: append(connection, frame))
        receiving.cancel()


async def append(connection: AsyncRealtimeConnection, frame: bytes) -> None:
    await connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())


async def receive(connection: AsyncRealtimeConnection, person: Person) -> None:
    async for event in connection:
        if event.type == "conversation.item.input_audio_transcription.completed":
            person.transcribed(event.transcript)
        elif event.type == "response.output_audio.delta":
            person.hears(base64.b64decode(event.delta))
        elif event.type == "response.output_audio_transcript.delta":
            person.reads(event.delta)
        elif event.type == "response.function_call_arguments.done":
            result = person.called(json.loads(event.arguments))
            await connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": event.call_id, "output": result}
            )
        elif event.type == "response.done":
            await done(connection, person, event.response)
        elif event.type == "error":
            person.failed(event.error)


async def done(connection: AsyncRealtimeConnection, person: Person, response: Any) -> None:
    if response.status == "cancelled":
        person.interrupted()
    elif any(item.type == "function_call" for item in response.output):
        await connection.response.create()
    else:
        person.answered()


if __name__ == "__main__":
    asyncio.run(main())
