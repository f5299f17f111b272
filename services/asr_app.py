"""Modal app speech-to-speech-asr: speech to text. Deploy: make deploy-asr"""

import modal

from services.host.asr_host import ASRHost
from services.on_modal import service
from services.selection import select_model
from shared.deployment import APPS
from shared.errors import Stage
from shared.payloads import Mp3Audio
from shared.settings import settings
from shared.stage_stream import StageStream

MODEL = select_model(Stage.ASR, settings(), on_modal=True)

app = modal.App(APPS[Stage.ASR])


@app.cls(**service.service_options(MODEL, settings()))
@modal.concurrent(**service.concurrency(MODEL, settings()))
class ASR(service.ModalService):
    """The selected ASR engine."""

    registered = MODEL
    host: ASRHost

    @modal.enter(snap=service.loads_before_snapshot(MODEL, settings()))
    async def start(self) -> None:
        """Load the engine."""
        await self.begin(ASRHost)

    @modal.method()
    @service.served
    def transcribe(self, audio: Mp3Audio, *, language: str | None = None) -> StageStream:
        """See `Stages`."""
        return self.host.transcribe(audio, language=language)
