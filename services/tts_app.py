"""Modal app speech-to-speech-tts: text to speech. Deploy: make deploy-tts"""

import modal

from services.host.tts_host import TTSHost
from services.on_modal import service
from services.selection import select_model
from shared.deployment import APPS
from shared.errors import Stage
from shared.settings import settings
from shared.stage_stream import StageStream

MODEL = select_model(Stage.TTS, settings(), on_modal=True)

app = modal.App(APPS[Stage.TTS])


@app.cls(**service.service_options(MODEL, settings()))
@modal.concurrent(**service.concurrency(MODEL, settings()))
class TTS(service.ModalService):
    """The selected TTS engine."""

    registered = MODEL
    host: TTSHost

    @modal.enter(snap=service.loads_before_snapshot(MODEL, settings()))
    async def start(self) -> None:
        """Load the engine."""
        await self.begin(TTSHost)

    @modal.method()
    @service.served
    def synthesize(self, text: str, *, voice: str | None = None, language: str | None = None) -> StageStream:
        """See `Stages`; the audio is MP3."""
        return self.host.synthesize_mp3(text, voice=voice, language=language)
