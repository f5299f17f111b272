"""What the three services have in common on Modal: their options, their start, their health."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, aclosing
from functools import wraps
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, TypeVar, cast

import modal
import modal.experimental

from services.host.stage_host import StageHost, end_process
from services.on_modal.images import WEIGHTS_FOLDER, service_image
from services.on_modal.telemetry_variables import telemetry_secrets
from shared.deployment import APPS, COLD_WITHIN_S, Health
from shared.engines import RegisteredModel, capacity, gpu_of
from shared.errors import Misconfigured, SpeechError
from shared.logs import configure_logging
from shared.service_settings import ServiceSettings
from shared.settings import Settings, settings
from shared.stage_span import stage_span
from shared.stage_stream import StageStarted, StageStream
from shared.telemetry import telemetry

WEIGHTS_VOLUME = "speech-to-speech-weights"


def service_options(model: RegisteredModel, settings: Settings) -> dict[str, Any]:
    """What a service's class asks of Modal, for `@app.cls`: as its engine's spec and the settings say."""
    spec, service = model.spec, settings.service(model.stage)
    snapshot = snapshot_of(model, settings)
    return {
        "image": service_image(model, settings),
        "gpu": gpu_of(model, settings),
        "volumes": {WEIGHTS_FOLDER: weights_volume()} if spec.weights else {},
        "secrets": secrets_of(*spec.secrets),
        "timeout": settings.call_timeout_s,
        "startup_timeout": round(settings.stage_start_timeout_s),
        "enable_memory_snapshot": snapshot != "none",
        "experimental_options": {"enable_gpu_snapshot": True} if snapshot == "gpu" else None,
        **container_options(service, settings),
    }


def container_options(service: ServiceSettings, settings: Settings) -> dict[str, Any]:
    """What every app's containers ask of Modal, as the settings say: how large, how many, where."""
    return {
        "cpu": service.cpu,
        "memory": service.memory_mb,
        "min_containers": service.min_containers,
        "max_containers": service.max_containers,
        "buffer_containers": service.buffer_containers,
        "scaledown_window": service.scaledown_window_s,
        "region": settings.region,
        "routing_region": settings.routing_region,
        "include_source": False,  # the image says which sources there are
    }


def concurrency(model: RegisteredModel, settings: Settings) -> dict[str, int]:
    """How many calls a container takes, for `@modal.concurrent`: what its engine works on at once, and
    one more, so that asking for its health, or a call that could wait, needs no other container."""
    at_once = capacity(model.stage, model.spec, settings)
    return {"max_inputs": at_once + 1, "target_inputs": at_once}


def snapshot_of(model: RegisteredModel, settings: Settings) -> Literal["none", "cpu", "gpu"]:
    """The snapshot that a container starts from: the setting's, as far as the engine survives it.

    Raises Misconfigured for a GPU snapshot of an engine that does not.
    """
    spec, wanted = model.spec, settings.service(model.stage).snapshot
    if wanted == "gpu" and not spec.gpu_snapshot:
        raise Misconfigured(
            f"{model.name} cannot be restored from a GPU snapshot: set S2S_{model.stage.upper()}_SNAPSHOT to "
            "cpu or none.",
            model.stage,
        )
    if wanted == "none" or not spec.memory_snapshot:
        return "none"
    return "gpu" if wanted == "gpu" and gpu_of(model, settings) else "cpu"


def loads_before_snapshot(model: RegisteredModel, settings: Settings) -> bool:
    """Whether the engine is loaded before the snapshot is taken. A GPU is there only in a GPU snapshot: an
    engine that runs on a CPU too is loaded without it, and finds it when it is `restored`. Otherwise the
    snapshot saves the imports alone."""
    snapshot = snapshot_of(model, settings)
    needs_gpu = gpu_of(model, settings) is not None and not model.spec.runs_on_cpu
    return snapshot == "gpu" or (snapshot == "cpu" and not needs_gpu)


def secret_name(variable: str) -> str:
    """The name of the Secret that holds an environment variable: openai-api-key for OPENAI_API_KEY."""
    return variable.lower().replace("_", "-")


def secret_of(variable: str) -> modal.Secret:
    """The Secret that holds an environment variable; a container that gets it has the variable."""
    return modal.Secret.from_name(secret_name(variable), required_keys=[variable])


def secrets_of(*variables: str) -> list[modal.Secret]:
    """The Secrets of an app's containers: for these variables, and for telemetry's."""
    return [secret_of(variable) for variable in (*variables, *telemetry_secrets())]


def weights_volume() -> modal.Volume:
    """The Volume with all engines' weights: a Hugging Face cache."""
    return modal.Volume.from_name(WEIGHTS_VOLUME, create_if_missing=True)


class ModalService:
    """Base of a service's class: its life in a container. A subclass adds engine, host, `start` and verb."""

    registered: ClassVar[RegisteredModel]
    host_type: ClassVar[type[StageHost[Any]]]
    host: StageHost[Any]
    calls_ended = 0
    _exit = ExitStack()  # of this process, which has one container's life

    async def load_engine(self) -> None:
        """What a subclass does in its `start`, which the snapshot comes before or after."""
        configure_logging(settings())
        self.host = self.host_type(self.registered.engine(), settings(), on_stuck=end_process)
        await self.host.load()
        if loads_before_snapshot(self.registered, settings()):
            await asyncio.to_thread(self.host.engine.before_snapshot)

    @modal.enter(snap=False)
    async def resume(self) -> None:
        """A container that comes out of a snapshot is new, whenever its engine was loaded. An engine that is
        not in the snapshot is loaded after this: Modal runs the methods of a base class first."""
        self._exit.enter_context(telemetry(APPS[self.registered.stage]))  # its threads are in no snapshot
        if loads_before_snapshot(self.registered, settings()):
            await self.host.restored()

    @modal.exit()
    async def stop(self) -> None:
        """End the engine and its processes."""
        await self.host.close()
        self._exit.close()

    @modal.method()
    async def health(self) -> Health:
        """The health of this container; asking also starts one, where there is none."""
        self.calls_ended += 1
        on_gpu = gpu_of(self.registered, settings()) is not None
        health = await self.host.health(self.registered.name, on_gpu=on_gpu)
        return health.model_copy(update={"versions": {"modal": modal.__version__, **health.versions}})


Host = TypeVar("Host", bound=StageHost[Any])
Arguments = ParamSpec("Arguments")


def served(
    verb: Callable[Concatenate[Host, Arguments], StageStream],
) -> Callable[Concatenate[ModalService, Arguments], StageStream]:
    """The method of a service for a verb of its host: the stage stream starts with the call's id, and with
    whether the call was a cold start. A caller whose turn is traced adds its `traceparent`. A container whose
    engine has broken takes no more calls: Modal starts another one."""

    @wraps(verb)
    async def stream(self: ModalService, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> StageStream:
        cold = not self.calls_ended and self.host.uptime_s < COLD_WITHIN_S
        call = {"call_id": modal.current_function_call_id() or "", "cold": cold}
        traceparent = cast("str | None", kwargs.pop("traceparent", None))
        try:
            with stage_span(self.host.stage, "server", traceparent) as span:
                async with aclosing(verb(cast(Host, self.host), *args, **kwargs)) as items:
                    async for item in items:
                        given = item.model_copy(update=call) if isinstance(item, StageStarted) else item
                        span.observe(given)
                        yield given
        except SpeechError:
            if self.host.engine.is_broken():
                await modal.experimental.stop_fetching_inputs.aio()
            raise
        finally:
            self.calls_ended += 1

    return stream
