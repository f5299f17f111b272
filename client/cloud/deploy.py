"""`s2s deploy`: deploy apps to Modal, once everything that can be checked first has been."""

from collections.abc import Mapping, Sequence

import modal
from rich.console import Console
from rich.text import Text

from client.cloud.modal_connection import is_deployed, run_modal_command, run_on_modal
from client.targets import App
from services.on_modal.images import gateway_image, monolith_image, weights_image
from services.on_modal.service import secret_name, service_options
from services.on_modal.telemetry_variables import telemetry_secrets
from services.selection import select, select_model
from shared.engines import RegisteredModel, gpu_of
from shared.errors import Misconfigured, Stage, StageFailed
from shared.settings import settings

MODULES: Mapping[str, str] = {
    App.ASR: "services.asr_app",
    App.LLM: "services.llm_app",
    App.TTS: "services.tts_app",
    App.ORCHESTRATOR: "orchestrator.app",
    App.MONOLITH: "orchestrator.monolith_app",
    App.GATEWAY: "gateway.app",
}
Models = Mapping[App, Sequence[RegisteredModel]]
"""The selected models of the engines that each app holds."""


def deploy_command(apps: Sequence[App]) -> None:
    """Run the command; see `s2s deploy --help`."""
    models = {
        app: [select_model(stage, settings(), on_modal=True) for stage in app.engine_stages] for app in apps
    }
    earlier = run_on_modal(lambda: _checked(models))
    _Deployment(models, earlier).run(Console(stderr=True))


def fetch_weights_command() -> None:
    """Fetch the selected models' weights into the Volume; see `s2s fetch-weights --help`."""
    selected = [one for one in select(settings(), on_modal=True) if one.engine.weights()]
    if not selected:
        Console().print("None of the selected models has weights to fetch.")
        return
    run_on_modal(lambda: _check_secrets(selected))
    _fetch_weights(selected)


def _fetch_weights(models: Sequence[RegisteredModel]) -> None:
    """Fetch the models' weights into the Volume.

    Raises StageFailed if Modal's command, which prints the reason, fails.
    """
    weights_image(settings())  # raises here what Modal's command would print with a traceback
    stages = sorted({model.stage for model in models})
    if not run_modal_command("run", "-m", "services.weights_app", "--stages", ",".join(stages)):
        raise StageFailed("The weights could not be fetched; the reason is above.")


class _Deployment:
    """The apps to deploy, one after another. `earlier`: those of which an earlier version is deployed."""

    def __init__(self, models: Models, earlier: Sequence[App]) -> None:
        self._models = models
        self._earlier = earlier
        self._deployed: list[App] = []
        self._begun: list[App] = []

    def run(self, terminal: Console) -> None:
        """Fetch weights and deploy. The error that ends it early says what is deployed."""
        try:
            if with_weights := [one for app in self._models.values() for one in app if one.engine.weights()]:
                terminal.print(Text("Fetching weights", "bold cyan"))
                _fetch_weights(with_weights)
            for app, models in self._models.items():
                terminal.print(Text(_heading(app, models), "bold cyan"))
                self._begun.append(app)
                if not run_modal_command("deploy", "-m", MODULES[app]):
                    raise StageFailed(f"Deploying {app} failed; the reason is above.")
                self._deployed.append(app)
        except StageFailed as error:
            raise StageFailed(f"{error.message} {self._state()}") from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._state(in_doubt=self._begun[len(self._deployed) :])) from None

    def _state(self, in_doubt: Sequence[App] = ()) -> str:
        left = [app for app in self._models if app not in (*self._deployed, *in_doubt)]
        states = {
            "Deployed": self._deployed,
            "In doubt": in_doubt,
            "Still the earlier version": [app for app in left if app in self._earlier],
            "Not deployed": [app for app in left if app not in self._earlier],
        }
        return " ".join(f"{state}: {', '.join(apps)}." for state, apps in states.items() if apps)


async def _checked(models: Models) -> list[App]:
    """Check images and secrets; returns the apps that are deployed already."""
    for variable in telemetry_secrets():
        await _check_secret(variable, variable)
    for app, engines in models.items():
        _check_image(app, engines)
        await _check_secrets(engines)
        if app is App.GATEWAY and not settings().gateway_proxy_token:
            await _check_secret(app.modal_name, "S2S_API_KEYS")
    return [app for app in models if await is_deployed(app)]


async def _check_secrets(models: Sequence[RegisteredModel]) -> None:
    """Raises Misconfigured if Modal lacks a Secret that a model needs, for itself or to fetch its weights."""
    for model in models:
        weights = model.engine.weights()
        token = (weights.token,) if weights and weights.token else ()
        for variable in (*model.spec.secrets, *token):
            await _check_secret(f"{model.stage.upper()}_MODEL={model.name}", variable, model.stage)


def _check_image(app: App, models: Sequence[RegisteredModel]) -> None:
    if app is App.MONOLITH:
        monolith_image(models, settings())
    elif app is App.GATEWAY:
        gateway_image(select(settings(), on_modal=True), settings())
    else:
        for model in models:
            service_options(model, settings())


async def _check_secret(who: str, variable: str, stage: Stage = Stage.ORCHESTRATOR) -> None:
    name = secret_name(variable)
    try:
        await modal.Secret.from_name(name, required_keys=[variable]).hydrate.aio()
    except modal.exception.NotFoundError:
        raise Misconfigured(
            f"{who} needs the Secret '{name}' on Modal. Run: modal secret create {name} {variable}=...", stage
        ) from None


def _heading(app: App, models: Sequence[RegisteredModel]) -> str:
    parts = [f"{model.name} ({model.engine().model_name})" for model in models]
    if len(models) == 1:
        parts.append(gpu_of(models[0], settings()) or "no GPU")
    return f"Deploying {app.modal_name}" + (f": {', '.join(parts)}" if parts else "")
