"""Who may use the REST API, how much of it at once, and what any error looks like."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from starlette.requests import HTTPConnection

from tests.gateway.rest.conftest import Served, rest_api
from tests.support.scripted_stages import HANG, Cast
from tests.support.waiting import until_async

KEY = "the-key-of-these-tests"
ROUTES = [
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/x"),
    ("POST", "/v1/realtime/client_secrets"),
    ("GET", "/metrics"),
]


@pytest.fixture
async def locked(scripted: Cast) -> AsyncIterator[Served]:
    async with rest_api(scripted, api_keys=KEY, max_key_requests_per_minute=5) as one:
        yield one


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient() as client:
        yield client


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_wants_the_key(
    locked: Served, http: httpx2.AsyncClient, method: str, path: str
) -> None:
    answer = await http.request(method, locked.url + path)
    assert answer.status_code == 401
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "invalid_api_key"
    with_key = await http.request(method, locked.url + path, headers={"authorization": f"Bearer {KEY}"})
    assert with_key.status_code != 401


async def test_openais_client_sees_a_wrong_key_as_such(locked: Served) -> None:
    with pytest.raises(openai.AuthenticationError):
        await locked.client.models.list()
    models = await locked.client.with_options(api_key=KEY).models.list()
    assert models.data


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_page_of_another_origin_is_refused(
    api: Served, http: httpx2.AsyncClient, method: str, path: str
) -> None:
    answer = await http.request(method, api.url + path, headers={"origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")


async def test_a_browser_lets_a_page_that_the_settings_name_use_the_api(
    scripted: Cast, http: httpx2.AsyncClient
) -> None:
    page = {"origin": "https://app.example"}
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with rest_api(scripted, api_keys=KEY, allowed_origins="https://app.example") as api:
        may = await http.options(f"{api.url}/v1/audio/speech", headers=page | asks)
        assert may.status_code == 200
        assert "authorization" in may.headers["access-control-allow-headers"]
        models = await http.get(f"{api.url}/v1/models", headers=page | {"authorization": f"Bearer {KEY}"})
        assert models.status_code == 200
        assert models.headers["access-control-allow-origin"] == "https://app.example"
        evil = await http.options(f"{api.url}/v1/models", headers={"origin": "https://evil.example"} | asks)
        assert "access-control-allow-origin" not in evil.headers


async def test_too_many_requests_in_a_minute_are_refused_until_later(locked: Served) -> None:
    client = locked.client.with_options(api_key=KEY)
    for _ in range(5):
        await client.models.list()
    with pytest.raises(openai.RateLimitError) as refused:
        await client.models.list()
    assert refused.value.response.headers["retry-after"] == "12"


async def test_too_many_requests_at_once_are_refused_until_one_has_ended(scripted: Cast) -> None:
    scripted.llm.scripts = [[HANG], ["Hello."]]
    async with rest_api(scripted, max_key_http_requests=1) as api:
        question: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello?"}]}
        stream = asyncio.create_task(api.client.chat.completions.create(**question, stream=True))
        await until_async(lambda: scripted.llm.calls)
        with pytest.raises(openai.RateLimitError):
            await api.client.chat.completions.create(**question)
        stream.cancel()
        await until_async(lambda: not scripted.under_way)
        await api.client.models.list()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/audio/speech", 405), ("DELETE", "/v1/models", 405)],
)
async def test_what_there_is_not_is_answered_in_the_same_form(
    api: Served, http: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await http.request(method, api.url + path)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_models_are_listed_and_found_by_name(api: Served) -> None:
    models = await api.client.models.list()
    assert [model.id for model in models.data] == ["scripted ASR", "scripted/LLM", "scripted TTS"]
    assert await api.client.models.retrieve("scripted/LLM") == models.data[1]
    with pytest.raises(openai.NotFoundError):
        await api.client.models.retrieve("gpt-4o")


async def test_a_client_secret_is_made_for_a_session(locked: Served) -> None:
    client = locked.client.with_options(api_key=KEY)
    secret = await client.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "instructions": "Be brief."},
    )
    assert secret.session.type == "realtime"
    assert secret.session.instructions == "Be brief."
    opened = HTTPConnection(
        {"type": "websocket", "headers": [(b"authorization", f"Bearer {secret.value}".encode())]}
    )
    caller = locked.access.admit(opened, for_session=True)
    assert caller.session == {"type": "realtime", "instructions": "Be brief."}


async def test_a_client_secret_has_defaults(locked: Served) -> None:
    secret = await locked.client.with_options(api_key=KEY).realtime.client_secrets.create()
    assert secret.value.startswith("ek_")
    assert secret.session.type == "realtime"


@pytest.mark.parametrize(
    "wanted",
    [
        {"expires_after": {"anchor": "created_at", "seconds": 5}},
        {"session": {"type": "painting"}},
        {"session": {"type": "realtime", "output_modalities": "smell"}},
    ],
)
async def test_a_client_secret_for_what_cannot_be_is_refused(api: Served, wanted: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        await api.client.realtime.client_secrets.create(**wanted)


async def test_a_client_secret_opens_no_route(locked: Served) -> None:
    secret = await locked.client.with_options(api_key=KEY).realtime.client_secrets.create()
    with pytest.raises(openai.PermissionDeniedError):
        await locked.client.with_options(api_key=secret.value).models.list()


async def test_health_is_for_everybody_and_readiness_says_why_not(
    locked: Served, http: httpx2.AsyncClient
) -> None:
    assert (await http.get(f"{locked.url}/healthz")).text == "ok"
    assert (await http.get(f"{locked.url}/readyz")).status_code == 200
    locked.gateway.readiness.not_ready = "loading"
    answer = await http.get(f"{locked.url}/readyz")
    assert (answer.status_code, answer.text) == (503, "loading")
    assert (await http.get(f"{locked.url}/healthz")).status_code == 200


async def test_draining_lets_requests_end_and_takes_no_more(scripted: Cast, http: httpx2.AsyncClient) -> None:
    may_go_on = asyncio.Event()
    scripted.llm.scripts = [["Good ", may_go_on, "day."]]
    async with rest_api(scripted) as api:
        asking = asyncio.create_task(
            api.client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi."}])
        )
        await until_async(lambda: scripted.llm.under_way)
        draining = asyncio.create_task(api.gateway.drain(30.0))
        await until_async(lambda: api.gateway.readiness.not_ready)
        with pytest.raises(openai.InternalServerError) as refused:
            await api.client.models.list()
        assert (refused.value.status_code, refused.value.code) == (503, "server_stopping")
        assert refused.value.response.headers["retry-after"] == "5"
        assert refused.value.response.headers["connection"] == "close"
        health = [await http.get(f"{api.url}/{path}") for path in ("healthz", "readyz", "metrics")]
        assert [one.status_code for one in health] == [200, 503, 200]
        assert health[1].text == "draining"
        assert not draining.done()
        may_go_on.set()
        assert (await asking).choices[0].message.content == "Good day."
        await draining


async def test_draining_does_not_wait_longer_than_its_limit(scripted: Cast) -> None:
    scripted.llm.scripts = [[HANG]]
    async with rest_api(scripted) as api:
        asking = asyncio.create_task(
            api.client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi."}])
        )
        await until_async(lambda: scripted.llm.under_way)
        await api.gateway.drain(0.1)
        assert scripted.llm.under_way
        asking.cancel()


async def test_requests_are_counted_by_route_and_status(api: Served, http: httpx2.AsyncClient) -> None:
    await api.client.models.list()
    await http.get(f"{api.url}/v1/models/gpt-4o")
    await http.get(f"{api.url}/nothing/of/this/kind")
    answer = await http.get(f"{api.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    figures = api.figures
    assert figures["s2s_requests_total{route=/v1/models,status=200}"] == 1
    assert figures["s2s_requests_total{route=/v1/models/{model:path},status=404}"] == 1
    assert figures["s2s_requests_total{route=,status=404}"] == 1
    assert figures["s2s_request_seconds_count{route=/v1/models}"] == 1
    assert figures["s2s_errors_total{code=model_not_found}"] == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"{" * 10_000])
@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/chat/completions", "/v1/realtime/client_secrets"])
async def test_a_body_that_is_no_json_object_is_refused(
    api: Served, http: httpx2.AsyncClient, path: str, body: bytes
) -> None:
    answer = await http.post(api.url + path, content=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_a_huge_body_is_refused_before_it_is_read(api: Served, http: httpx2.AsyncClient) -> None:
    answer = await http.post(f"{api.url}/v1/chat/completions", content=b" " * 2_000_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [1] * 300_000},
        {"messages": [{"role": "user", "content": [1] * 300_000}]},
        {"messages": [{"role": "user", "content": "x"}], "modalities": [[1] * 1_000] * 300},
    ],
)
async def test_lists_that_would_take_long_to_validate_are_refused_before(
    api: Served, http: httpx2.AsyncClient, body: Any
) -> None:
    answer = await http.post(f"{api.url}/v1/chat/completions", content=json.dumps(body))
    assert answer.status_code == 400
    assert "more than 4,000 items" in answer.json()["error"]["message"]


async def test_a_body_that_does_not_come_is_timed_out(scripted: Cast) -> None:
    async with rest_api(scripted, upload_timeout_s=0.2) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
        writer.write(b"POST /v1/audio/speech HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        answer = await reader.readuntil(b"}}")
        assert answer.startswith(b"HTTP/1.1 408")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timed_out"
        writer.close()
        await api.client.models.list()


async def test_clients_that_leave_in_the_middle_of_their_request_disturb_nobody(
    scripted: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    async with rest_api(scripted, max_key_http_requests=3) as api:
        port = int(api.url.rpartition(":")[2])
        for start in (
            b"POST /v1/audio/speech HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000\r\n"
            b"content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n",
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"transfer-encoding: chunked\r\n\r\n5\r\nab",
        ):
            with socket.create_connection(("127.0.0.1", port)) as half:
                half.sendall(start)
        await until_async(
            lambda: (
                sum(figure for name, figure in api.figures.items() if name.startswith("s2s_requests_total"))
                == 3
            )
        )
        for _ in range(5):
            await api.client.models.list()
    assert "Traceback" not in caplog.text


async def test_nothing_of_what_is_said_is_logged(scripted: Cast, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    scripted.llm.scripts = [["the reply is confidential"]]
    async with rest_api(scripted) as api:
        question: Any = [{"role": "user", "content": "the question is confidential"}]
        await api.client.chat.completions.create(model="gpt-4o", messages=question)
        await api.client.audio.speech.create(input="this speech is confidential", model="tts-1", voice="ash")
    ours = [
        record.getMessage() for record in caplog.records if not record.name.startswith(("openai", "http"))
    ]
    assert "confidential" not in "\n".join(ours)
