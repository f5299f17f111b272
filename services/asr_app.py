"""Modal app speech-to-speech-asr: speech to text. Deploy: make deploy-asr"""

import modal

from services.host.asr_host import ASRHost
from services.on_modal.service import (
    ModalService,
    concurrency,
    loads_before_snapshot,
    served,
    service_options,
)
from services.selection import select_model
from shared.deployment import APPS
from shared.errors import Stage
from shared.settings import settings

MODEL = select_model(Stage.ASR, settings(), on_modal=True)

app = modal.App(APPS[Stage.ASR])


@app.cls(**service_options(MODEL, settings()))
@modal.concurrent(**concurrency(MODEL, settings()))
class ASR(ModalService):
    """The selected ASR engine."""

    registered = MODEL
    host_type = ASRHost
    start = modal.enter(snap=loads_before_snapshot(MODEL, settings()))(ModalService.load_engine)
    transcribe = modal.method()(served(ASRHost.transcribe))
