"""The page's files as they are served."""

import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gateway import page


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=page.routes())) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/page/main.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
def test_each_kind_of_file_has_its_type_and_the_same_protection(
    client: TestClient, path: str, content_type: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_a_new_version_is_seen_at_once_and_an_old_one_is_not_sent_again(client: TestClient) -> None:
    answer = client.get("/page/main.js")
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get("/page/main.js", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    assert not again.content


@pytest.mark.parametrize(
    "path", ["/page/__init__.py", "/page/missing.js", "/page/../backend.py", "/page/", "/x"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_no_file_names_another_host(client: TestClient) -> None:
    files = [path for path in page.FILES.iterdir() if path.suffix in {".html", ".css", ".js", ".svg"}]
    assert len(files) > 10
    for file in files:
        hosts = set(re.findall(r"https?://[^\s\"'/:]+", file.read_text()))
        assert hosts <= {"http://localhost.", "http://www.w3.org"}, file.name  # words, and SVG's namespace
