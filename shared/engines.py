"""Engines and their registry: how a model becomes selectable.

Adding one takes three steps, in a new module of `services/<stage>/`: subclass ASRModel, LLMModel or
TTSModel; implement `load` and its verb; decorate it with `@register_model("asr", "my_model", ...)`.
Importing the module must be cheap: heavy imports live in `load`.
"""

import importlib.util
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar, cast

from shared.audio.pcm import Pcm
from shared.errors import Misconfigured, Stage
from shared.payloads import ChatMessage, LLMDelta, TokenUsage, Tool, Word
from shared.settings import Settings
from shared.weights import Weights

ModelStage = Literal["asr", "llm", "tts"]

ASR_SAMPLE_RATE_HZ = 16_000
"""The rate at which every ASR engine gets its audio."""

DEVICES = Path("/dev")


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU. A container may see /dev/nvidia1 alone, WSL 2 has /dev/dxg."""
    return any(DEVICES.glob("nvidia[0-9]*")) or (DEVICES / "dxg").exists()


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """What an engine is and what it needs, for its image, its container and `s2s models`.

    `packages` are its pip requirements, `lock` the name of their lock file where engines share one, `modules`
    the imports that show whether they are installed here, `secrets` the environment variables that a
    container gets from a Secret. `gpu` is what a container gets; with `runs_on_cpu` the engine also works,
    more slowly, where there is none. `memory_snapshot` and `gpu_snapshot` say whether a container may be
    restored from one.
    """

    summary: str
    licence: str
    packages: tuple[str, ...] = ()
    lock: str | None = None
    modules: tuple[str, ...] = ()
    apt_packages: tuple[str, ...] = ()
    python_version: str = "3.11"
    gpu: str | None = None
    runs_on_cpu: bool = False
    concurrent_inputs: int = 1
    weights: Weights | None = None
    secrets: tuple[str, ...] = ()
    sample_rate_hz: int | None = None
    context_length: int | None = None
    memory_snapshot: bool = False
    gpu_snapshot: bool = False


def capacity(stage: Stage, spec: EngineSpec, settings: Settings) -> int:
    """How many calls an engine works on at once: the setting's number, else its spec's. Everything that
    admits, queues or batches calls goes by it."""
    return settings.service(stage).concurrent_inputs or spec.concurrent_inputs


class Engine(ABC):
    """A model behind one stage. `load` is called first, once; the verb any number of times after it."""

    spec: ClassVar[EngineSpec]
    """Set by register_model."""

    @property
    @abstractmethod
    def model_name(self) -> str:
        """What a person calls the model."""

    @abstractmethod
    def load(self) -> None:
        """Import the library and get the model ready; blocking.

        Raises Misconfigured, WeightsMissing or EngineLoadFailed.
        """

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that a request may choose, as primary tags of BCP 47; known once it is loaded."""
        return ("en",)

    def before_snapshot(self) -> None:  # noqa: B027
        """Get ready for a snapshot of the container, which comes next; blocking. Called after `load`."""

    def restored(self) -> None:  # noqa: B027
        """Go on after the snapshot, on this machine or another; blocking. Called before the first verb."""

    def is_broken(self) -> bool:
        """Whether the engine can work no more, ever, so that its container must be replaced."""
        return False

    def close(self) -> None:
        """End processes and free memory, also while the engine works; it is not used again."""
        return

    @classmethod
    def weights(cls) -> Weights | None:
        """What it loads; overridden where a setting chooses between several."""
        return cls.spec.weights

    @classmethod
    def missing(cls) -> str | None:
        """What this machine lacks to run the engine, and how to get it; None if nothing."""
        absent = [name for name in cls.spec.modules if importlib.util.find_spec(name) is None]
        if absent:
            of_gpus = () if has_gpu() else ("nvidia-",)
            packages = [package for package in cls.spec.packages if not package.startswith(of_gpus)]
            return f"Python package: pip install {' '.join(packages or absent)}"
        if cls.spec.gpu and not cls.spec.runs_on_cpu and not has_gpu():
            return f"an NVIDIA GPU ({cls.spec.gpu} on Modal)"
        if unset := cls.unset_secrets():
            return f"environment variable {', '.join(unset)}"
        return None

    @classmethod
    def unset_secrets(cls) -> list[str]:
        """The environment variables that are lacking here; overridden where a setting makes them needless."""
        return [name for name in cls.spec.secrets if not os.environ.get(name, "").strip()]


