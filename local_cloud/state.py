"""The local cloud's state: apps, functions, calls, inputs, images and what they are made of.

Everything here is touched by one event loop only, so a change is complete once a function returns.
"""

import collections
import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from local_cloud.events import Signal
from local_cloud.logs import LogBook

if TYPE_CHECKING:
    from local_cloud.container import Container

T = TypeVar("T")
DEFAULT_MAX_CONTAINERS = 4  # of a function that sets none: this is one machine
DEFAULT_SCALEDOWN_WINDOW_S = 60
DEFAULT_TIMEOUT_S = 300
EXIT_GRACE_S = 30.0


@dataclass(eq=False)
class App:
    """One app, deployed under a name or run for as long as its client lives."""

    id: str
    name: str
    state: "pb.AppState.ValueType"
    created_at: float = field(default_factory=time.time)
    deployed_at: float = 0.0
    stopped_at: float = 0.0
    version: int = 0
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)
    history: list[pb.AppDeploymentHistory] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        """Whether it was stopped, or its client has ended."""
        return self.state == pb.APP_STATE_STOPPED


@dataclass(eq=False)
class Function:
    """One function, or the one function behind a class, or a class with its parameters bound."""

    id: str
    app: App
    definition: pb.Function = field(default_factory=pb.Function)
    handle: pb.FunctionHandleMetadata = field(default_factory=pb.FunctionHandleMetadata)
    variants: list[pb.Function] = field(default_factory=list)
    params: bytes = b""
    bound_to_version: int = 0  # of its app, for a class with its parameters bound
    queue: collections.deque["Input"] = field(default_factory=collections.deque)
    containers: dict[str, "Container"] = field(default_factory=dict)
    changed: Signal = field(default_factory=Signal)
    failed_starts: int = 0

    @property
    def name(self) -> str:
        """Its tag in the app; "Speaker.*" for a class."""
        return self.definition.function_name or self.handle.function_name

    @property
    def title(self) -> str:
        """The name as the program has it: of a class, without its methods."""
        return self.name.removesuffix(".*")

    @property
    def gpu(self) -> str:
        """What is asked for, as in `gpu="A10G:2"`; empty for none."""
        asked = self.definition.resources.gpu_config
        return f"{asked.gpu_type}:{asked.count}" if asked.count > 1 else asked.gpu_type

    @property
    def min_containers(self) -> int:
        """How many are kept without load."""
        return self.definition.autoscaler_settings.min_containers

    @property
    def buffer_containers(self) -> int:
        """How many idle ones are kept under load."""
        return self.definition.autoscaler_settings.buffer_containers

    @property
    def max_containers(self) -> int:
        """How many may run."""
        return self.definition.autoscaler_settings.max_containers or max(
            DEFAULT_MAX_CONTAINERS, self.min_containers
        )

    @property
    def scaledown_window_s(self) -> float:
        """How long an idle container is kept."""
        return self.definition.autoscaler_settings.scaledown_window or DEFAULT_SCALEDOWN_WINDOW_S

    @property
    def max_inputs(self) -> int:
        """Inputs that one container takes at once."""
        return self.definition.max_concurrent_inputs or 1

    @property
    def target_inputs(self) -> float:
        """Inputs per container, or connections, that the autoscaler aims at; a server may leave it open."""
        if self.definition.is_server:
            scaling = self.definition.autoscaler_settings
            return scaling.target_concurrency_float or self.definition.max_concurrent_inputs or math.inf
        return self.definition.target_concurrent_inputs or self.max_inputs

    @property
    def timeout_s(self) -> float:
        """How long one input may run."""
        return self.definition.timeout_secs or DEFAULT_TIMEOUT_S

    @property
    def startup_timeout_s(self) -> float:
        """How long a container may take to be ready."""
        return self.definition.startup_timeout_secs or self.timeout_s

    @property
    def exit_grace_s(self) -> float:
        """How long exit methods may take, after what a server's requests may."""
        return EXIT_GRACE_S + self.definition.http_config.exit_grace_period

    @property
    def current(self) -> bool:
        """Whether it belongs to its app's current version."""
        bound = self.bound_to_version and self.bound_to_version == self.app.version
        return bool(bound) or self.id in self.app.function_ids.values()

    @property
    def live_containers(self) -> list["Container"]:
        """Those that may still be given inputs."""
        return [container for container in self.containers.values() if not container.stopping]


