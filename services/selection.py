"""Which engine stands behind each stage: the settings' choice, or the embedded defaults."""

import difflib
import importlib
import pkgutil
from dataclasses import dataclass

import services.asr
import services.llm
import services.tts
from shared.engines import MODEL_REGISTRY, RegisteredModel
from shared.errors import Misconfigured, Stage
from shared.settings import Settings

PACKAGES = {Stage.ASR: services.asr, Stage.LLM: services.llm, Stage.TTS: services.tts}
"""Where the engines of each stage are."""

DEFAULT_ASR = "pocketsphinx"
DEFAULT_LLM = "rules"
DEFAULT_TTS = ("flite", "espeak")
"""The first that can run here, else the last."""


@dataclass(frozen=True)
class Selection:
    """The model chosen for each stage."""

    asr: RegisteredModel
    llm: RegisteredModel
    tts: RegisteredModel

    @property
    def models(self) -> tuple[RegisteredModel, RegisteredModel, RegisteredModel]:
        """All three, in the order of a turn."""
        return self.asr, self.llm, self.tts


def discover(*stages: Stage) -> None:
    """Import every module of services/asr, llm and tts, or of these stages alone, so that MODEL_REGISTRY
    holds their engines.

    Raises Misconfigured, naming the module, if one of them cannot be imported.
    """
    for stage in stages or PACKAGES:
        package = PACKAGES[stage]
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            try:
                importlib.import_module(module.name)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise Misconfigured(f"The module {module.name} cannot be imported: {reason}") from error


def select(settings: Settings) -> Selection:
    """The models that the settings name; where they name none, engines that run without GPU, account or
    model hub: pocketsphinx, rules, and flite where it can run here, else espeak.

    Raises Misconfigured if no such model exists.
    """
    return Selection(
        asr=select_model(Stage.ASR, settings),
        llm=select_model(Stage.LLM, settings),
        tts=select_model(Stage.TTS, settings),
    )


def select_model(stage: Stage, settings: Settings) -> RegisteredModel:
    """The model of one stage; see `select`. Modules of other stages are not imported."""
    discover(stage)
    match stage:
        case Stage.ASR:
            name = settings.asr_model or DEFAULT_ASR
        case Stage.LLM:
            name = settings.llm_model or DEFAULT_LLM
        case _:
            name = settings.tts_model or _default_tts()
    return _model(stage, name)


def check_runs_here(selection: Selection) -> None:
    """Raises Misconfigured if this machine lacks what a selected engine needs."""
    for model in selection.models:
        if lacking := model.engine.missing():
            raise Misconfigured(
                f"{model.stage.upper()}_MODEL={model.name} cannot run here. Missing: {lacking}", model.stage
            )


def _default_tts() -> str:
    models = MODEL_REGISTRY[Stage.TTS]
    return next((name for name in DEFAULT_TTS if models[name].engine.missing() is None), DEFAULT_TTS[-1])


def _model(stage: Stage, name: str) -> RegisteredModel:
    models = MODEL_REGISTRY[stage]
    if name not in models:
        variable = f"{stage.upper()}_MODEL={name}"
        existing = ", ".join(sorted(models))
        hint = _hint(stage, name)
        raise Misconfigured(f"{variable}: no such model.{hint} There are: {existing}.", stage)
    return models[name]


def _hint(stage: Stage, name: str) -> str:
    discover()
    for other, models in MODEL_REGISTRY.items():
        if other is not stage and name in models:
            return f" It is a model of another stage: {other.upper()}_MODEL={name}."
    close = difflib.get_close_matches(name.lower(), MODEL_REGISTRY[stage], n=1)
    return f" Do you mean {close[0]}?" if close else ""
