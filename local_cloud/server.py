"""The control plane as a whole: its gRPC server, its parts, its start and its end."""

import asyncio
import contextlib
import secrets
import shutil
import tempfile
import weakref
from pathlib import Path

import grpclib.server
from grpclib.protocol import H2Protocol

from local_cloud.app_rpcs import AppRpcs
from local_cloud.blobs import BlobStore
from local_cloud.call_rpcs import CallRpcs
from local_cloud.container import Container
from local_cloud.container_rpcs import ContainerRpcs
from local_cloud.environments import Environments, Machine
from local_cloud.function_rpcs import FunctionRpcs
from local_cloud.http_servers import HttpServers
from local_cloud.object_rpcs import ObjectRpcs, SecretRpcs
from local_cloud.queue_rpcs import QueueRpcs
from local_cloud.rpcs import Rpcs
from local_cloud.scheduler import Scheduler
from local_cloud.starter import Starter
from local_cloud.state import State
from local_cloud.task_rpcs import LogRpcs, TaskRpcs
from local_cloud.troubles import Troubles
from local_cloud.volume_rpcs import VolumeRpcs

CALLS_KEPT_S = 600.0


class Server:
    """Everything that runs in the local cloud's event loop."""

    def __init__(self, folder: Path, cache: Path, machine: Machine) -> None:
        self.state = State(folder)
        self.troubles = Troubles()
        self.blobs = BlobStore(folder / "blobs")
        self.identity = f"ak-local-{secrets.token_hex(8)}"
        self._sockets = Path(tempfile.mkdtemp(prefix="mcp-"))  # a socket's path must be short
        self._starter = Starter(self.state, Environments(cache, machine), machine, self._sockets)
        self._starter.server_for = self._server_for
        self.scheduler = Scheduler(self.state, self._starter, self.troubles)
        self._servers = HttpServers(self.scheduler)
        self.secrets = SecretRpcs(self.state)
        self.volumes = VolumeRpcs(self.state, self.blobs)
        self._groups: tuple[object, ...] = (
            AppRpcs(self.state, self.scheduler),
            LogRpcs(self.state),
            TaskRpcs(self.state, self.scheduler),
            ObjectRpcs(self.state, self.blobs),
            self.secrets,
            self.volumes,
            FunctionRpcs(self.state, self.scheduler, self._servers),
            CallRpcs(self.state, self.scheduler),
            QueueRpcs(self.state),
        )
        self.front = Front(Rpcs(self.state, self.troubles, self.identity, *self._groups))
        self._chores: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        await self.blobs.start()
        await self.front.start()
        self._chores = [asyncio.ensure_future(self.scheduler.run()), asyncio.ensure_future(self._sweep())]

    async def stop(self) -> None:
        """End every container, close every port, remove every link."""
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self._servers.stop()
        self._starter.abandon()
        await self.scheduler.close()
        self._starter.close()
        await self.front.stop()
        await self.blobs.stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _server_for(self, container: Container) -> grpclib.server.Server:
        own = ContainerRpcs(self.state, self.scheduler, container)
        return grpclib.server.Server([Rpcs(self.state, self.troubles, self.identity, own, *self._groups)])

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(CALLS_KEPT_S / 10)
            for blob_id in self.state.forget_finished_calls(CALLS_KEPT_S):
                self.blobs.forget(blob_id)


class Front:
    """A gRPC server on the loopback interface that keeps its port from its start to its end."""

    def __init__(self, rpcs: Rpcs) -> None:
        self._rpcs = rpcs
        self._server: _Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen: on a free port the first time, on the same one from then on."""
        self._server = _Server([self._rpcs])
        await self._server.start("127.0.0.1", self.port)
        self.port = self._server.port

    async def stop(self) -> None:
        """Refuse connections and drop those that exist."""
        if self._server is None:
            return
        self._server.close()
        self._server.drop_connections()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 2)
        self._server = None


class _Server(grpclib.server.Server):
    """grpclib's server, which ends requests when it is closed, but not connections."""

    def __init__(self, handlers: list[Rpcs]) -> None:
        super().__init__(handlers)
        self._connections: weakref.WeakSet[H2Protocol] = weakref.WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._connections.add(protocol)
        return protocol

    def drop_connections(self) -> None:
        for protocol in list(self._connections):
            protocol.connection._transport.abort()

    @property
    def port(self) -> int:
        assert isinstance(self._server, asyncio.Server)
        return int(self._server.sockets[0].getsockname()[1])
