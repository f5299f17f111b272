"""Modal app speech-to-speech-asr: speech to text. Deploy: make deploy-asr"""

import modal

from services.host.asr_host import ASRHost
from services.on_modal import service
from services.selection import select_model
from shared.deployment import APPS
from shared.errors import Stage
from shared.settings import settings

MODEL = select_model(Stage.ASR, settings(), on_modal=True)

app = modal.App(APPS[Stage.ASR])


@app.cls(**service.service_options(MODEL, settings()))
@modal.concurrent(**service.concurrency(MODEL, settings()))
class ASR(service.ModalService):
    """The selected ASR engine."""

    registered = MODEL
    host_type = ASRHost
    start = modal.enter(snap=service.loads_before_snapshot(MODEL, settings()))(
        service.ModalService.load_engine
    )
    transcribe = modal.method()(service.served(ASRHost.transcribe))
