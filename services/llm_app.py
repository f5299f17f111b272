"""Modal app speech-to-speech-llm: conversation to reply. Deploy: make deploy-llm"""

from collections.abc import Sequence

import modal

from services.host.llm_host import LLMHost
from services.on_modal import service
from services.selection import select_model
from shared.deployment import APPS
from shared.errors import Stage
from shared.payloads import ChatMessage, Tool
from shared.settings import settings
from shared.stage_stream import StageStream

MODEL = select_model(Stage.LLM, settings(), on_modal=True)

app = modal.App(APPS[Stage.LLM])


@app.cls(**service.service_options(MODEL, settings()))
@modal.concurrent(**service.concurrency(MODEL, settings()))
class LLM(service.ModalService):
    """The selected LLM engine."""

    registered = MODEL
    host: LLMHost

    @modal.enter(snap=service.loads_before_snapshot(MODEL, settings()))
    async def start(self) -> None:
        """Load the engine."""
        await self.begin(LLMHost)

    @modal.method()
    @service.served
    def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> StageStream:
        """See `Stages`."""
        return self.host.generate(messages, tools=tools, max_tokens=max_tokens, temperature=temperature)
