"""Modal app speech-to-speech-monolith: all three stages in one container, on one GPU, for small loads.
Deploy: make deploy-monolith

One recording, with nothing deployed:

modal run -m orchestrator.monolith_app --audio-path input.wav
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import modal
import modal.experimental

from orchestrator.process_stages import ProcessStages
from orchestrator.recording import answer_recording
from orchestrator.turn_calls import TurnCalls
from services.on_modal.images import WEIGHTS_FOLDER, interpreter_variable, monolith_image
from services.on_modal.service import container_options, secret_of, weights_volume
from services.process.engine_process import EngineProcess
from services.selection import Selection, select
from shared.deployment import MONOLITH_APP, Health
from shared.engines import RegisteredModel
from shared.settings import Settings, settings
from shared.turn import TurnEvent, TurnRequest, TurnResult

TURNS_AT_ONCE = 4

# What fits in an A10G's 22.5 GiB, computed from sizes and not yet measured on one:
#   vLLM, 0.55 of it                                                        12.4 GiB
#     Phi-3-mini in bfloat16, 7.1; CUDA graphs and activations, 1.5; what is left, 3.8, holds 10,300 tokens of
#     conversation at 0.375 MiB each, two and a half full ones
#   nemo: 0.6 billion parameters in bfloat16, 1.2; a batch's activations, 1; CUDA itself, 0.5     2.7 GiB
#   chatterbox in float32: 0.35 billion parameters of T3, 1.4; S3Gen, 1.0; activations, 1; CUDA, 0.5  3.9 GiB
# which leaves 3.5 GiB for fragmentation and error. S2S_VLLM_FLAGS comes behind this and wins.
VLLM_FLAGS = "--gpu-memory-utilization 0.55"


def gpu_of(selection: Selection, settings: Settings) -> str | None:
    """The one GPU for all: the setting's, else that of the first engine that asks for one."""
    gpu = settings.monolith.gpu or next((one.spec.gpu for one in selection.models if one.spec.gpu), None)
    return None if gpu == "none" else gpu


def class_options(selection: Selection, settings: Settings) -> dict[str, Any]:
    """What the class asks of Modal. No snapshots: those of several processes with CUDA in each were never
    tried."""
    secrets = sorted({variable for model in selection.models for variable in model.spec.secrets})
    has_weights = any(model.spec.weights for model in selection.models)
    return {
        "image": monolith_image(selection.models, settings),
        "gpu": gpu_of(selection, settings),
        "volumes": {WEIGHTS_FOLDER: weights_volume()} if has_weights else {},
        "secrets": [secret_of(variable) for variable in secrets],
        "timeout": settings.call_timeout_s,
        "startup_timeout": round(settings.stage_start_timeout_s),
        **container_options(settings.monolith, settings),
    }


def concurrency(settings: Settings) -> dict[str, int]:
    """How many turns a container plays at once; one call more, so that `warm` needs no other container."""
    turns = settings.monolith.concurrent_inputs or TURNS_AT_ONCE
    return {"max_inputs": turns + 1, "target_inputs": turns}


SELECTION = select(settings(), on_modal=True)

app = modal.App(MONOLITH_APP)


@app.cls(**class_options(SELECTION, settings()))
@modal.concurrent(**concurrency(settings()))
class Monolith:
    """The orchestrator and the selected engines; its methods are the functions of `orchestrator.app`."""

    @modal.enter()
    async def start(self) -> None:
        """Load the engines."""
        self._exit = AsyncExitStack()
        asr, llm, tts = map(_process, SELECTION.models)
        self._stages = await self._exit.enter_async_context(ProcessStages(asr, llm, tts))
        self._turns = TurnCalls(self._stages, settings())
        await self._stages.load()

    @modal.exit()
    async def stop(self) -> None:
        """End the engines."""
        await self._exit.aclose()

    @modal.method()
    async def stream_turn(self, request: TurnRequest | None) -> AsyncGenerator[TurnEvent, None]:
        """See `orchestrator.turn_calls.TurnCalls.stream`."""
        events = self._turns.stream(request, modal.current_function_call_id())
        async with self._replaced_if_broken(), aclosing(events):
            async for event in events:
                yield event

    @modal.method()
    async def run_turn(self, request: TurnRequest) -> TurnResult:
        """See `orchestrator.turn_calls.TurnCalls.run`."""
        async with self._replaced_if_broken():
            return await self._turns.run(request, modal.current_function_call_id())

    @modal.method()
    async def process_audio(self, audio: bytes) -> bytes:
        """See `orchestrator.turn_calls.TurnCalls.answer`."""
        async with self._replaced_if_broken():
            return await self._turns.answer(audio, modal.current_function_call_id())

    @modal.method()
    async def warm(self) -> list[Health]:
        """Start a container, where there is none: what is in it."""
        return await self._stages.load()

    @asynccontextmanager
    async def _replaced_if_broken(self) -> AsyncIterator[None]:
        """A container that has lost an engine takes no more calls: Modal starts another one."""
        try:
            yield
        finally:
            if self._stages.have_ended:
                await modal.experimental.stop_fetching_inputs.aio()


@app.local_entrypoint()
def main(audio_path: str, output_path: str = "output.wav") -> None:
    """Answer a recording: --audio-path input.wav, any format; the spoken reply goes to output.wav."""
    answer_recording(Monolith().run_turn.remote, audio_path, output_path)


def _process(model: RegisteredModel) -> EngineProcess:
    python = os.environ.get(interpreter_variable(model))
    flags = f"{VLLM_FLAGS} {settings().vllm_flags}".strip()
    return EngineProcess(model, python=Path(python) if python else None, environ={"S2S_VLLM_FLAGS": flags})
