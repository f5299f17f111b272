"""SmolLM2-135M on llama.cpp in this process: it streams like a large model, on any CPU, and knows little."""

import shutil
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

from services.llm.chat_api import OPENAI_CLIENT, ChatApi, as_openai
from services.llm.conversation import truncate_to_context
from services.weights import weights_folder
from services.weights.pinned import SMOLLM2
from shared.engines import EngineSpec, LLMModel, register_model
from shared.errors import EngineLoadFailed, Stage, StageFailed
from shared.payloads import ChatMessage, LLMDelta, TokenUsage, Tool
from shared.settings import settings
from shared.turn import DEFAULT_SYSTEM_PROMPT

_URL = "http://llama"
"""llama.cpp's address in requests over its socket; the host name is never looked up."""

_CONTEXT_TOKENS = 1024
"""Of the 8,192 that the model takes: to read so many anew takes a CPU core 7 s, a busy one 17 s."""

_BATCH_TOKENS = 128
"""Of a prompt, read between two looks at whether anybody still wants the reply."""


@register_model(
    "llm",
    "smollm2",
    EngineSpec(
        summary="SmolLM2-135M on llama.cpp: streams tokens on any CPU, answers 5 to 8 of 20 questions right.",
        licence="Apache 2.0",
        packages=("xllamacpp==2026.10.11549", OPENAI_CLIENT),
        modules=("xllamacpp", "openai"),
        weights=SMOLLM2,
        context_length=_CONTEXT_TOKENS,
        # No snapshot: nobody has tried whether llama.cpp's threads and socket survive one.
    ),
)
class SmolLM2(LLMModel):
    """Its llama.cpp works on one thread: two that wait for each other fall far behind on a busy machine.

    llama.cpp opens an HTTP server without any key, so it is put on a Unix socket in a folder that no other
    user can enter. Replies come over it: who closes one hangs up, and llama.cpp stops, in the middle of a
    prompt too, which the library's own call cannot do.
    """

    model_name = "SmolLM2-135M-Instruct"

    def __init__(self) -> None:
        self._timeout_s = settings().llm_timeout_s
        self._folder: Path | None = None
        self._server: Any = None
        self._api: ChatApi | None = None

    def load(self) -> None:
        """Load the weights (llama.cpp holds the interpreter meanwhile, 0.3 s) and read the default system
        prompt, which replies then need not do.

        Raises WeightsMissing, or EngineLoadFailed if they are no model that llama.cpp can load.
        """
        from xllamacpp import CommonParams, Server

        model = weights_folder(SMOLLM2) / SMOLLM2.files[0].name
        self._folder = Path(tempfile.mkdtemp(prefix="llama-"))
        socket = self._folder / "llama.sock"  # by its ending it is no host name
        params = CommonParams()
        params.model.path = str(model)
        params.hostnames = [str(socket)]
        params.ui = False
        params.verbosity = 0  # it writes to standard error
        params.n_ctx = _CONTEXT_TOKENS
        params.n_batch = params.n_ubatch = _BATCH_TOKENS
        params.n_parallel = params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.cache_ram_mib = 0  # the last conversation stays read; more of them would take gigabytes
        try:
            self._server = Server(params)
        except RuntimeError as error:
            self.close()
            raise EngineLoadFailed(f"llama.cpp cannot load {model}: {error}", Stage.LLM) from error
        prompt = {"role": "system", "content": DEFAULT_SYSTEM_PROMPT}, {"role": "user", "content": "Hello"}
        self._server.handle_chat_completions({"messages": prompt, "max_tokens": 1})
        self._api = ChatApi(
            f"{_URL}/v1",
            "no key",
            self.model_name,
            server="llama.cpp",
            timeout_s=self._timeout_s,
            socket=socket,
            keep_alive_s=0,  # llama.cpp closes some connections after a reply, just when the next one begins
        )

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta | TokenUsage, None]:
        """See LLMModel. A conversation is truncated to the context; it has no tools.

        Raises TooLong if even the last question does not fit.
        """
        if self._api is None:
            raise StageFailed(f"{self.model_name} is not loaded.", Stage.LLM)
        max_tokens = min(max_tokens, _CONTEXT_TOKENS // 2)
        count_tokens = partial(_tokens, self._api)
        messages = await truncate_to_context(messages, count_tokens, _CONTEXT_TOKENS - max_tokens)
        reply = self._api.reply(messages, max_tokens=max_tokens, temperature=temperature)
        async with aclosing(reply) as deltas:
            async for delta in deltas:
                yield delta

    def close(self) -> None:
        """End llama.cpp and remove its socket."""
        if self._api is not None:
            self._api.close()  # first: llama.cpp waits half a minute for a reply that is under way
        self._server = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


async def _tokens(api: ChatApi, messages: Sequence[ChatMessage]) -> int:
    body = {"messages": as_openai(messages)}
    count: int = (await api.post(f"{_URL}/v1/chat/completions/input_tokens", body))["input_tokens"]
    return count
