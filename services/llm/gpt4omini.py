"""gpt-4o-mini at OpenAI; or any other model at any server of the OpenAI chat protocol."""

import json
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from services.llm.chat_api import OPENAI_CLIENT, ChatApi, tools_as_openai
from services.llm.conversation import truncate_to_context, utf8_length
from shared.engines import EngineSpec, LLMModel, register_model
from shared.errors import Misconfigured, Stage, StageFailed
from shared.payloads import ChatMessage, LLMDelta, TokenUsage, Tool
from shared.settings import settings

_KEY = "OPENAI_API_KEY"
_OPENAI = "https://api.openai.com/"
"""It takes nobody without a key; a server of one's own may."""

_BYTES_PER_TOKEN = 2
"""English has 4 to 5, scripts of three bytes a letter about 3: this errs on the safe side."""

_TOKENS_PER_MESSAGE = 4


@register_model(
    "llm",
    "gpt4omini",
    EngineSpec(
        summary="gpt-4o-mini at OpenAI, or the model S2S_OPENAI_MODEL at S2S_OPENAI_BASE_URL; no GPU.",
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
    """A client of the API: it holds nothing but connections."""

    supports_tools = True

    def __init__(self) -> None:
        self._settings = settings()
        self._api: ChatApi | None = None

    @property
    def model_name(self) -> str:
        """The model's name on its server."""
        return self._settings.openai_model

    @classmethod
    def unset_secrets(cls) -> list[str]:
        """The key, where OpenAI's own API is asked."""
        return super().unset_secrets() if settings().openai_base_url.startswith(_OPENAI) else []

    def load(self) -> None:
        """Create the client; it connects with the first reply.

        Raises Misconfigured if OpenAI's key is not there, or S2S_OPENAI_OPTIONS is no JSON object.
        """
        if self.unset_secrets():
            raise Misconfigured(f"{_KEY} is not set: it holds the key of the API.", Stage.LLM)
        self._api = ChatApi(
            self._settings.openai_base_url,
            os.environ.get(_KEY, "").strip() or "no key",
            self._settings.openai_model,
            server=self._settings.openai_model,
            timeout_s=self._settings.llm_timeout_s,
            options=_options(self._settings.openai_options),
        )

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta | TokenUsage, None]:
        """See LLMModel. Closing the generator closes the connection, and the API stops generating."""
        if self._api is None:
            raise StageFailed(f"{self.model_name} is not loaded.", Stage.LLM)
        context = self._settings.openai_context_tokens
        max_tokens = min(max_tokens, context // 2)
        count_tokens = partial(_estimated_tokens, tools=tools)
        messages = await truncate_to_context(messages, count_tokens, context - max_tokens)
        reply = self._api.reply(messages, tools=tools, max_tokens=max_tokens, temperature=temperature)
        async with aclosing(reply) as deltas:
            async for delta in deltas:
                yield delta

    def close(self) -> None:
        """Close the connections."""
        if self._api is not None:
            self._api.close()


async def _estimated_tokens(messages: Sequence[ChatMessage], *, tools: Sequence[Tool]) -> int:
    text = utf8_length(messages) + len(json.dumps(tools_as_openai(tools)))
    return text // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * len(messages)


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text or "{}")
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise Misconfigured(f"S2S_OPENAI_OPTIONS={text!r} is no JSON object.", Stage.LLM)
    return options
