"""The gateway: everything that its clients reach, in one ASGI application."""

import asyncio
import contextlib
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
        self._access = access
        counted = dataclasses.replace(backend, turns=self.metrics.counted(backend.turns))
        self.realtime = RealtimeServer(counted, access, self.metrics)
        self.app = Starlette(
            routes=[
                *self.realtime.routes(),
                *rest.routes(counted, access, self.metrics, self.readiness),
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
        """Take no more work; return once what is under way has ended, or after this time. Health and metrics
        are answered meanwhile."""
        self.readiness.not_ready = "draining"
        await asyncio.gather(self.realtime.drain(limit_s), self._requests_end(limit_s))

    async def _requests_end(self, limit_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while self._access.http_requests:  # noqa: ASYNC110 (they end in many ways)
                    await asyncio.sleep(0.05)


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
