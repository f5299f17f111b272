"""gpt-4o-mini at OpenAI; or any other model at any server of the OpenAI protocol."""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from services.llm.chat_api import OPENAI_CLIENT, ChatApi
from services.llm.conversation import fitted, utf8_length
from shared.engines import EngineSpec, LLMModel, register_model
from shared.errors import Misconfigured, Stage, StageFailed
from shared.payloads import ChatMessage, LLMDelta, TextDelta, Tool
from shared.settings import settings

_KEY = "OPENAI_API_KEY"
_BYTES_PER_TOKEN = 2
"""English takes 4 to 5, scripts of three bytes a letter about 3: this errs on the safe side."""


@register_model(
    "llm",
    "gpt4omini",
    EngineSpec(
        summary="gpt-4o-mini at OpenAI, or what S2S_OPENAI_MODEL is at S2S_OPENAI_BASE_URL; no GPU.",
        licence="OpenAI's terms of use",
        packages=(OPENAI_CLIENT,),
        modules=("openai",),
        concurrent_inputs=100,
        secrets=(_KEY,),
        context_length=128_000,
        # No snapshot: it would keep the key of the day on which it was taken.
    ),
)
class Gpt4oMini(LLMModel):
    """A client of the API: it holds nothing but a connection."""

    def __init__(self) -> None:
        self._settings = settings()
        self._api: ChatApi | None = None

    @property
    def model_name(self) -> str:
        """The model's name at its server."""
        return self._settings.openai_model

    def load(self) -> None:
        """Make the client; the server is not asked yet.

        Raises Misconfigured if there is no key.
        """
        key = os.environ.get(_KEY, "").strip()
        if not key:
            raise Misconfigured(f"{_KEY} is not set: it holds the key of the API.", Stage.LLM)
        self._api = ChatApi(
            self._settings.openai_base_url,
            key,
            self._settings.openai_model,
            server=self._settings.openai_model,
            timeout_s=self._settings.llm_timeout_s,
        )

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta, None]:
        """See LLMModel. Closing the generator closes the connection, and the API stops writing."""
        if self._api is None:
            raise StageFailed(f"{self.model_name} is not loaded.", Stage.LLM)
        context = self._settings.openai_context_tokens
        max_tokens = min(max_tokens, context // 2)
        messages = await fitted(messages, _estimated_tokens, context - max_tokens)
        async with aclosing(
            self._api.reply(messages, max_tokens=max_tokens, temperature=temperature)
        ) as reply:
            async for text in reply:
                yield TextDelta(text=text)

    def close(self) -> None:
        """Close the connection."""
        if self._api is not None:
            self._api.close()


_TOKENS_PER_MESSAGE = 4


async def _estimated_tokens(messages: Sequence[ChatMessage]) -> int:
    return utf8_length(messages) // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * len(messages)
