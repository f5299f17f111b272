"""What the local cloud has received and runs, as read-only views."""

from dataclasses import dataclass

from modal_proto import api_pb2 as pb

from local_cloud.files import mounted_paths
from local_cloud.image_layers import recipe_of
from local_cloud.state import App, Function, State


@dataclass(frozen=True)
class ImageView:
    """An image: its layers' commands, base first, and what they install and set."""

    layers: tuple[tuple[str, ...], ...]
    pip_installs: tuple[tuple[str, ...], ...]
    installs_elsewhere: frozenset[str]
    env: dict[str, str]

    @property
    def commands(self) -> tuple[str, ...]:
        """Those of all layers."""
        return tuple(command for layer in self.layers for command in layer)


@dataclass(frozen=True)
class FunctionView:
    """What one function (or the one behind a class) asks of Modal; None is what was left unset."""

    name: str
    module: str
    image: ImageView
    mounted: tuple[str, ...]
    gpu: str | None
    gpu_count: int
    cpu: float | None
    memory_mb: int | None
    secrets: tuple[str, ...]
    volumes: dict[str, str]
    regions: tuple[str, ...]
    routing_region: str | None
    max_inputs: int
    target_inputs: float
    min_containers: int
    max_containers: int | None
    buffer_containers: int
    scaledown_window_s: int | None
    timeout_s: int
    startup_timeout_s: int
    retries: int
    memory_snapshot: bool
    gpu_snapshot: bool
    experimental_options: dict[str, str]
    methods: tuple[str, ...]


@dataclass(frozen=True)
class ContainerView:
    """A container that runs now."""

    id: str
    app: str
    function: str
    pid: int | None
    ready: bool
    stopping: bool
    running_inputs: int
    connections: int


@dataclass(frozen=True)
class AppView:
    """An app that is deployed."""

    id: str
    name: str
    version: int
    functions: dict[str, FunctionView]

    def function(self, name: str) -> FunctionView:
        """Return what a function asks for."""
        return self.functions[name]

    def cls(self, name: str) -> FunctionView:
        """Return what a class asks for: it is one function on Modal, whatever its methods."""
        return self.functions[f"{name}.*"]


def app_view(state: State, app: App) -> AppView:
    """Return a deployed app as it is now."""
    functions = {tag: function_view(state, state.functions[one]) for tag, one in app.function_ids.items()}
    return AppView(app.id, app.name, app.version, functions)


def image_view(state: State, image_id: str) -> ImageView:
    """Return an image by its recorded layers."""
    layers = [layer.definition for layer in state.layers(image_id)]
    recipe = recipe_of(layers)
    commands = tuple(tuple(layer.dockerfile_commands) for layer in layers)
    elsewhere = frozenset(prefix for prefix, _ in recipe.installs_elsewhere)
    return ImageView(commands, recipe.pip_installs, elsewhere, dict(recipe.env))


def function_view(state: State, function: Function) -> FunctionView:
    """Return what a function asks for, as it was deployed."""
    asked = function.definition
    scaling, resources = asked.autoscaler_settings, asked.resources
    return FunctionView(
        name=asked.function_name,
        module=asked.module_name,
        image=image_view(state, asked.image_id),
        mounted=mounted_paths(state, function),
        gpu=resources.gpu_config.gpu_type or None,
        gpu_count=resources.gpu_config.count,
        cpu=resources.milli_cpu / 1000 or None,
        memory_mb=resources.memory_mb or None,
        secrets=tuple(state.secrets[one].name for one in asked.secret_ids),
        volumes={one.mount_path: state.volumes[one.volume_id].name for one in asked.volume_mounts},
        regions=tuple(asked.scheduler_placement.regions),
        routing_region=asked.routing_region or None,
        max_inputs=function.max_inputs,
        target_inputs=function.target_inputs,
        min_containers=scaling.min_containers,
        max_containers=scaling.max_containers or None,
        buffer_containers=scaling.buffer_containers,
        scaledown_window_s=scaling.scaledown_window or None,
        timeout_s=asked.timeout_secs,
        startup_timeout_s=asked.startup_timeout_secs,
        retries=asked.retry_policy.retries,
        memory_snapshot=asked.checkpointing_enabled,
        gpu_snapshot=_wants_gpu_snapshot(asked),
        experimental_options=dict(asked.experimental_options),
        methods=tuple(sorted(asked.method_definitions)),
    )


def _wants_gpu_snapshot(asked: pb.Function) -> bool:
    option = asked.experimental_options.get("enable_gpu_snapshot", "").lower() in {"1", "true"}
    return option or asked.enable_gpu_snapshot or asked._experimental_enable_gpu_snapshot
