"""A model hub on this machine: as much of the Hugging Face protocol as a download needs."""

import functools
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader, BytesIO
from pathlib import Path
from urllib.parse import unquote

COMMIT = "c0ffee" + "0" * 34
"""The commit that every branch is at."""

File = bytes | Path


@dataclass
class Hub:
    """Repositories, their files by name, and what was asked for."""

    repositories: Mapping[str, Mapping[str, File]]
    token: str | None = None
    url: str = ""
    downloads: list[str] = field(default_factory=list)
    breaks_off: bool = False
    """Whether every download's connection is lost in the middle."""

    def files(self, repository: str) -> Mapping[str, File]:
        """The files of a repository; none of one that is not there."""
        return self.repositories.get(repository, {})


@contextmanager
def local_hub(repositories: Mapping[str, Mapping[str, File]], *, token: str | None = None) -> Iterator[Hub]:
    """Serve repositories, the same files at every revision, to those who have the token if there is one."""
    hub = Hub(repositories, token)

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
        elif (asked := _ABOUT.fullmatch(path)) and asked["repository"] in hub.repositories:
            told = _about(asked["repository"], hub.repositories[asked["repository"]], asked["revision"])
            body = json.dumps(told[asked["what"]]).encode()
            self._send(200, body, {}, with_body=with_body)
        elif (asked := _FILE.fullmatch(path)) and asked["name"] in hub.files(asked["repository"]):
            file = hub.files(asked["repository"])[asked["name"]]
            if with_body:
                hub.downloads.append(asked["name"])
            headers = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": _commit(asked["revision"])}
            self._send(200, file, headers, with_body=with_body)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body=with_body)

    def _send(self, status: int, body: File, headers: dict[str, str], *, with_body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(_size(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body and self.served.breaks_off and headers.get("ETag"):
            self.wfile.write(b"v")
            self.close_connection = True
        elif with_body:
            with _opened(body) as content:
                shutil.copyfileobj(content, self.wfile)


_ABOUT = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)/(?P<what>revision|tree)/(?P<revision>[^/]+)/?")
_FILE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def _about(repository: str, files: Mapping[str, File], revision: str) -> dict[str, object]:
    siblings = [{"rfilename": name} for name in files]
    about = {"id": repository, "modelId": repository, "sha": _commit(revision), "siblings": siblings}
    tree = [
        {"type": "file", "path": name, "size": _size(file), "oid": _etag(file)}
        for name, file in files.items()
    ]
    return {"revision": about, "tree": tree}


def _commit(revision: str) -> str:
    return revision if _COMMIT.fullmatch(revision) else COMMIT


def _opened(file: File) -> BytesIO | BufferedReader:
    return BytesIO(file) if isinstance(file, bytes) else file.open("rb")


def _size(file: File) -> int:
    return len(file) if isinstance(file, bytes) else file.stat().st_size


@functools.cache
def _etag(file: File) -> str:
    with _opened(file) as content:
        return hashlib.file_digest(content, "sha1").hexdigest()
