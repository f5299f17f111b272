"""Payloads too large for a message: put and fetched over HTTP, as with Modal's blob storage."""

import hashlib
import itertools
from pathlib import Path

from aiohttp import web

LARGEST_BYTES = 1 << 30


class BlobStore:
    """Blobs in a folder, behind a small HTTP server on the loopback interface."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._parts: dict[str, tuple[Path, int, int]] = {}

    async def start(self) -> None:
        """Listen on a free port."""
        self._folder.mkdir(parents=True, exist_ok=True)
        app = web.Application(client_max_size=LARGEST_BYTES)
        app.router.add_put("/blob/{id}", self._put)
        app.router.add_get("/blob/{id}", self._get)
        app.router.add_get("/part/{id}", self._get_part)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening; what was stored stays in its folder."""
        if self._runner is not None:
            await self._runner.cleanup()

    def new_id(self) -> str:
        """Return the id of a blob that is yet to be put."""
        return f"bl-{next(self._numbers):022d}"

    def url(self, blob_id: str) -> str:
        """Return where a blob is put and fetched."""
        return f"http://127.0.0.1:{self._port}/blob/{blob_id}"

    def offer(self, path: Path, start: int, length: int) -> str:
        """Return where a part of a file can be fetched, in bytes from its start."""
        part_id = self.new_id()
        self._parts[part_id] = path, start, length
        return f"http://127.0.0.1:{self._port}/part/{part_id}"

    def read(self, blob_id: str) -> bytes:
        """Return a blob that has been put."""
        return (self._folder / blob_id).read_bytes()

    def forget(self, blob_id: str) -> None:
        """Drop a blob that nobody will ask for again."""
        (self._folder / blob_id).unlink(missing_ok=True)

    async def _put(self, request: web.Request) -> web.Response:
        data = await request.read()
        (self._folder / Path(request.match_info["id"]).name).write_bytes(data)
        return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        path = self._folder / Path(request.match_info["id"]).name
        if not path.exists():
            raise web.HTTPNotFound
        return web.FileResponse(path)

    async def _get_part(self, request: web.Request) -> web.StreamResponse:
        path, start, length = self._parts[request.match_info["id"]]
        with path.open("rb") as file:
            file.seek(start)
            return web.Response(body=file.read(length))
