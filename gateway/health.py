"""Whether the gateway lives, whether it takes work, and what it counts."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.access import Access
from gateway.metrics import Metrics


@dataclass
class Readiness:
    """Whether the gateway takes new work. Whoever starts and drains it writes here."""

    not_ready: str = ""
    """Why not, in words for the operator; "" if it does."""


def routes(access: Access, metrics: Metrics, readiness: Readiness) -> list[Route]:
    """/healthz and /readyz, for everybody, and /metrics, which needs a key where the gateway has keys."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(request: Request) -> Response:
        reason = readiness.not_ready
        return PlainTextResponse(reason or "ready", status_code=503 if reason else 200)

    async def exposition(request: Request) -> Response:
        access.admit(request)
        return Response(metrics.exposition(), media_type=metrics.content_type)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", exposition)]