class ASRModel(Engine):
    """Speech to text."""

    has_word_times: bool = False

    @abstractmethod
    def transcribe(self, pcm: Pcm, *, language: str | None = None) -> str:
        """The transcript of one utterance of 16 kHz Pcm, "" if nothing is said; blocking. `language` is one
        of `languages`, or None for the engine's own choice."""

    def transcribe_batch(self, utterances: Sequence[Pcm], *, language: str | None = None) -> Sequence[str]:
        """The transcripts of one or more utterances of one language, in order; blocking.

        For an engine that works on several at once better than on one after another: it gets as many as
        its spec's `concurrent_inputs` says, of those that wait.
        """
        return [self.transcribe(pcm, language=language) for pcm in utterances]

    def transcribe_words(self, pcm: Pcm, *, language: str | None = None) -> Sequence[Word]:
        """The words of one utterance with their times; blocking. Called only if `has_word_times`, for those
        who want them: it may take longer than `transcribe`, and find other words."""
        raise NotImplementedError


class LLMModel(Engine):
    """Conversation to reply."""

    supports_tools: bool = False

    @abstractmethod
    def generate(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Tool] = (),
        max_tokens: int,
        temperature: float,
    ) -> AsyncGenerator[LLMDelta | TokenUsage, None]:
        """The reply: its text as it is written, whole tool calls, and at its end what it took, if that is
        counted. Closing the generator stops the work where it happens."""


class TTSModel(Engine):
    """Text to speech."""

    @property
    def voices(self) -> tuple[str, ...]:
        """The voices that a request may choose, none if there is only the engine's own; known once it is
        loaded."""
        return ()

    @abstractmethod
    def synthesize(
        self,
        text: str,
        cancelled: threading.Event,
        *,
        voice: str | None = None,
        language: str | None = None,
    ) -> Iterator[Pcm]:
        """Speech in one or more audio segments; blocking. `voice` is one of `voices` and `language` one of
        `languages`, or None for the engine's own choice. Looks at `cancelled` as often as its library
        allows, and ends early once it is set."""


@dataclass(frozen=True)
class RegisteredModel:
    """An entry of the registry: the engine class under the name by which it is selected."""

    stage: Stage
    name: str
    engine: type[Engine]

    @property
    def spec(self) -> EngineSpec:
        """What the engine needs."""
        return self.engine.spec


def gpu_of(model: RegisteredModel, settings: Settings) -> str | None:
    """The GPU of the engine's container on Modal: the setting's, else its spec's."""
    gpu = settings.service(model.stage).gpu or model.spec.gpu
    return None if gpu == "none" else gpu


MODEL_REGISTRY: dict[Stage, dict[str, RegisteredModel]] = {Stage.ASR: {}, Stage.LLM: {}, Stage.TTS: {}}
"""Every engine that exists, by stage and name. `services.selection` fills it."""

_BASE_CLASSES = {Stage.ASR: ASRModel, Stage.LLM: LLMModel, Stage.TTS: TTSModel}

EngineClass = TypeVar("EngineClass", bound=type[Engine])


def register_model(stage: ModelStage, name: str, spec: EngineSpec) -> Callable[[EngineClass], EngineClass]:
    """Register an engine class under `name`, which selects it (`ASR_MODEL=name`).

    The entry is a subclass that holds the spec, so that one class can be registered under several names.
    Raises Misconfigured if the class is not one of that stage, or the name is taken by another class.
    """

    def register(engine: EngineClass) -> EngineClass:
        members = {"spec": spec, "__module__": engine.__module__, "__doc__": engine.__doc__}
        registered = cast(EngineClass, type(engine.__name__, (engine,), members))
        registered.__qualname__ = engine.__qualname__
        entry = RegisteredModel(Stage(stage), name, registered)
        base = _BASE_CLASSES[entry.stage]
        if not issubclass(engine, base):
            raise Misconfigured(f"{engine.__name__} is registered as {stage} but is no {base.__name__}.")
        taken = MODEL_REGISTRY[entry.stage].get(name)
        if taken and taken.engine.__qualname__ != engine.__qualname__:
            raise Misconfigured(f"The {stage} model name '{name}' is already taken by {taken.engine}.")
        MODEL_REGISTRY[entry.stage][name] = entry
        return registered

    return register
