"""Modal app speech-to-speech: the orchestrator. Deploy: make deploy-orchestrator

One recording, answered by the deployed services:

modal run -m orchestrator.app --audio-path input.wav
"""

from typing import Any

import modal

from orchestrator.modal_stages import ModalStages
from orchestrator.turn_service import TurnService, answer_recording
from services.on_modal.images import orchestrator_image
from services.on_modal.service import container_options, secrets_of
from shared.deployment import APPS
from shared.errors import Stage
from shared.settings import Settings, settings


def class_options(settings: Settings) -> dict[str, Any]:
    """What the class asks of Modal."""
    return {
        "image": orchestrator_image(settings),
        "secrets": secrets_of(),
        "enable_memory_snapshot": settings.orchestrator.snapshot != "none",  # of the imports
        # A turn may meet a cold start in each stage, though they begin together.
        "timeout": round(settings.stage_start_timeout_s) + settings.call_timeout_s,
        **container_options(settings.orchestrator, settings),
    }


def concurrency(settings: Settings) -> dict[str, int]:
    """How many calls a container takes: more than it has turns for, so that a turn too many is refused at
    once rather than left waiting in Modal's queue."""
    return {"max_inputs": 2 * settings.max_active_turns, "target_inputs": settings.max_active_turns}


app = modal.App(APPS[Stage.ORCHESTRATOR])


@app.cls(**class_options(settings()))
@modal.concurrent(**concurrency(settings()))
class Orchestrator(TurnService):
    """Turns over the deployed services."""

    @modal.enter()
    async def start(self) -> None:
        """Make ready for turns; the services are looked up when they are first called."""
        await self.begin(ModalStages(settings(), wake_ahead=True), APPS[Stage.ORCHESTRATOR])


@app.local_entrypoint()
def main(audio_path: str, output_path: str = "output.wav") -> None:
    """Answer a recording: --audio-path input.wav, any format; the spoken reply goes to output.wav."""
    answer_recording(Orchestrator, audio_path, output_path)
