"""Which model each stage uses: the settings' choice, or a default, in process or on Modal."""

import difflib
import importlib
import pkgutil
from typing import NamedTuple

import services.asr
import services.llm
import services.tts
from services.weights import are_fetched
from shared.engines import MODEL_REGISTRY, RegisteredModel
from shared.errors import Misconfigured, Stage
from shared.settings import Settings

PACKAGES = {Stage.ASR: services.asr, Stage.LLM: services.llm, Stage.TTS: services.tts}
"""Where the engines of each stage are."""

EMBEDDED = {
    Stage.ASR: ("whisper", "pocketsphinx"),
    Stage.LLM: ("rules",),
    Stage.TTS: ("hibari", "flite", "espeak"),
}
"""The defaults in process, which need no GPU, account or model hub: the first that can run here and has its
weights, else the last."""

ON_MODAL = {Stage.ASR: "nemo", Stage.LLM: "phi3", Stage.TTS: "chatterbox"}
"""The defaults of what is deployed, unless S2S_MODAL_DEFAULTS=embedded."""


class Selection(NamedTuple):
    """The model chosen for each stage, in the order of a turn."""

    asr: RegisteredModel
    llm: RegisteredModel
    tts: RegisteredModel


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


def select(settings: Settings, *, on_modal: bool = False, before_fetching: bool = False) -> Selection:
    """The models that the settings name, or defaults: EMBEDDED in process, ON_MODAL for what is deployed
    (`on_modal`). In a container the name is in its image. A default in process has its weights, unless they
    are yet to be fetched (`before_fetching`); deploying fetches them.

    Raises Misconfigured if no such model exists.
    """
    return Selection(
        *(
            select_model(stage, settings, on_modal=on_modal, before_fetching=before_fetching)
            for stage in PACKAGES
        )
    )


def select_model(
    stage: Stage, settings: Settings, *, on_modal: bool = False, before_fetching: bool = False
) -> RegisteredModel:
    """The model of one stage; see `select`. Modules of other stages are not imported."""
    discover(stage)
    named = {Stage.ASR: settings.asr_model, Stage.LLM: settings.llm_model, Stage.TTS: settings.tts_model}
    if on_modal and settings.modal_defaults == "gpu":
        return _model(stage, named[stage] or ON_MODAL[stage])
    return _model(stage, named[stage] or _embedded(stage, before_fetching=before_fetching or on_modal))


def monolith_gpu(selection: Selection, settings: Settings) -> str | None:
    """The monolith's one GPU for all: the setting's, else that of the first engine that asks for one."""
    gpu = settings.monolith.gpu or next((one.spec.gpu for one in selection if one.spec.gpu), None)
    return None if gpu == "none" else gpu


def check_runs_here(selection: Selection) -> None:
    """Raises Misconfigured if this machine lacks what a selected engine needs."""
    for model in selection:
        if lacking := model.engine.missing():
            raise Misconfigured(
                f"{model.stage.upper()}_MODEL={model.name} cannot run here. Missing: {lacking}", model.stage
            )


def _embedded(stage: Stage, *, before_fetching: bool) -> str:
    models, names = MODEL_REGISTRY[stage], EMBEDDED[stage]
    return next((name for name in names if _can_run(models[name], before_fetching)), names[-1])


def _can_run(model: RegisteredModel, before_fetching: bool) -> bool:
    if model.engine.missing() is not None:
        return False
    weights = model.engine.weights()
    return before_fetching or weights is None or are_fetched(weights)


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
