"""Modal app speech-to-speech-llm: conversation to reply. Deploy: make deploy-llm"""

import modal

from services.host.llm_host import LLMHost
from services.on_modal import service
from services.selection import select_model
from shared.deployment import APPS
from shared.errors import Stage
from shared.settings import settings

MODEL = select_model(Stage.LLM, settings(), on_modal=True)

app = modal.App(APPS[Stage.LLM])


@app.cls(**service.service_options(MODEL, settings()))
@modal.concurrent(**service.concurrency(MODEL, settings()))
class LLM(service.ModalService):
    """The selected LLM engine."""

    registered = MODEL
    host_type = LLMHost
    start = modal.enter(snap=service.loads_before_snapshot(MODEL, settings()))(
        service.ModalService.load_engine
    )
    generate = modal.method()(service.served(LLMHost.generate))
