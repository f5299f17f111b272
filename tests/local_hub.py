"""A model hub on this machine: as much of the Hugging Face protocol as a download needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """One repository, its files by name, and what was asked for."""

    repository: str
    files: dict[str, bytes]
    token: str | None = None
    url: str = ""
    downloads: list[str] = field(default_factory=list)


@contextmanager
def local_hub(repository: str, files: dict[str, bytes], *, token: str | None = None) -> Iterator[Hub]:
    """Serve one repository, to those who have the token if there is one."""
    hub = Hub(repository, files, token)

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        hub, path = self.served, unquote(self.path.split("?")[0])
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._send(401, b"{}", {"X-Error-Code": "GatedRepo"}, with_body=with_body)
        elif path.startswith(f"/api/models/{hub.repository}/revision/"):
            siblings = [{"rfilename": name} for name in hub.files]
            told = {"id": hub.repository, "modelId": hub.repository, "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(told).encode(), {}, with_body=with_body)
        elif path.startswith(f"/api/models/{hub.repository}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
                for name, data in hub.files.items()
            ]
            self._send(200, json.dumps(tree).encode(), {}, with_body=with_body)
        elif path.startswith(f"/{hub.repository}/resolve/") and path.split("/", 5)[5] in hub.files:
            name = path.split("/", 5)[5]
            if with_body:
                hub.downloads.append(name)
            headers = {"ETag": f'"{_etag(hub.files[name])}"', "X-Repo-Commit": COMMIT}
            self._send(200, hub.files[name], headers, with_body=with_body)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body=with_body)

    def _send(self, status: int, body: bytes, headers: dict[str, str], *, with_body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
