"""The port that clients talk to, which can be cut off and put back."""

import asyncio
import contextlib
import weakref

import grpclib.server
from grpclib.protocol import H2Protocol

from local_cloud.rpcs import Rpcs


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
        """Refuse connections and end those that there are."""
        if self._server is None:
            return
        self._server.close()
        self._server.drop_connections()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 2)
        self._server = None


class _Server(grpclib.server.Server):
    """grpclib's, which lets go of requests when it is closed, but not of connections."""

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
