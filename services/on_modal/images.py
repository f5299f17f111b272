"""The images of the Modal apps. Layers go from what changes rarely to what changes often: Python, system
packages, locked packages, settings, our own sources."""

import re
from collections.abc import Sequence

import modal

from services.on_modal.image_locks import BASE_LOCK, BASE_PYTHON, WEIGHTS_LOCK, lock_file
from shared.engines import RegisteredModel
from shared.errors import Misconfigured
from shared.settings import Settings

UV_VERSION = "0.13.9"

WEIGHTS_FOLDER = "/weights"
"""Where the Volume with the weights is mounted, and where Hugging Face libraries look for them."""

ENVIRONMENTS_FOLDER = "/engines"
"""Where the monolith's engines have environments of their own."""

_OFFLINE = {"HF_HUB_CACHE": WEIGHTS_FOLDER, "HF_HUB_OFFLINE": "1"}
"""Loading never downloads."""

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
    image = _with_engine(image, model)
    variables = _baked(settings) | {f"{model.stage.upper()}_MODEL": model.name}
    if spec.weights:
        variables |= _OFFLINE
    return image.env(variables).add_local_python_source("shared", "services")


def orchestrator_image(settings: Settings) -> modal.Image:
    """The image of the orchestrator's app; it holds no engine."""
    image = _with_lock(modal.Image.debian_slim(python_version=BASE_PYTHON), str(BASE_LOCK))
    return image.env(_baked(settings)).add_local_python_source("shared", "services", "orchestrator")


def monolith_image(models: Sequence[RegisteredModel], settings: Settings) -> modal.Image:
    """The image with the orchestrator and all these engines. Their pins collide, so each engine that has
    packages has an environment of its own, and its `interpreter_variable` says where.

    Raises Misconfigured for an engine on another Python than the image's.
    """
    image = modal.Image.debian_slim(python_version=BASE_PYTHON)
    if apt_packages := sorted({package for model in models for package in model.spec.apt_packages}):
        image = image.apt_install(*apt_packages)
    image = _with_lock(image, str(BASE_LOCK))
    variables = _baked(settings)
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


def weights_image(settings: Settings) -> modal.Image:
    """The image of the function that fetches weights."""
    image = _with_lock(modal.Image.debian_slim(python_version=BASE_PYTHON), str(WEIGHTS_LOCK))
    hub = {"HF_ENDPOINT": settings.hub_url} if settings.hub_url else {}
    variables = _baked(settings) | {"HF_HUB_CACHE": WEIGHTS_FOLDER} | hub
    return image.env(variables).add_local_python_source("shared", "services")


def _with_lock(image: modal.Image, lock: str, options: str = "") -> modal.Image:
    return image.uv_pip_install(requirements=[lock], uv_version=UV_VERSION, extra_options=options)


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


def _baked(settings: Settings) -> dict[str, str]:
    """The settings for the container; it logs its turns unless told not to."""
    logs = {} if "log_level" in settings.model_fields_set else {"S2S_LOG_LEVEL": "INFO"}
    return logs | settings.environ()


def _exact(model: RegisteredModel) -> tuple[str, ...]:
    for package in model.spec.packages:
        if not _EXACT.match(package):
            raise Misconfigured(
                f"{model.stage.upper()}_MODEL={model.name} asks for the package '{package}': pin it exactly "
                "(name==version), or run `make lock`.",
                model.stage,
            )
    return model.spec.packages
