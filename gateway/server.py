"""The gateway: everything that its clients reach, in one ASGI application."""

import dataclasses

from starlette.applications import Starlette

from gateway.access import Access
from gateway.backend import Backend
from gateway.health import Readiness, routes
from gateway.metrics import Metrics
from gateway.realtime.socket import RealtimeServer


class Gateway:
    """One gateway over one backend. Serve `app`; `drain` before its end."""

    def __init__(self, backend: Backend, access: Access) -> None:
        self.metrics = Metrics()
        self.readiness = Readiness()
        counted = dataclasses.replace(backend, turns=self.metrics.counted(backend.turns))
        self.realtime = RealtimeServer(counted, access)
        self.app = Starlette(routes=[*self.realtime.routes(), *routes(access, self.metrics, self.readiness)])

    async def drain(self, limit_s: float) -> None:
        """Take no more work; return once what is under way has ended, or after this time."""
        self.readiness.not_ready = "stopping"
        await self.realtime.drain(limit_s)


def create_app(backend: Backend, access: Access) -> Starlette:
    """The gateway's application, for a server that needs nothing else of it."""
    return Gateway(backend, access).app
