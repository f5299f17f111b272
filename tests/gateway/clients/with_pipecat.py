"""Pipecat's OpenAIRealtimeLLMService, in a pipeline with a microphone and a loudspeaker of its own.

As in Pipecat's examples the assistant speaks first: the service asks for a reply to its first context.
"""

import asyncio
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import InputAudioRawFrame, LLMRunFrame, OutputAudioRawFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from tests.gateway.clients.person import (
    INSTRUCTIONS,
    SAMPLE_RATE_HZ,
    WEATHER_DESCRIPTION,
    WEATHER_TOOL,
    Person,
)

SESSION = events.SessionProperties(
    instructions=INSTRUCTIONS,
    audio=events.AudioConfiguration(
        input=events.AudioInput(transcription=events.InputAudioTranscription(model="gpt-4o-mini-transcribe"))
    ),
    tools=[
        FunctionSchema(
            name=WEATHER_TOOL,
            description=WEATHER_DESCRIPTION,
            properties={"city": {"type": "string"}},
            required=["city"],
        )
    ],
)


async def main() -> None:
    person = Person()
    service = OpenAIRealtimeLLMService(
        api_key="no key",
        base_url=person.realtime_url,
        settings=OpenAIRealtimeLLMService.Settings(session_properties=SESSION),
    )

    async def weather(params: FunctionCallParams) -> None:
        await params.result_callback(person.called(dict(params.arguments)))

    service.register_function(WEATHER_TOOL, weather)
    context = LLMContext([{"role": "developer", "content": "Greet the user."}])
    user, assistant = LLMContextAggregatorPair(context)
    microphone = Microphone(TransportParams(audio_in_enabled=True))
    loudspeaker = Loudspeaker(person, TransportParams(audio_out_enabled=True))
    worker = PipelineWorker(
        Pipeline([microphone, user, service, loudspeaker, assistant]),
        params=PipelineParams(audio_in_sample_rate=SAMPLE_RATE_HZ, audio_out_sample_rate=SAMPLE_RATE_HZ),
    )

    async def said(_: Any, message: Any) -> None:
        person.transcribed(message.content)

    async def replied(_: Any, message: Any) -> None:
        if not loudspeaker.greeted.is_set():
            loudspeaker.greeted.set()
            return
        person.reads(message.content)
        (person.interrupted if message.interrupted else person.answered)()

    async def failed(_: Any, frame: Any) -> None:
        person.failed(frame.error)

    user.add_event_handler("on_user_turn_message_added", said)
    assistant.add_event_handler("on_assistant_turn_stopped", replied)
    worker.add_event_handler("on_pipeline_error", failed)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await worker.queue_frame(LLMRunFrame())
    await loudspeaker.greeted.wait()
    await person.talk(microphone.send)
    await worker.cancel()
    await running


class Microphone(BaseInputTransport):  # type: ignore[misc]
    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def send(self, frame: bytes) -> None:
        await self.push_audio_frame(InputAudioRawFrame(frame, SAMPLE_RATE_HZ, 1))


class Loudspeaker(BaseOutputTransport):  # type: ignore[misc]
    """Plays in real time."""

    def __init__(self, person: Person, params: TransportParams) -> None:
        super().__init__(params)
        self.greeted = asyncio.Event()
        self._person = person

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        if self.greeted.is_set():
            self._person.hears(frame.audio)
        await asyncio.sleep(len(frame.audio) / 2 / SAMPLE_RATE_HZ)
        return True


if __name__ == "__main__":
    asyncio.run(main())
