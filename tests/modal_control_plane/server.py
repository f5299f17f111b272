"""The control plane as a whole: its gRPC server, its parts, its start and its end."""

import asyncio
import contextlib
import re
import secrets
import shutil
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import grpclib.const
import grpclib.server
from grpclib import GRPCError, Status
from modal_proto.api_grpc import ModalClientBase

from tests.modal_control_plane import identity
from tests.modal_control_plane.app_rpcs import AppRpcs
from tests.modal_control_plane.blobs import BlobStore
from tests.modal_control_plane.call_rpcs import CallRpcs
from tests.modal_control_plane.container import Container
from tests.modal_control_plane.container_rpcs import ContainerRpcs
from tests.modal_control_plane.environments import Environments
from tests.modal_control_plane.events import Kind
from tests.modal_control_plane.function_rpcs import FunctionRpcs
from tests.modal_control_plane.log_rpcs import LogRpcs
from tests.modal_control_plane.object_rpcs import ObjectRpcs
from tests.modal_control_plane.scheduler import Scheduler
from tests.modal_control_plane.secret_rpcs import SecretRpcs
from tests.modal_control_plane.starter import Starter
from tests.modal_control_plane.state import State
from tests.modal_control_plane.task_rpcs import TaskRpcs
from tests.modal_control_plane.volume_rpcs import VolumeRpcs

CALLS_KEPT_S = 600.0


class Rpcs:
    """Groups of request handlers as one gRPC service; what no group knows is answered as such."""

    def __init__(self, state: State, identity: str, *groups: object) -> None:
        self._state = state
        self._identity = identity
        self._groups = groups

    def __mapping__(self) -> Mapping[str, grpclib.const.Handler]:
        known = ModalClientBase.__mapping__(cast(ModalClientBase, _AnyAttribute()))
        served = {
            path: handler._replace(func=self._served(path.rsplit("/", 1)[1], handler.cardinality))
            for path, handler in known.items()
        }
        return {**served, identity.PATH: identity.identify_handler(self._identity)}

    def _served(self, name: str, cardinality: grpclib.const.Cardinality) -> Any:
        method_name = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        methods = (getattr(group, method_name, None) for group in self._groups)
        method = next((one for one in methods if one is not None), None)

        async def serve(stream: grpclib.server.Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            if method is None:
                self._state.logs.event(Kind.UNKNOWN, "", f"this control plane does not know {name}")
                raise GRPCError(Status.UNIMPLEMENTED, f"the local control plane does not know {name}")
            try:
                if cardinality is grpclib.const.Cardinality.UNARY_STREAM:
                    async with contextlib.aclosing(method(request)) as messages:
                        async for message in messages:
                            await stream.send_message(message)
                else:
                    await stream.send_message(await method(request))
            except GRPCError:
                raise
            except Exception as error:
                for line in traceback.format_exc().splitlines():
                    self._state.logs.event(Kind.ERROR, "", line)
                raise GRPCError(Status.FAILED_PRECONDITION, f"the local control plane: {error!r}") from error

        return serve


class _AnyAttribute:
    """Stands for a service whose handlers are not looked at."""

    def __getattr__(self, name: str) -> None:
        return None


class Server:
    """Everything that runs in the control plane's event loop."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.state = State(folder)
        self.blobs = BlobStore(folder / "blobs")
        self.identity = f"ak-local-{secrets.token_hex(8)}"
        self.port = 0
        self._sockets = Path(tempfile.mkdtemp(prefix="mcp-"))  # a socket's path must be short
        self._starter = Starter(self.state, Environments(cache), self._sockets)
        self._starter.server_for = self._server_for
        self.scheduler = Scheduler(self.state, self._starter)
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
        self._server = grpclib.server.Server([Rpcs(self.state, self.identity, *self._groups)])
        self._chores: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        await self.blobs.start()
        await self._server.start("127.0.0.1", 0)
        listening = self._server._server
        assert isinstance(listening, asyncio.Server)
        self.port = listening.sockets[0].getsockname()[1]
        self._chores = [asyncio.ensure_future(self.scheduler.run()), asyncio.ensure_future(self._sweep())]

    async def stop(self) -> None:
        """End every container, close every port, take every link away."""
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self.scheduler.close()
        self._starter.volumes.remove()
        self._server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 2)
        await self.blobs.stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _server_for(self, container: Container) -> grpclib.server.Server:
        own = ContainerRpcs(self.state, self.scheduler, container)
        return grpclib.server.Server([Rpcs(self.state, self.identity, own, *self._groups)])

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(CALLS_KEPT_S / 10)
            for blob_id in self.state.forget_finished_calls(CALLS_KEPT_S):
                self.blobs.forget(blob_id)
