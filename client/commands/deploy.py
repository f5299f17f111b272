"""`s2s deploy`: the apps onto Modal, once everything that could be wrong has been looked at."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence

import typer
from rich.console import Console
from rich.text import Text

from client.cloud.modal_connection import connected, modal_library
from client.commands.fetch_weights import PROJECT, fetch_on_modal
from client.errors import reported_errors
from services.selection import Selection, select, select_model
from shared.deployment import APPS, CLASSES, MONOLITH_APP
from shared.engines import RegisteredModel
from shared.errors import Misconfigured, Stage
from shared.settings import Settings, settings

MODULES = {
    Stage.ASR: "services.asr_app",
    Stage.LLM: "services.llm_app",
    Stage.TTS: "services.tts_app",
    Stage.ORCHESTRATOR: "orchestrator.app",
}
MONOLITH_MODULE = "orchestrator.monolith_app"


def deploy_command(stages: Sequence[Stage]) -> None:
    """Run the command; see `s2s deploy --help`."""
    with reported_errors(as_json=False):
        models = {
            stage: select_model(stage, settings(), on_modal=True) for stage in stages if stage in CLASSES
        }
        terminal = Console(stderr=True)
        _prepare(list(models.values()), lambda: _check_images(models.values()), terminal)
        for stage in stages:
            terminal.print(Text(_deploying(stage, models.get(stage), settings()), "bold cyan"))
            _deploy(MODULES[stage])


def deploy_monolith_command() -> None:
    """Run the command for the app that is all of it."""
    with reported_errors(as_json=False):
        selection = select(settings(), on_modal=True)
        terminal = Console(stderr=True)
        _prepare(selection.models, lambda: _check_monolith_image(selection), terminal)
        names = ", ".join(model.name for model in selection.models)
        terminal.print(Text(f"Deploying {MONOLITH_APP}: {names}", "bold cyan"))
        _deploy(MONOLITH_MODULE)


def _prepare(models: Sequence[RegisteredModel], check_images: Callable[[], None], terminal: Console) -> None:
    """Find out what could be wrong, and fetch the weights."""
    asyncio.run(_check(models, check_images))
    if with_weights := [model.stage for model in models if model.engine.weights()]:
        terminal.print(Text("Fetching weights", "bold cyan"))
        fetch_on_modal(with_weights)


async def _check(models: Sequence[RegisteredModel], check_images: Callable[[], None]) -> None:
    await connected()
    check_images()
    for model in models:
        weights = model.engine.weights()
        token = (weights.token,) if weights and weights.token else ()
        for variable in (*model.spec.secrets, *token):
            await _check_secret(model, variable)


def _check_images(models: Iterable[RegisteredModel]) -> None:
    from services.on_modal.service import service_options

    for model in models:
        service_options(model, settings())


def _check_monolith_image(selection: Selection) -> None:
    from services.on_modal.images import monolith_image

    monolith_image(selection.models, settings())


async def _check_secret(model: RegisteredModel, variable: str) -> None:
    modal = modal_library()
    from services.on_modal.service import secret_name

    name = secret_name(variable)
    try:
        await modal.Secret.from_name(name, required_keys=[variable]).hydrate.aio()
    except modal.exception.NotFoundError:
        raise Misconfigured(
            f"{model.stage.upper()}_MODEL={model.name} needs the Secret '{name}' on Modal. "
            f"Run: modal secret create {name} {variable}=...",
            model.stage,
        ) from None


def _deploying(stage: Stage, model: RegisteredModel | None, settings: Settings) -> str:
    if model is None:
        return f"Deploying {APPS[stage]}"
    from services.on_modal.service import gpu_of

    device = gpu_of(model, settings) or "no GPU"
    return f"Deploying {APPS[stage]}: {model.name} ({model.engine().model_name}), {device}"


def _deploy(module: str) -> None:
    """By Modal's own command, which shows what it does. It runs in the project, so that the modules are
    found; so the settings of this process go with it."""
    done = subprocess.run(
        [sys.executable, "-m", "modal", "deploy", "-m", module],
        cwd=PROJECT,
        env=os.environ | settings().environ(),
        check=False,
    )
    if done.returncode:
        raise typer.Exit(done.returncode)
