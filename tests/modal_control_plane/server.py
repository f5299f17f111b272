"""The control plane as a whole: its gRPC server, its parts, its start and its end."""

import asyncio
import secrets
import shutil
import tempfile
from pathlib import Path

import grpclib.server

from tests.modal_control_plane.app_rpcs import AppRpcs
from tests.modal_control_plane.blobs import BlobStore
from tests.modal_control_plane.call_rpcs import CallRpcs
from tests.modal_control_plane.container import Container
from tests.modal_control_plane.container_rpcs import ContainerRpcs
from tests.modal_control_plane.environments import Environments
from tests.modal_control_plane.front import Front
from tests.modal_control_plane.function_rpcs import FunctionRpcs
from tests.modal_control_plane.log_rpcs import LogRpcs
from tests.modal_control_plane.machine import Machine
from tests.modal_control_plane.object_rpcs import ObjectRpcs
from tests.modal_control_plane.rpcs import Rpcs
from tests.modal_control_plane.scheduler import Scheduler
from tests.modal_control_plane.secret_rpcs import SecretRpcs
from tests.modal_control_plane.starter import Starter
from tests.modal_control_plane.state import State
from tests.modal_control_plane.task_rpcs import TaskRpcs
from tests.modal_control_plane.troubles import Troubles
from tests.modal_control_plane.volume_rpcs import VolumeRpcs

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
