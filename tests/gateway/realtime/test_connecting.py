"""Who may open a session, and how sessions end."""

import asyncio
import gc
import json
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.gateway.realtime.conftest import quick
from tests.gateway.realtime.test_items import create, text_item
from tests.support.realtime_client import Client, Served, said, serving
from tests.support.scripted_stages import HANG, Cast, cast, speech
from tests.support.waiting import until_async

KEY = "a-key-of-the-test-1234"


async def refusal(url: str, **how: Any) -> tuple[str, int]:
    """The code of the error, and of the close, with which a connection is refused."""
    async with connect(url, **how) as socket:
        error = json.loads(await socket.recv())
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd
    return error["error"]["code"], closed.value.rcvd.code


async def test_a_key_opens_a_session_in_the_header_or_as_a_browser_sends_it() -> None:
    async with serving(quick(), api_keys=KEY) as served:
        async with served.client(additional_headers={"Authorization": f"Bearer {KEY}"}) as client:
            assert client.socket.subprotocol is None
        offered = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-agents-sdk.0.20"]
        async with served.client(subprotocols=offered) as client:
            assert client.socket.subprotocol == "realtime"


async def test_a_wrong_key_is_refused_in_words_a_browser_can_see() -> None:
    async with serving(quick(), api_keys=KEY) as served:
        wrong = ["realtime", "openai-insecure-api-key.wrong-wrong-wrong-wrong"]
        assert await refusal(served.url, subprotocols=wrong) == ("invalid_api_key", 1008)
        assert await refusal(served.url) == ("invalid_api_key", 1008)


async def test_a_client_secret_opens_the_session_that_it_was_made_for() -> None:
    async with serving(quick(), api_keys=KEY) as served:
        access = served.gateway.realtime.access
        secret = access.create_secret(
            access.admit(_connection(KEY)), session={"type": "realtime", "instructions": "Be brief."}
        )
        header = {"Authorization": f"Bearer {secret.value}"}
        async with served.client(additional_headers=header) as client:
            assert client.events[0]["session"]["instructions"] == "Be brief."


def _connection(key: str) -> Any:
    headers = [(b"authorization", f"Bearer {key}".encode()), (b"host", b"127.0.0.1")]
    return HTTPConnection({"type": "http", "headers": headers})


async def test_more_sessions_than_there_may_be_are_asked_to_come_again() -> None:
    async with serving(quick(), max_sessions=1) as served:
        async with served.client():
            assert await refusal(served.url) == ("session_limit_reached", 1013)
        await until_async(lambda: not served.gateway.realtime.sessions)
        async with served.client() as client:
            assert client.events


async def test_a_session_ends_after_its_time() -> None:
    async with serving(quick(), max_session_s=0.3) as served, served.client() as client:
        assert (await client.error())["code"] == "session_expired"
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1001


async def test_of_a_session_whose_client_has_left_nothing_waits_for_the_garbage_collector(
    served: Served,
) -> None:
    def objects() -> int:
        return sum(str(type(one).__module__).startswith("gateway.realtime") for one in gc.get_objects())

    gc.collect()
    before = objects()
    gc.disable()
    try:
        async with served.client() as client:
            await client.speak(said())
            await client.until("response.done")
            assert objects() > before
        await until_async(lambda: objects() <= before)
    finally:
        gc.enable()


async def test_draining_lets_a_turn_end_and_opens_no_session() -> None:
    scripted = cast(tts=[[0.5, speech(0.5)]])
    async with serving(scripted) as served, served.client() as client:
        await create(client, text_item("Hello."))
        await client.send("response.create")
        await client.until("response.created")
        draining = asyncio.create_task(served.gateway.drain(30.0))
        await until_async(lambda: served.gateway.readiness.not_ready)
        assert await refusal(served.url) == ("session_limit_reached", 1013)
        assert (await client.until("response.done"))["response"]["status"] == "completed"
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1001
        await draining


async def test_draining_ends_a_turn_that_takes_too_long() -> None:
    async with serving(cast(llm=[[HANG]])) as served, served.client() as client:
        await client.send("response.create")
        await client.until("response.created")
        await served.gateway.drain(0.1)
        assert (await client.until("response.done"))["response"]["status"] == "cancelled"


async def test_sessions_and_waits_are_counted(served: Served, client: Client) -> None:
    await client.speak(said())
    await client.until("response.done")
    figures = served.gateway.metrics.exposition().decode()
    assert 's2s_sessions{type="realtime"} 1.0' in figures
    assert "s2s_voice_to_voice_seconds_count 1.0" in figures
    assert 's2s_turns_total{outcome="completed"} 1.0' in figures


async def test_errors_are_counted(served: Served, client: Client) -> None:
    await client.send("response.cancel")
    await client.error()
    assert 's2s_errors_total{code="response_cancel_not_active"} 1.0' in (
        served.gateway.metrics.exposition().decode()
    )


async def test_whoever_watches_sees_sessions_and_turns(served: Served, scripted: Cast) -> None:
    seen: list[Any] = []
    realtime = served.gateway.realtime
    realtime.on_session = lambda connection, begins: seen.append(begins)
    realtime.on_turn = lambda connection, record: seen.append(record.outcome)
    async with served.client() as client:
        await client.speak(said())
        await client.until("response.done")
    await until_async(lambda: seen[-1] is False)
    assert seen == [True, "completed", False]
