"""The control plane as a whole: its gRPC server, its parts, its start and its end."""

import asyncio
import secrets
import shutil
import tempfile
from pathlib import Path

import grpclib.server

from local_cloud.app_rpcs import AppRpcs
from local_cloud.blobs import BlobStore
from local_cloud.call_rpcs import CallRpcs
from local_cloud.container import Container
from local_cloud.container_rpcs import ContainerRpcs
from local_cloud.environments import Environments
from local_cloud.front import Front
from local_cloud.function_rpcs import FunctionRpcs
from local_cloud.log_rpcs import LogRpcs
from local_cloud.machine import Machine
from local_cloud.object_rpcs import ObjectRpcs
from local_cloud.rpcs import Rpcs
from local_cloud.scheduler import Scheduler
from local_cloud.secret_rpcs import SecretRpcs
from local_cloud.starter import Starter
from local_cloud.state import State
from local_cloud.task_rpcs import TaskRpcs
from local_cloud.troubles import Troubles
from local_cloud.volume_rpcs import VolumeRpcs

CALLS_KEPT_S = 600.0


class Server:
    """Everything that runs in the control plane's event loop."""

    def __init__(self, folder: Path, cache: Path, machine: Machine) -> None:
        self.state = State(folder)
        self.troubles = Troubles()
        self.blobs = BlobStore(folder / "blobs")
        self.identity = f"ak-local-{secrets.token_hex(8)}"
        self._sockets = Path(tempfile.mkdtemp(prefix="mcp-"))  # a socket's path must be short
        self._starter = Starter(self.state, Environments(cache, machine), machine, self._sockets)
        self._starter.server_for = self._server_for
        self.scheduler = Scheduler(self.state, self._starter, self.troubles)
        self.secrets = SecretRpcs(self.state)
        self.volumes = VolumeRpcs(self.state, self.blobs)
        self._groups: tuple[object, ...] = (
            AppRpcs(self.state, self.scheduler),
            LogRpcs(self.state),
            TaskRpcs(self.state, self.scheduler),
            ObjectRpcs(self.state, self.blobs),
            self.secrets,
            self.volumes,
            FunctionRpcs(self.state, self.scheduler),
            CallRpcs(self.state, self.scheduler),
        )
        self.front = Front(Rpcs(self.state, self.troubles, self.identity, *self._groups))
        self._chores: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        await self.blobs.start()
        await self.front.start()
        self._chores = [asyncio.ensure_future(self.scheduler.run()), asyncio.ensure_future(self._sweep())]

    async def stop(self) -> None:
        """End every container, close every port, take every link away."""
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
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
