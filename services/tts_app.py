"""Modal app speech-to-speech-tts: text to speech. Deploy: make deploy-tts"""

import modal

from services.host.tts_host import TTSHost
from services.on_modal import service
from services.selection import select_model
from shared.deployment import APPS
from shared.errors import Stage
from shared.settings import settings

MODEL = select_model(Stage.TTS, settings(), on_modal=True)

app = modal.App(APPS[Stage.TTS])


@app.cls(**service.service_options(MODEL, settings()))
@modal.concurrent(**service.concurrency(MODEL, settings()))
class TTS(service.ModalService):
    """The selected TTS engine."""

    registered = MODEL
    host_type = TTSHost
    start = modal.enter(snap=service.loads_before_snapshot(MODEL, settings()))(
        service.ModalService.load_engine
    )
    synthesize = modal.method()(service.served(TTSHost.synthesize_mp3))
