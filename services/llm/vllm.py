"""Language models on vLLM: `vllm` serves any repository of the hub, `phi3` and `llama` are presets."""

import asyncio
import json
import re
import shlex
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

from services.llm.chat_api import KEEP_ALIVE_S, OPENAI_CLIENT, ChatApi, as_openai, tools_as_openai
from services.llm.conversation import truncate_to_context, utf8_length
from services.llm.vllm_server import URL, VllmServer
from services.weights import weights_folder
from shared.engines import EngineSpec, LLMModel, capacity, register_model
from shared.errors import EngineLoadFailed, SpeechError, Stage, StageFailed, StageTimedOut
from shared.payloads import ChatMessage, LLMDelta, TokenUsage, Tool
from shared.settings import Settings, settings
from shared.turn import DEFAULT_SYSTEM_PROMPT
from shared.weights import HubWeights

VLLM_PACKAGES = (
    "vllm==0.32.0",
    OPENAI_CLIENT,
    "setuptools==80.9.0",  # vLLM's bound, which it declares for newer Pythons alone
)

CONCURRENT_REPLIES = 16

_FILES = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model")
"""What vLLM reads of a repository; Llama's also holds the same weights in another form."""

_REQUIRED_FILES = ("config.json", "*.safetensors")

_FLAGS = (
    "--dtype bfloat16 --gpu-memory-utilization 0.90 --enable-prefix-caching --performance-mode interactivity "
    "--enable-sleep-mode"
)

_TOOL_PARSERS = {
    r"meta-llama/(Meta-)?Llama-3": "llama3_json",
    r"Qwen/Qwen(2\.5|3)-(?!Coder)": "hermes",
}
"""vLLM's tool parsers by family. Phi-3 has not been trained to call tools."""

_TIMEOUTS_BEFORE_REPLACED = 2
_HUNG_GRACE_S = 1.0
_WARM_UP_WORDS = (1, 50, 500)
"""Lengths of the questions that warm it up: a first word, a turn, a long conversation."""
_WARM_UP_TIMEOUT_S = 120.0

_TEMPLATE_TOKENS = 64
_TEMPLATE_TOKENS_PER_MESSAGE = 16
_TEMPLATE_TOKENS_OF_TOOLS = 512
"""More than a chat template adds to the conversation's own text."""


def on_vllm(
    summary: str, licence: str, repository: str, revision: str, context_length: int, token: str | None = None
) -> EngineSpec:
    """The spec of a model on vLLM."""
    return EngineSpec(
        summary=summary,
        licence=licence,
        packages=VLLM_PACKAGES,
        lock="vllm",
        modules=("vllm", "openai"),
        apt_packages=("g++",),  # Triton compiles its kernels' launchers in the container
        gpu="A10G",
        concurrent_inputs=CONCURRENT_REPLIES,
        weights=HubWeights(repository=repository, revision=revision, files=_FILES, token=token),
        context_length=context_length,
        memory_snapshot=True,
        gpu_snapshot=True,
    )


