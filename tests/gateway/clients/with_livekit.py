"""LiveKit Agents with OpenAI's realtime plugin: an AgentSession, with a microphone and a loudspeaker of its
own in place of a LiveKit room."""

import asyncio
from typing import Any

from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice import io
from livekit.plugins import openai

from tests.gateway.clients.person import (
    FRAME_BYTES,
    INSTRUCTIONS,
    SAMPLE_RATE_HZ,
    WEATHER_DESCRIPTION,
    WEATHER_TOOL,
    Person,
)


async def main() -> None:
    person = Person()

    async def weather(city: str) -> str:
        return person.called({"city": city})

    tool = function_tool(weather, name=WEATHER_TOOL, description=WEATHER_DESCRIPTION)
    model = openai.realtime.RealtimeModel(base_url=f"{person.url}/v1", api_key="no key", model="gpt-realtime")
    session: Any = AgentSession(llm=model, vad=None, aec_warmup_duration=None)
    session.input.audio = Microphone(person)
    session.output.audio = Loudspeaker(person)

    def added(event: Any) -> None:
        if event.item.type == "message" and event.item.role == "assistant":
            person.reads(event.item.text_content or "")
            (person.interrupted if event.item.interrupted else person.answered)()

    def transcribed(event: Any) -> None:
        if event.is_final:
            person.transcribed(event.transcript)

    session.on("conversation_item_added", added)
    session.on("user_input_transcribed", transcribed)
    session.on("error", lambda event: person.failed(event.error))
    await session.start(Agent(instructions=INSTRUCTIONS, tools=[tool]))
    await person.talk()
    await session.aclose()
    await model.aclose()


class Microphone(io.AudioInput):  # type: ignore[misc]
    def __init__(self, person: Person) -> None:
        super().__init__(label="microphone")
        self._frames = person.microphone()

    async def __anext__(self) -> rtc.AudioFrame:
        return rtc.AudioFrame(await anext(self._frames), SAMPLE_RATE_HZ, 1, FRAME_BYTES // 2)


class Loudspeaker(io.AudioOutput):  # type: ignore[misc]
    """Plays in real time: a reply that is interrupted has been played so far and no farther."""

    def __init__(self, person: Person) -> None:
        super().__init__(
            label="loudspeaker",
            capabilities=io.AudioOutputCapabilities(pause=False),
            sample_rate=SAMPLE_RATE_HZ,
        )
        self._person = person
        self._loop = asyncio.get_running_loop()
        self._began_s = 0.0
        self._length_s = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._length_s:
            self._began_s = self._loop.time()
            self.on_playback_started(created_at=self._began_s)
        self._length_s += frame.duration
        self._person.hears(bytes(frame.data))

    def flush(self) -> None:
        super().flush()
        if self._length_s:
            self._end = self._loop.call_at(self._began_s + self._length_s, self._finish, False)

    def clear_buffer(self) -> None:
        if self._length_s:
            self._finish(True)

    def _finish(self, interrupted: bool) -> None:
        if self._end:
            self._end.cancel()
        played_s = min(self._length_s, self._loop.time() - self._began_s)
        self._length_s = 0.0
        self.on_playback_finished(playback_position=played_s, interrupted=interrupted)


if __name__ == "__main__":
    asyncio.run(main())
