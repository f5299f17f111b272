"""The images of the Modal apps. Layers go from what changes rarely to what changes often: Python, system
packages, locked packages, settings, our own sources."""

import re
from collections.abc import Sequence

import modal

from services.on_modal.image_locks import (
    BASE_LOCK,
    BASE_PYTHON,
    GATEWAY_LOCK,
    TELEMETRY_LOCK,
    WEIGHTS_LOCK,
    lock_file,
)
from services.on_modal.telemetry_variables import telemetry_variables
from services.weights import weights_folder
from services.weights.pinned import SILERO_VAD, SMART_TURN
from shared.engines import RegisteredModel
from shared.errors import Misconfigured, Stage
from shared.gateway_settings import GatewaySettings
from shared.settings import Settings

UV_VERSION = "0.13.9"

WEIGHTS_FOLDER = "/weights"
"""Where the Volume with the weights is mounted, and where Hugging Face libraries look for them."""

PACKAGES_IN_IMAGE = "/root/.cache/speech-to-speech/weights"
"""Where weights from packages are looked for in a container without that Volume."""

LISTENING = (SILERO_VAD, SMART_TURN)
"""The weights in the gateway's image: 10 MB."""

ENVIRONMENTS_FOLDER = "/engines"
"""Where the monolith's engines have environments of their own."""

_OFFLINE = {"HF_HUB_CACHE": WEIGHTS_FOLDER, "HF_HUB_OFFLINE": "1"}
"""Loading never downloads."""

_NO_CONTAINERS = (
    r"S2S_(MODAL_DEFAULTS|HUB_URL|REGION|ROUTING_REGION|CALL_TIMEOUT_S"
    r"|[A-Z]+_(CPU|MEMORY_MB|(MIN|MAX|BUFFER)_CONTAINERS|SCALEDOWN_WINDOW_S)"
    r"|SPEAKER_LATENCY_S|MAX_FILE_BYTES)"
)
"""The variables of settings that are read only where one deploys, or by a client."""

_BY_READER = {
    Stage.ASR: r"ASR_MODEL|S2S_(ASR|WHISPER)_\w+",
    Stage.LLM: r"LLM_MODEL|S2S_(LLM|OPENAI|VLLM)_\w+",
    Stage.TTS: r"TTS_MODEL|S2S_(TTS|CHATTERBOX)_\w+",
    Stage.ORCHESTRATOR: r"S2S_(ORCHESTRATOR_\w+|(ASR|LLM|TTS)_TIMEOUT_S)",
    "monolith": r"S2S_MONOLITH_\w+",
    "gateway": r"S2S_(GATEWAY_\w+|PRE_ROLL_S|MIN_SPEECH_S|SPECULATION_AFTER_S|TURN_DETECTION"
    r"|(MIN_|MAX_)?END_OF_TURN_SILENCE_S|MAX_UTTERANCE_S|BARGE_IN_AFTER_S|INTERRUPTING_WORDS|"
    + "|".join(GatewaySettings.model_fields).upper()
    + ")",
}
"""The variables of settings that not every container reads, by who does."""

_CREDENTIALS = re.compile(r"://[^/\s]*@")

_EXACT = re.compile(r"^[\w.\-\[\],]+(==[\w.+!]+| ?@ ?\S+)$")


def service_image(model: RegisteredModel, settings: Settings) -> modal.Image:
    """The image of a stage's app: what the engine's spec asks for, as its lock file pins it.

    An engine without a lock file is installed on top of what every service needs, and must name its
    packages exactly. Raises Misconfigured if it does not.
    """
    spec = model.spec
    image = modal.Image.debian_slim(python_version=spec.python_version)
    if spec.apt_packages:
        image = image.apt_install(*spec.apt_packages)
    image = _with_telemetry(_with_engine(image, model))
    variables = _baked(settings, model.stage) | {f"{model.stage.upper()}_MODEL": model.name}
    if spec.weights:
        variables |= _OFFLINE
    return image.env(variables).add_local_python_source("shared", "services")


def orchestrator_image(settings: Settings) -> modal.Image:
    """The image of the orchestrator's app; it holds no engine."""
    image = modal.Image.debian_slim(python_version=BASE_PYTHON).apt_install("ffmpeg")  # for `process_audio`
    image = _with_telemetry(_with_lock(image, str(BASE_LOCK)))
    return image.env(_baked(settings, Stage.ORCHESTRATOR)).add_local_python_source(
        "shared", "services", "orchestrator"
    )


def monolith_image(models: Sequence[RegisteredModel], settings: Settings) -> modal.Image:
    """The image with the orchestrator and all these engines. Their pins collide, so each engine that has
    packages has an environment of its own, and its `interpreter_variable` says where.

    Raises Misconfigured for an engine on another Python than the image's.
    """
    apt_packages = sorted({"ffmpeg", *(package for model in models for package in model.spec.apt_packages)})
    image = modal.Image.debian_slim(python_version=BASE_PYTHON).apt_install(*apt_packages)
    image = _with_telemetry(_with_lock(image, str(BASE_LOCK)))
    variables = _baked(settings, *Stage, "monolith")
    for model in models:
        variables[f"{model.stage.upper()}_MODEL"] = model.name
        if model.spec.packages:
            folder = f"{ENVIRONMENTS_FOLDER}/{model.stage}-{model.name}"
            image = _with_environment(image, model, folder)
            variables[interpreter_variable(model)] = f"{folder}/bin/python"
        if model.spec.weights:
            variables |= _OFFLINE
    return image.env(variables).add_local_python_source("shared", "services", "orchestrator")


