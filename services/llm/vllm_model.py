"""A language model that vLLM serves beside us."""

import asyncio
import shlex
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

from services.llm.chat_api import KEEP_ALIVE_S, OPENAI_CLIENT, ChatApi, as_openai
from services.llm.conversation import fitted, utf8_length
from services.llm.vllm_server import VllmServer
from services.weights.snapshot import weights_folder
from shared.engines import EngineSpec, LLMModel, Weights
from shared.errors import EngineLoadFailed, Misconfigured, Stage, StageFailed
from shared.payloads import ChatMessage, LLMDelta, TextDelta, Tool
from shared.settings import settings
from shared.turn import DEFAULT_SYSTEM_PROMPT

VLLM_PACKAGES = (
    "vllm==0.32.0",
    OPENAI_CLIENT,
    "setuptools==80.9.0",  # vLLM's bound, which it declares for newer Pythons alone
)

VLLM_APT_PACKAGES = ("g++",)
"""Triton compiles what launches its kernels where it runs."""

VLLM_FILES = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model")
"""What it reads of a repository; Llama's also holds the same weights in another form."""

CONCURRENT_REPLIES = 16

_FLAGS = (
    "--dtype bfloat16 --gpu-memory-utilization 0.90 --enable-prefix-caching --performance-mode interactivity "
    f"--enable-sleep-mode --max-num-seqs {CONCURRENT_REPLIES}"
)

_FILES = ("config.json", "tokenizer.json", "*.safetensors")

_WARM_UP_WORDS = (1, 50, 500)
"""Lengths of the questions that warm it up: a first word, a turn, a long conversation."""
_WARM_UP_TIMEOUT_S = 120.0

_TEMPLATE_TOKENS = 64
_TEMPLATE_TOKENS_PER_MESSAGE = 16
"""More than a chat template adds to what is said."""


class VllmLLM(LLMModel):
    """Base of the models on vLLM: all that differs is in the spec, its weights and context length.

    When vLLM is lost, replies fail and `is_broken` says so: it takes a new engine then.
    """

    def __init__(self) -> None:
        self._settings = settings()
        self._server: VllmServer | None = None
        self._api: ChatApi | None = None

    @property
    def model_name(self) -> str:
        """The repository's name without its owner's."""
        return _weights_and_context(self.spec)[0].repository.rpartition("/")[2]

    def load(self) -> None:
        """Start vLLM on the weights, wait until it serves, and have it answer at a few lengths.

        Raises WeightsMissing, or EngineLoadFailed with vLLM's last log lines.
        """
        weights = weights_folder(_weights_and_context(self.spec)[0], *_FILES)
        flags = vllm_flags(self.spec, self._settings.vllm_flags)
        self._server = VllmServer(weights, self.model_name, flags, keep_alive_s=KEEP_ALIVE_S)
        self._server.start(self._settings.stage_start_timeout_s)
        for words in _WARM_UP_WORDS:
            self._warm_up(words)
        self._api = ChatApi(
            f"{self._server.url}/v1",
            "no key",
            self.model_name,
            server="vLLM",
            timeout_s=self._settings.llm_timeout_s,
            direct=True,
        )

    def before_snapshot(self) -> None:
        """Free the GPU's memory, which would make the snapshot larger and slower to restore."""
        if self._server is not None:
            self._server.sleep()

    def restored(self) -> None:
        """Wake vLLM up and have it read the default system prompt again."""
        if self._server is not None:
            self._server.wake_up()
            self._warm_up(_WARM_UP_WORDS[0])

    def is_broken(self) -> bool:
        """Whether vLLM has ended."""
        return self._server is not None and self._server.has_ended

    def close(self) -> None:
        """End vLLM, also while it starts."""
        if self._api is not None:
            self._api.close()
        if self._server is not None:
            self._server.close()

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta, None]:
        """See LLMModel. Closing the generator aborts the request in vLLM.

        The oldest turns of a conversation that does not fit are left out. Raises TooLong if it does not fit
        even so, and StageFailed, with vLLM's last log lines if that is lost.
        """
        if self._server is None or self._api is None:
            raise StageFailed(f"{self.model_name} is not loaded.", Stage.LLM)
        _, context = _weights_and_context(self.spec)
        max_tokens = min(max_tokens, context // 2)
        room = context - max_tokens
        try:
            fitting = await fitted(messages, partial(self._tokens, room=room), room)
            reply = self._api.reply(fitting, max_tokens=max_tokens, temperature=temperature)
            async with aclosing(reply):
                async for text in reply:
                    yield TextDelta(text=text)
        except StageFailed:
            await asyncio.to_thread(self._server.check_runs)
            raise

    async def _tokens(self, messages: Sequence[ChatMessage], *, room: int) -> int:
        """How many tokens the model makes of them; more than that if it is little enough to fit anyway."""
        most = utf8_length(messages) + _TEMPLATE_TOKENS + _TEMPLATE_TOKENS_PER_MESSAGE * len(messages)
        if most <= room:
            return most
        assert self._api is not None
        assert self._server is not None
        body = {"model": self.model_name, "messages": as_openai(messages)}
        count: int = (await self._api.post(f"{self._server.url}/tokenize", body))["count"]
        return count

    def _warm_up(self, words: int) -> None:
        assert self._server is not None
        messages = [
            ChatMessage(role="system", content=DEFAULT_SYSTEM_PROMPT),
            ChatMessage(role="user", content="Hello" + " again" * (words - 1)),
        ]
        body = {"model": self.model_name, "messages": as_openai(messages), "max_tokens": 16}
        try:
            status = self._server.request("POST", "/v1/chat/completions", body, timeout_s=_WARM_UP_TIMEOUT_S)
        except OSError as error:
            self._server.check_runs()
            raise EngineLoadFailed(f"vLLM does not answer its first question: {error}", Stage.LLM) from error
        if status != 200:
            raise EngineLoadFailed(f"vLLM answers {status} to its first question.", Stage.LLM)


def vllm_flags(spec: EngineSpec, more: str = "") -> list[str]:
    """The arguments of `vllm serve` for an engine; those of the setting come last and win."""
    _, context = _weights_and_context(spec)
    return [*_FLAGS.split(), "--max-model-len", str(context), *shlex.split(more)]


def _weights_and_context(spec: EngineSpec) -> tuple[Weights, int]:
    if spec.weights is None or spec.context_length is None:
        raise Misconfigured(
            "A model on vLLM needs weights and a context length in its EngineSpec.", Stage.LLM
        )
    return spec.weights, spec.context_length
