"""Modal app speech-to-speech-monolith: all three stages in one container, on one GPU, for small loads.
Deploy: make deploy-monolith

One recording, with nothing deployed:

modal run -m orchestrator.monolith_app --audio-path input.wav
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Self

import modal

from orchestrator.turn_service import TurnService, answer_recording
from services.on_modal.images import WEIGHTS_FOLDER, interpreter_variable, monolith_image
from services.on_modal.service import container_options, secrets_of, weights_volume
from services.process.engine_process import EngineProcess
from services.selection import Selection, monolith_gpu, select
from shared.deployment import MONOLITH_APP, MONOLITH_TURNS, Health
from shared.engines import RegisteredModel
from shared.errors import Stage
from shared.settings import Settings, settings
from shared.stage_span import stage_span
from shared.stage_stream import StageStarted, StageStream
from shared.turn import Failure

# What fits in an A10G's 22.5 GiB, computed from sizes and not yet measured on one:
#   vLLM, 0.55 of it                                                        12.4 GiB
#     Phi-3-mini in bfloat16, 7.1; CUDA graphs and activations, 1.5; what is left, 3.8, holds 10,300 tokens of
#     conversation at 0.375 MiB each, two and a half full ones
#   nemo: 0.6 billion parameters in bfloat16, 1.2; a batch's activations, 1; CUDA itself, 0.5     2.7 GiB
#   chatterbox in float32: 0.35 billion parameters of T3, 1.4; S3Gen, 1.0; activations, 1; CUDA, 0.5  3.9 GiB
# which leaves 3.5 GiB for fragmentation and error. S2S_VLLM_FLAGS comes behind this and wins.
VLLM_FLAGS = "--gpu-memory-utilization 0.55"


class ProcessStages:
    """The `Stages` of three engines' processes, which it owns from the entry of its
    `async with` block to the exit."""

    def __init__(self, asr: EngineProcess, llm: EngineProcess, tts: EngineProcess) -> None:
        self._asr, self._llm, self._tts = self._processes = asr, llm, tts
        self._exit = AsyncExitStack()
        self.transcribe, self.generate, self.synthesize = asr.stream, llm.stream, tts.stream

    async def __aenter__(self) -> Self:
        for process in self._processes:
            await self._exit.enter_async_context(process)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._exit.aclose()

    @property
    def is_broken(self) -> bool:
        """Whether one of the processes runs no more."""
        return any(process.has_ended for process in self._processes)

    async def warm(self) -> list[Health | Failure]:
        """Load the engines, unless they are loaded: first the LLM, then the others at once. A server of
        language models measures what is free on the GPU when it starts, so nobody else may be claiming it.

        Raises SpeechError if one cannot be loaded.
        """
        llm = await self._llm.load()
        asr, tts = await asyncio.gather(self._asr.load(), self._tts.load())
        return [asr, llm, tts]


def _stage(stage: Stage, verb: str) -> Callable[..., StageStream]:
    """The method for a verb of the stages: its stream starts with the call's id."""

    async def stream(
        self: TurnService, /, *arguments: Any, traceparent: str | None = None, **keywords: Any
    ) -> StageStream:
        call_id = modal.current_function_call_id() or ""
        with stage_span(stage, "server", traceparent) as span:
            async with aclosing(getattr(self.stages, verb)(*arguments, **keywords)) as items:
                async for item in items:
                    span.observe(item)
                    if isinstance(item, StageStarted):
                        yield item.model_copy(update={"call_id": call_id})
                    else:
                        yield item

    stream.__name__ = verb
    return stream


def class_options(selection: Selection, settings: Settings) -> dict[str, Any]:
    """What the class asks of Modal. No snapshots: those of several processes with CUDA in each were never
    tried."""
    secrets = sorted({variable for model in selection for variable in model.spec.secrets})
    has_weights = any(model.spec.weights for model in selection)
    return {
        "image": monolith_image(selection, settings),
        "gpu": monolith_gpu(selection, settings),
        "volumes": {WEIGHTS_FOLDER: weights_volume()} if has_weights else {},
        "secrets": secrets_of(*secrets),
        "timeout": settings.call_timeout_s,
        "startup_timeout": round(settings.stage_start_timeout_s),
        **container_options(settings.monolith, settings),
    }


def concurrency(settings: Settings) -> dict[str, int]:
    """How many turns a container runs at once; one call more, so that `warm` needs no other container."""
    turns = settings.monolith.concurrent_inputs or MONOLITH_TURNS
    return {"max_inputs": turns + 1, "target_inputs": turns}


SELECTION = select(settings(), on_modal=True)

app = modal.App(MONOLITH_APP)


@app.cls(**class_options(SELECTION, settings()))
@modal.concurrent(**concurrency(settings()))
class Monolith(TurnService):
    """Turns over the selected engines, each in a process of this container."""

    @modal.enter()
    async def start(self) -> None:
        """Load the engines."""
        stages = ProcessStages(*map(_process, SELECTION))
        await self.begin(stages, MONOLITH_APP)
        await stages.warm()

    # The stages one by one, as the three services have them: for what is no turn.
    transcribe = modal.method()(_stage(Stage.ASR, "transcribe"))
    generate = modal.method()(_stage(Stage.LLM, "generate"))
    synthesize = modal.method()(_stage(Stage.TTS, "synthesize"))


@app.local_entrypoint()
def main(audio_path: str, output_path: str = "output.wav") -> None:
    """Answer a recording: --audio-path input.wav, any format; the spoken reply goes to output.wav."""
    answer_recording(Monolith, audio_path, output_path)


def _process(model: RegisteredModel) -> EngineProcess:
    python = os.environ.get(interpreter_variable(model))
    flags = f"{VLLM_FLAGS} {settings().vllm_flags}".strip()
    return EngineProcess(model, python=Path(python) if python else None, environ={"S2S_VLLM_FLAGS": flags})