def interpreter_variable(model: RegisteredModel) -> str:
    """The environment variable that tells where an engine's own interpreter is: ASR_PYTHON."""
    return f"{model.stage.upper()}_PYTHON"


def gateway_image(models: Sequence[RegisteredModel], settings: Settings) -> modal.Image:
    """The image of the gateway's app, which names these models; it holds none of their engines, but the small
    models that listen, as this machine has them.

    Raises WeightsMissing if they have not been fetched here.
    """
    image = modal.Image.debian_slim(python_version=BASE_PYTHON).apt_install("ffmpeg")  # for uploads
    image = _with_telemetry(_with_lock(image, str(GATEWAY_LOCK)))
    names = {f"{model.stage.upper()}_MODEL": model.name for model in models}
    image = image.env(_baked(settings, *Stage, "gateway") | names)
    for weights in LISTENING if modal.is_local() else ():
        folder = weights_folder(weights)
        image = image.add_local_dir(folder, f"{PACKAGES_IN_IMAGE}/{folder.name}")
    image = image.add_local_python_source("shared", "services", "orchestrator", "conversation")
    return image.add_local_python_source("gateway", ignore=())  # with the page, which is no Python


def weights_image(settings: Settings) -> modal.Image:
    """The image of the function that fetches weights."""
    image = _with_lock(modal.Image.debian_slim(python_version=BASE_PYTHON), str(WEIGHTS_LOCK))
    variables = _baked(settings) | {"HF_HUB_CACHE": WEIGHTS_FOLDER}
    if settings.hub_url:
        _refuse_credentials("S2S_HUB_URL", settings.hub_url)
        variables["HF_ENDPOINT"] = settings.hub_url
    return image.env(variables).add_local_python_source("shared", "services")


def _with_lock(image: modal.Image, lock: str, options: str = "") -> modal.Image:
    return image.uv_pip_install(requirements=[lock], uv_version=UV_VERSION, extra_options=options)


def _with_telemetry(image: modal.Image) -> modal.Image:
    """The image, with telemetry where the variables of where one deploys ask for it, and with these."""
    if not (variables := telemetry_variables()):
        return image
    for name, value in variables.items():
        _refuse_credentials(name, value)
    return _with_lock(image, str(TELEMETRY_LOCK)).env(variables)


def _with_engine(image: modal.Image, model: RegisteredModel, options: str = "") -> modal.Image:
    """An engine without a lock file is installed on top of what every service needs."""
    lock = lock_file(model)
    if lock.exists() or not modal.is_local():  # in the container the image is done, and locks are not there
        return _with_lock(image, str(lock), options)
    image = _with_lock(image, str(BASE_LOCK), options)
    return image.uv_pip_install(*_exact(model), uv_version=UV_VERSION, extra_options=options)


def _with_environment(image: modal.Image, model: RegisteredModel, folder: str) -> modal.Image:
    if model.spec.python_version != BASE_PYTHON:
        raise Misconfigured(
            f"{model.stage.upper()}_MODEL={model.name} needs Python {model.spec.python_version} and the "
            f"monolith has {BASE_PYTHON}. Deploy it as a service: make deploy-all",
            model.stage,
        )
    image = image.run_commands(f"python -m venv --without-pip {folder}")
    return _with_engine(image, model, f"--prefix {folder}")


def _baked(settings: Settings, *readers: Stage | str) -> dict[str, str]:
    """The settings that an app's containers read, so that changing another leaves its image as it is. A
    container logs its turns unless a setting says otherwise.

    Raises Misconfigured if one of them holds credentials.
    """
    own, others = (
        re.compile("|".join([names for reader, names in _BY_READER.items() if (reader in readers) is wanted]))
        for wanted in (True, False)
    )
    logs = {} if "log_level" in settings.model_fields_set else {"S2S_LOG_LEVEL": "INFO"}
    variables = {
        name: value
        for name, value in settings.environ().items()
        if not re.fullmatch(_NO_CONTAINERS, name) and (own.fullmatch(name) or not others.fullmatch(name))
    }
    for name, value in variables.items():
        _refuse_credentials(name, value)
    return logs | variables


def _refuse_credentials(variable: str, value: str) -> None:
    if _CREDENTIALS.search(value):
        raise Misconfigured(
            f"{variable} contains credentials, and an image keeps its variables in clear text: take them out "
            "of the URL. A key belongs in a Secret of Modal."
        )


def _exact(model: RegisteredModel) -> tuple[str, ...]:
    for package in model.spec.packages:
        if not _EXACT.match(package):
            raise Misconfigured(
                f"{model.stage.upper()}_MODEL={model.name} asks for the package '{package}': pin it exactly "
                "(name==version), or run `make lock`.",
                model.stage,
            )
    return model.spec.packages