class VllmLLM(LLMModel):
    """Base of the models on vLLM, which runs as a child process.

    When vLLM ends, or does not answer twice in a row, replies fail and `is_broken` is true: it takes a new
    engine then.
    """

    def __init__(self) -> None:
        self._settings = settings()
        self.supports_tools = tool_parser(type(self), self._settings) is not None
        self._server: VllmServer | None = None
        self._api: ChatApi | None = None
        self._timeouts = 0
        """Replies in a row, of all that are in progress, that timed out."""
        self._closed = False

    @classmethod
    def weights(cls) -> HubWeights:
        """What it serves."""
        assert isinstance(cls.spec.weights, HubWeights)
        return cls.spec.weights

    @property
    def model_name(self) -> str:
        """The repository's name without its owner's."""
        return self.weights().repository.rpartition("/")[2]

    def load(self) -> None:
        """Start vLLM on the weights, wait until it serves, and warm it up with replies.

        Raises WeightsMissing, or EngineLoadFailed.
        """
        weights = weights_folder(self.weights(), *_REQUIRED_FILES)
        flags = vllm_flags(type(self), self._settings)
        server = self._server = VllmServer(weights, self.model_name, flags, keep_alive_s=KEEP_ALIVE_S)
        if self._closed:
            server.close()
        try:
            server.start(self._settings.stage_start_timeout_s)
            for words in _WARM_UP_WORDS:
                if 4 * words <= context_length(type(self), self._settings):
                    self._warm_up(server, words)
        except SpeechError:
            server.close()
            raise
        self._api = ChatApi(
            f"{URL}/v1",
            "no key",
            self.model_name,
            server="vLLM",
            timeout_s=self._settings.llm_timeout_s,
            socket=server.socket,
        )

    def before_snapshot(self) -> None:
        """Free the GPU's memory, which would make the snapshot larger and slower to restore."""
        if self._server is not None:
            self._server.sleep()

    def restored(self) -> None:
        """Wake vLLM up and have it read the default system prompt again."""
        if self._server is not None:
            self._server.wake_up()
            self._warm_up(self._server, _WARM_UP_WORDS[0])

    def is_broken(self) -> bool:
        """Whether vLLM has ended."""
        return self._server is not None and self._server.has_ended

    def close(self) -> None:
        """End vLLM, also while it starts or before."""
        self._closed = True
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
    ) -> AsyncGenerator[LLMDelta | TokenUsage, None]:
        """See LLMModel. Closing the generator aborts the request in vLLM.

        A conversation is truncated to the model's context. Raises TooLong if even its last question does not
        fit, StageFailed if vLLM is lost, StageTimedOut if it does not answer.
        """
        if self._server is None or self._api is None:
            raise StageFailed(f"{self.model_name} is not loaded.", Stage.LLM)
        context = context_length(type(self), self._settings)
        max_tokens = min(max_tokens, context // 2)
        room = context - max_tokens
        count_tokens = partial(self._tokens, self._api, tools, room)
        try:
            truncated = await truncate_to_context(messages, count_tokens, room)
            reply = self._api.reply(truncated, tools=tools, max_tokens=max_tokens, temperature=temperature)
            async with aclosing(reply) as deltas:
                async for delta in deltas:
                    self._timeouts = 0
                    yield delta
        except StageTimedOut:
            self._timeouts += 1
            if self._timeouts >= _TIMEOUTS_BEFORE_REPLACED:  # it may well call itself healthy
                await asyncio.to_thread(self._server.end, _HUNG_GRACE_S)
            raise
        except StageFailed:
            await asyncio.to_thread(self._server.check_runs)
            raise

    async def _tokens(
        self, api: ChatApi, tools: Sequence[Tool], room: int, messages: Sequence[ChatMessage]
    ) -> int:
        """How many tokens the model makes of them; an upper bound if that is small enough to fit anyway."""
        offered = tools_as_openai(tools)
        most = utf8_length(messages) + _TEMPLATE_TOKENS + _TEMPLATE_TOKENS_PER_MESSAGE * len(messages)
        if tools:
            most += len(json.dumps(offered).encode()) + _TEMPLATE_TOKENS_OF_TOOLS
        if most <= room:
            return most
        body = {"model": self.model_name, "messages": as_openai(messages), "tools": offered or None}
        count: int = (await api.post(f"{URL}/tokenize", body))["count"]
        return count

    def _warm_up(self, server: VllmServer, words: int) -> None:
        messages = [
            ChatMessage(role="system", content=DEFAULT_SYSTEM_PROMPT),
            ChatMessage(role="user", content="Hello" + " again" * (words - 1)),
        ]
        body = {"model": self.model_name, "messages": as_openai(messages), "max_tokens": 16}
        try:
            status = server.request("POST", "/v1/chat/completions", body, timeout_s=_WARM_UP_TIMEOUT_S)
        except OSError as error:
            server.check_runs()
            raise EngineLoadFailed(f"vLLM does not answer its first question: {error}", Stage.LLM) from error
        if status != 200:
            raise EngineLoadFailed(f"vLLM answers {status} to its first question.", Stage.LLM)


@register_model(
    "llm",
    "vllm",
    on_vllm(
        "Any model of the hub on vLLM: S2S_LLM_REPOSITORY, by default Qwen3-4B-Instruct-2507; tools.",
        licence="the model's own; Apache 2.0 by default",
        repository="Qwen/Qwen3-4B-Instruct-2507",
        revision="cdbee75f17c01a7cc42f958dc650907174af0554",
        context_length=8192,
    ),
)
class AnyOnVllm(VllmLLM):
    """By default 8.1 GB of weights and 0.14 MiB of key-value cache a token, which leaves room for about ten
    full conversations on an A10G."""

    @classmethod
    def weights(cls) -> HubWeights:
        """The repository that S2S_LLM_REPOSITORY names."""
        chosen, default = settings(), super().weights()
        pinned = default.revision if chosen.llm_repository == default.repository else "main"
        return HubWeights(
            repository=chosen.llm_repository,
            revision=chosen.llm_revision or pinned,
            files=_FILES,
            token="HF_TOKEN" if chosen.llm_gated else None,
        )


@register_model(
    "llm",
    "phi3",
    on_vllm(
        "Phi-3-mini-4k-instruct on vLLM; English, 4,096 tokens of conversation.",
        licence="MIT",
        repository="microsoft/Phi-3-mini-4k-instruct",
        revision="f39ac1d28e925b323eae81227eaba4464caced4e",
        context_length=4096,
    ),
)
class Phi3(VllmLLM):
    """On an A10G: 7.6 GB of weights, 0.375 MiB of key-value cache a token, which leaves room for about seven
    full conversations or sixteen of usual length."""


@register_model(
    "llm",
    "llama",
    on_vllm(
        "Llama-3.2-3B-Instruct on vLLM; eight languages, 8,192 tokens of conversation, tools.",
        licence="Llama 3.2 Community License",
        repository="meta-llama/Llama-3.2-3B-Instruct",
        revision="0cb88a4f764b7a12671c53f0838cd831a0843b95",
        context_length=8192,
        token="HF_TOKEN",  # Meta requires consent to its licence
    ),
)
class Llama(VllmLLM):
    """On an A10G: 6.4 GB of weights, 0.11 MiB of key-value cache a token, which leaves room for about
    fourteen full conversations. The model takes up to 131,072 tokens."""


def context_length(engine: type[VllmLLM], settings: Settings) -> int:
    """The tokens of conversation and reply together: the setting's, else the engine's own."""
    own = engine.spec.context_length
    assert own is not None
    return settings.llm_context_length or own


def tool_parser(engine: type[VllmLLM], settings: Settings) -> str | None:
    """The name of vLLM's parser of tool calls: the setting's, else the family's; None if that has none."""
    repository = engine.weights().repository
    parsers = (parser for family, parser in _TOOL_PARSERS.items() if re.match(family, repository))
    return settings.llm_tool_parser or next(parsers, None)


def vllm_flags(engine: type[VllmLLM], settings: Settings) -> list[str]:
    """The arguments of `vllm serve` for an engine; those of S2S_VLLM_FLAGS come last and win."""
    flags = [*_FLAGS.split(), "--max-model-len", str(context_length(engine, settings))]
    flags += ["--max-num-seqs", str(capacity(Stage.LLM, engine.spec, settings))]
    if parser := tool_parser(engine, settings):
        flags += ["--enable-auto-tool-choice", "--tool-call-parser", parser]
    return [*flags, *shlex.split(settings.vllm_flags)]
