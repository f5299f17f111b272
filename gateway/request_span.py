"""The span of an HTTP request to the gateway: it goes on with the trace of a client that names one."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.telemetry import start_span

API = "/v1/"
"""What is traced: probes, scrapes and the page's files would be most of all spans, and say nothing."""


class TraceRequests:
    """ASGI middleware. What the stages do for a request belongs to its span. A Realtime session has none:
    each of its turns is a trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        span = start_span(
            method,
            kind="server",
            traceparent=Headers(scope=scope).get("traceparent"),
            attributes={
                "http.request.method": method,
                "url.scheme": scope["scheme"],
                "url.path": scope["path"],
            },
        )

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set({"http.response.status_code": status})
                if status >= 500:
                    span.set({"error.type": str(status)})
            await send(message)

        try:
            with span.current():
                await self._app(scope, receive, observed)
        finally:
            if route := getattr(scope.get("route"), "path", ""):
                span.rename(f"{method} {route}")
                span.set({"http.route": route})
            span.end()
