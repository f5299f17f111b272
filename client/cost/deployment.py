"""The containers of each app, as the selection and the settings have them deployed."""

from collections.abc import Sequence
from dataclasses import dataclass

from client.cost.containers import Scaling
from client.cost.prices import Prices
from client.targets import FOUR_APPS, SERVICES, App
from services.selection import Selection, monolith_gpu, select
from shared.deployment import GATEWAY_SESSIONS, MONOLITH_TURNS
from shared.engines import RegisteredModel, capacity, gpu_of
from shared.errors import Stage
from shared.service_settings import ServiceSettings
from shared.settings import Settings

DEFAULT_MEMORY_MB = 128
"""What Modal reserves where nothing is asked for (modal.com/docs/guide/resources)."""


@dataclass(frozen=True)
class PricedApp:
    """One app: what its containers have, what a second of one costs, and how Modal scales them."""

    app: App
    models: tuple[RegisteredModel, ...]
    gpu: str | None
    cpu: float
    memory_gib: float
    container_s: float
    """Dollars."""
    scaling: Scaling


@dataclass(frozen=True)
class Deployment:
    """One way to deploy the selection."""

    name: str
    apps: tuple[PricedApp, ...]

    @property
    def models(self) -> tuple[RegisteredModel, ...]:
        """Of all apps."""
        return tuple(model for app in self.apps for model in app.models)


def priced_deployments(settings: Settings, prices: Prices) -> tuple[Deployment, Deployment]:
    """What would be deployed now: the four apps, or the monolith.

    Raises Misconfigured for a model that does not exist, UnknownGpu for a GPU without a price.
    """
    return (
        _deployment("four apps", FOUR_APPS, settings, prices),
        _deployment("monolith", [App.MONOLITH], settings, prices),
    )


def priced_gateway(settings: Settings, prices: Prices) -> Deployment:
    """The gateway and what it is before: the three services, whose turns it runs itself, or the monolith.

    Raises what `priced_deployments` does.
    """
    behind = [App.MONOLITH] if settings.gateway_target == "monolith" else SERVICES
    return _deployment("gateway", [*behind, App.GATEWAY], settings, prices)


def _deployment(name: str, apps: Sequence[App], settings: Settings, prices: Prices) -> Deployment:
    selection = select(settings, on_modal=True)
    return Deployment(name, tuple(_priced(app, selection, settings, prices) for app in apps))


def _priced(app: App, selection: Selection, settings: Settings, prices: Prices) -> PricedApp:
    service: ServiceSettings = getattr(settings, app.value)
    models = tuple(model for model in selection if model.stage in app.engine_stages)
    if app is App.MONOLITH:
        gpu, at_once = monolith_gpu(selection, settings), service.concurrent_inputs or MONOLITH_TURNS
    elif app in SERVICES:
        gpu, at_once = gpu_of(models[0], settings), capacity(Stage(app.value), models[0].spec, settings)
    elif app is App.GATEWAY:
        gpu, at_once = None, service.concurrent_inputs or GATEWAY_SESSIONS
    else:
        gpu, at_once = None, settings.max_active_turns
    memory_gib = (service.memory_mb or DEFAULT_MEMORY_MB) / 1024
    return PricedApp(
        app,
        models,
        gpu,
        service.cpu,
        memory_gib,
        prices.container_s(gpu=gpu, cpu=service.cpu, memory_gib=memory_gib, region=settings.region),
        Scaling(
            calls_at_once=at_once,
            window_s=service.scaledown_window_s,
            min_containers=service.min_containers,
            max_containers=service.max_containers,
            buffer_containers=service.buffer_containers,
        ),
    )