@dataclass(eq=False)
class Input:
    """One input of a call, and its progress."""

    id: str
    call: "Call"
    index: int
    payload: pb.FunctionInput
    created_at: float = field(default_factory=time.monotonic)
    attempt: int = 0
    crashes: int = 0
    cancelled: bool = False
    container: "Container | None" = None
    started_at: float = 0.0

    @property
    def title(self) -> str:
        """What it calls, and its number."""
        method = self.payload.method_name
        name = f"{self.call.function.title}.{method}" if method else self.call.function.title
        return f"{name} #{number_of(self.id)}"


@dataclass(eq=False)
class Call:
    """One function call: its inputs, their outputs, and what its generator has yielded."""

    id: str
    function: Function
    invocation_type: "pb.FunctionCallInvocationType.ValueType"
    logs: LogBook
    inputs: dict[str, Input] = field(default_factory=dict)
    outputs: dict[str, pb.FunctionGetOutputsItem] = field(default_factory=dict)
    items: dict[int, pb.DataChunk] = field(default_factory=dict)
    changed: Signal = field(default_factory=Signal)
    finished_at: float | None = None

    @property
    def done(self) -> bool:
        """Whether every input has its output."""
        return bool(self.inputs) and len(self.outputs) == len(self.inputs)


@dataclass(eq=False)
class Image:
    """One image layer as it was defined; its base layers lie below it."""

    id: str
    definition: pb.Image
    builder_version: str


@dataclass(eq=False)
class Mount:
    """Files that are laid over an image."""

    id: str
    files: list[pb.MountFile]


@dataclass(eq=False)
class Secret:
    """Environment variables, published under a name or part of one deployment."""

    id: str
    name: str  # empty for one of a single deployment
    env: dict[str, str]
    created_at: float = field(default_factory=time.time)


@dataclass(eq=False)
class Volume:
    """A folder that outlives containers."""

    id: str
    name: str  # empty for one without a name of its own
    folder: Path
    created_at: float = field(default_factory=time.time)


class State:
    """All of it, by id, with the look-ups that fail as Modal's do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.apps: dict[str, App] = {}
        self.functions: dict[str, Function] = {}
        self.calls: dict[str, Call] = {}
        self.inputs: dict[str, Input] = {}
        self.containers: dict[str, Container] = {}
        self.images: dict[str, Image] = {}
        self.mounts: dict[str, Mount] = {}
        self.secrets: dict[str, Secret] = {}
        self.volumes: dict[str, Volume] = {}
        self.logs = LogBook()
        self._numbers = itertools.count(1)

    def new_id(self, prefix: str) -> str:
        """Return an id in the shape that the CLI distinguishes from a name."""
        return f"{prefix}-{next(self._numbers):022d}"

    def deployed(self, name: str) -> App | None:
        """Return the app that is deployed under this name, if one is."""
        deployed = (app for app in self.apps.values() if app.state == pb.APP_STATE_DEPLOYED)
        return next((app for app in deployed if app.name == name), None)

    def layers(self, image_id: str) -> list[Image]:
        """Return the image's layers, base first."""
        image = found(self.images, image_id, "Image")
        bases = [layer for base in image.definition.base_images for layer in self.layers(base.image_id)]
        return [*bases, image]

    def forget_finished_calls(self, older_than_s: float) -> list[str]:
        """Drop calls that ended long ago; return the ids of the blobs that they alone used."""
        deadline = time.monotonic() - older_than_s
        old = [call for call in self.calls.values() if call.finished_at and call.finished_at < deadline]
        for call in old:
            del self.calls[call.id]
            for input_id in call.inputs:
                del self.inputs[input_id]
        return [blob_id for call in old for blob_id in _blobs_of(call)]


def found(table: dict[str, T], key: str, kind: str) -> T:
    """Return what is kept under an id, or answer NOT_FOUND by its kind."""
    if key not in table:
        raise not_found(f"{kind} '{key}' not found")
    return table[key]


def not_found(message: str) -> GRPCError:
    """The error that the client shows as `modal.exception.NotFoundError`."""
    return GRPCError(Status.NOT_FOUND, message)


def number_of(object_id: str) -> int:
    """Return the number in an id: unique within its kind, and short."""
    return int(object_id.rpartition("-")[2])


def first(values: Iterable[T], matching: Callable[[T], bool]) -> T | None:
    """Return the first value that matches, if one does."""
    return next((value for value in values if matching(value)), None)


def _blobs_of(call: Call) -> list[str]:
    ids = [item.payload.args_blob_id for item in call.inputs.values()]
    ids += [output.result.data_blob_id for output in call.outputs.values()]
    ids += [chunk.data_blob_id for chunk in call.items.values()]
    return [blob_id for blob_id in ids if blob_id]
