"""The local cloud in a thread of its own: started, observed, and disturbed by its troubles."""

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from grpclib import GRPCError, Status

from local_cloud.container import Container
from local_cloud.environments import Machine
from local_cloud.events import Event
from local_cloud.server import Server
from local_cloud.state import found, not_found
from local_cloud.troubles import Scope, lasting
from local_cloud.views import AppView, ContainerView, app_view

T = TypeVar("T")
DEFAULT_CACHE = Path(__file__).parents[1] / ".local-cloud" / "environments"


class ControlPlane:
    """Runs from entering `with` to leaving it; its state is read and changed in its own thread only."""

    def __init__(
        self, folder: Path | None = None, cache: Path = DEFAULT_CACHE, machine: Machine | None = None
    ) -> None:
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="modal-control-plane-")
        self._folder = folder or Path(self._temporary.name if self._temporary else "")
        self._cache = cache
        self._machine = machine or Machine()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="control plane", daemon=True)
        self._server: Server

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._ask(self._started())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask(self._server.stop())
        self._ask(_settle())
        self._ask(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def environ(self) -> dict[str, str]:
        """The variables that point the modal client, and nothing but it, to this server, and the setting by
        which only engines that can run here are deployed unless others are named."""
        return {
            "MODAL_SERVER_URL": f"http://127.0.0.1:{self._server.front.port}",
            "MODAL_TOKEN_ID": self._server.identity,
            "MODAL_TOKEN_SECRET": "as-local",
            "MODAL_CONFIG_PATH": os.devnull,
            "MODAL_PROFILE": "",
            "MODAL_ENVIRONMENT": "main",
            "MODAL_DISABLE_API_PROXY": "1",
            "S2S_MODAL_DEFAULTS": "embedded",
        }

    def watch(self, on_event: Callable[[Event], None]) -> None:
        """Observe every event, each line of a container among them; called in the server's thread."""
        self._server.state.logs.watch = on_event

    def app(self, name: str) -> AppView:
        """Return the app that is deployed under this name; raises grpclib's NOT_FOUND if none is."""

        def look() -> AppView:
            app = self._server.state.deployed(name)
            if app is None:
                raise not_found(f"App '{name}' is not deployed")
            return app_view(self._server.state, app)

        return self._do(look)

    def containers(self, app: str | None = None, function: str | None = None) -> list[ContainerView]:
        """Return the containers that run now, oldest first."""
        views = self._do(lambda: [_view(one) for one in self._server.state.containers.values()])
        return [view for view in views if app in (None, view.app) and function in (None, view.function)]

    def logs(self, app: str) -> str:
        """Return all that the containers of apps of this name have printed."""
        state = self._server.state

        def look() -> str:
            ids = [one.id for one in state.apps.values() if one.name == app]
            return "".join(line.text for app_id in ids for line in state.logs.after(app_id, 0))

        return self._do(look)

    def create_secret(self, name: str, env: dict[str, str]) -> None:
        """Publish a secret, as `modal secret create` would."""
        self._do(lambda: self._server.secrets.new_secret(name, dict(env)))

    def create_volume(self, name: str) -> Path:
        """Publish an empty volume; return its folder."""
        return self._do(lambda: self._server.volumes.new_volume(name).folder)

    def kill(self, container_id: str) -> None:
        """Kill a container, as if its process had crashed."""
        self._do(lambda: self._container(container_id).kill())

    def preempt(self, container_id: str) -> None:
        """Preempt a container: its inputs are retried from the start, in another one."""
        self._do(lambda: self._server.scheduler.preempt(self._container(container_id)))

    @contextmanager
    def refuse(
        self,
        request: str = "FunctionMap",
        status: Status = Status.RESOURCE_EXHAUSTED,
        message: str = "the workspace's quota is used up",
    ) -> Iterator[None]:
        """Answer a request with an error: by default a new call, as where a quota is used up."""
        with lasting(self._server.troubles.refusals, (request, GRPCError(status, message))):
            yield

    @contextmanager
    def no_capacity(self, app: str | None = None, function: str | None = None) -> Iterator[None]:
        """Start no containers, as where no GPU is free: inputs wait, running containers continue."""
        try:
            with lasting(self._server.troubles.no_capacity, Scope(app, function)):
                yield
        finally:
            self._do(self._server.scheduler.scale_all)

    @contextmanager
    def slow_starts(
        self, delay_s: float, app: str | None = None, function: str | None = None
    ) -> Iterator[None]:
        """Delay the start of each container's process."""
        with lasting(self._server.troubles.slow_starts, (Scope(app, function), delay_s)):
            yield

    @contextmanager
    def slow_network(self, delay_s: float, request: str | None = None) -> Iterator[None]:
        """Answer requests of clients and containers that much later: every one, or those of one name, as
        FunctionMap, with which each call begins."""
        with lasting(self._server.troubles.delays, (request, delay_s)):
            yield

    @contextmanager
    def no_network(self) -> Iterator[None]:
        """Refuse and drop clients' connections; containers continue."""
        self._ask(self._server.front.stop())
        try:
            yield
        finally:
            self._ask(self._server.front.start())

    @contextmanager
    def rerun_crashed(self, app: str | None = None, function: str | None = None) -> Iterator[None]:
        """Retry the inputs of containers that die, as often as it takes."""
        with lasting(self._server.troubles.reruns, Scope(app, function)):
            yield

    async def _started(self) -> Server:
        server = Server(self._folder, self._cache, self._machine)
        await server.start()
        return server

    def _container(self, container_id: str) -> Container:
        return found(self._server.state.containers, container_id, "Container")

    def _do(self, action: Callable[[], T]) -> T:
        async def act() -> T:
            return action()

        return self._ask(act())

    def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(60)


async def _settle() -> None:
    """Cancel requests in progress, and let connections close."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.sleep(0.1)


def _view(container: Container) -> ContainerView:
    return ContainerView(
        id=container.id,
        app=container.function.app.name,
        function=container.function.name,
        pid=container.process.pid if container.process else None,
        ready=container.ready,
        stopping=container.stopping,
        running_inputs=len(container.running),
        connections=container.connections,
    )
