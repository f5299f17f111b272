"""The page: a conversation in a browser, over the Realtime protocol. All its files are from this server."""

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FILES: Final = Path(__file__).parent

# The types are named here: what Python takes them for depends on the machine, and a browser runs no script of
# another type.
_CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # asked for each time, and sent only if it has changed
}


def routes() -> list[BaseRoute]:
    """The page at `/`, and what it loads below `/page/`."""
    files = _PageFiles(directory=FILES)

    async def index(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    return [Route("/", index), Mount("/page", files, name="page")]


class _PageFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        content_type = _CONTENT_TYPES.get(Path(path).suffix)
        if content_type is None:  # this module, say
            return Response("Not found", status_code=404, media_type="text/plain")
        response = await super().get_response(path, scope)
        response.headers.update({**_HEADERS, "Content-Type": content_type})
        return response
