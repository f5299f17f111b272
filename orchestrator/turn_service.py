"""The class of the orchestrator's two Modal apps: where its stages run is all that differs."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import modal
import modal.experimental

from orchestrator.api import OrchestratorApi, as_mp3
from shared.audio.decode import to_pcm
from shared.audio.pcm import encode_wav
from shared.deployment import Health
from shared.errors import SpeechError
from shared.settings import settings
from shared.turn import Failure, TurnEvent, TurnRequest, TurnResult

if TYPE_CHECKING:
    from orchestrator.modal_stages import ModalStages
    from orchestrator.process_stages import ProcessStages


class TurnService:
    """Base of the two classes. All methods share their class's containers. A subclass adds `start`."""

    async def begin(self, stages: "ModalStages | ProcessStages") -> None:
        """Make ready for turns; what a subclass does in its `start`."""
        self._exit = AsyncExitStack()
        await self._exit.enter_async_context(stages)
        self._stages = stages
        self._api = OrchestratorApi(stages, settings())

    @modal.exit()
    async def stop(self) -> None:
        """End what the stages hold."""
        await self._exit.aclose()

    @modal.method()
    async def stream_turn(self, request: TurnRequest | None) -> AsyncGenerator[TurnEvent, None]:
        """See `orchestrator.api.OrchestratorApi.stream`. None runs no turn: it only starts a container where
        there is none."""
        if request is None:
            return
        events = self._api.stream(request, modal.current_function_call_id())
        async with self._replaced_if_broken(), aclosing(events):
            async for event in events:
                yield event

    @modal.method()
    async def run_turn(self, request: TurnRequest) -> TurnResult:
        """See `orchestrator.api.OrchestratorApi.run`."""
        async with self._replaced_if_broken():
            return await self._api.run(request, modal.current_function_call_id())

    @modal.method()
    async def process_audio(self, audio: bytes) -> bytes:
        """See `orchestrator.api.OrchestratorApi.answer`."""
        async with self._replaced_if_broken():
            return await self._api.answer(audio, modal.current_function_call_id())

    @modal.method()
    async def warm(self) -> list[Health | Failure]:
        """Have all three engines loaded, in containers that are started where there are none: what they are,
        or why they cannot work."""
        return await self._stages.warm()

    @asynccontextmanager
    async def _replaced_if_broken(self) -> AsyncIterator[None]:
        """A container that has lost an engine takes no more calls: Modal starts another one."""
        try:
            yield
        finally:
            if self._stages.is_broken:
                await modal.experimental.stop_fetching_inputs.aio()


def answer_recording(service: Any, audio_path: str, output_path: str) -> None:
    """Have a service's class answer a recording: what `modal run` does. The spoken reply is written as WAV,
    the texts are printed; a failure ends the program with one line."""
    try:
        request = TurnRequest(audio=as_mp3(Path(audio_path).read_bytes(), settings()))
        result = cast(TurnResult, service().run_turn.remote(request))
        if result.failure:
            raise result.failure.to_error()
    except (OSError, SpeechError) as error:
        raise SystemExit(f"speech-to-speech: {error}") from None
    if result.audio is None:
        raise SystemExit(f"speech-to-speech: nobody speaks in {audio_path}.")
    Path(output_path).write_bytes(encode_wav(to_pcm(result.audio)))
    print(f"You:   {result.transcript}\nReply: {result.reply}\nWrote {output_path}.")  # noqa: T201
