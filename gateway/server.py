"""The gateway: everything that its clients reach, in one ASGI application."""

import dataclasses

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from gateway import health, page, rest
from gateway.access import Access
from gateway.backend import Backend
from gateway.health import Readiness
from gateway.metrics import CountRequests, Metrics
from gateway.realtime.events import build_types
from gateway.realtime.socket import RealtimeServer
from gateway.request_span import TraceRequests


class Gateway:
    """One gateway over one backend. Serve `app`; `drain` before its end."""

    def __init__(self, backend: Backend, access: Access) -> None:
        build_types()
        self.metrics = Metrics()
        self.readiness = Readiness()
        counted = dataclasses.replace(backend, turns=self.metrics.counted(backend.turns))
        self.realtime = RealtimeServer(counted, access, self.metrics)
        self.app = Starlette(
            routes=[
                *self.realtime.routes(),
                *rest.routes(counted, access, self.metrics),
                *health.routes(access, self.metrics, self.readiness),
                *page.routes(),
            ],
            middleware=[
                Middleware(CountRequests, metrics=self.metrics),
                Middleware(TraceRequests),
                *_for_other_pages(access),
            ],
            exception_handlers=rest.exception_handlers(self.metrics),
        )

    async def drain(self, limit_s: float) -> None:
        """Take no more work; return once what is under way has ended, or after this time."""
        self.readiness.not_ready = "stopping"
        await self.realtime.drain(limit_s)


def create_app(backend: Backend, access: Access) -> Starlette:
    """The gateway's application, for a server that needs nothing else of it."""
    return Gateway(backend, access).app


def _for_other_pages(access: Access) -> list[Middleware]:
    """What browsers want to read before they let a page of another origin use the REST API."""
    if not access.allowed_origins:
        return []
    origins = sorted(access.allowed_origins)
    return [
        Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])
    ]
