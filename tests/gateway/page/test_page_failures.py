"""What the page says and does when something goes wrong: at the server, on the way, with the microphone."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from playwright.async_api import Browser, expect

from gateway.errors import InvalidKey, OriginRefused, RateLimited, Refused, TooManySessions
from tests.gateway.page.conftest import app, hum, listen, talk
from tests.support.chromium import chromium, opened
from tests.support.realtime_script import ScriptedServer, Session
from tests.support.serving import served
from tests.support.waiting import until_async

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("chromium"), pytest.mark.devices]


async def test_a_server_that_starts_is_waited_for(browser: Browser) -> None:
    server = ScriptedServer(listen, refusals=[(503, "cold"), (503, "cold")])
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        await talk(page).click()
        await expect(page.get_by_role("alert")).to_contain_text("The server is starting")
        await expect(page.locator("#phase")).to_have_text("Listening")
        await expect(page.get_by_role("alert")).to_be_empty()


async def refuse_for_want_of_room(session: Session) -> None:
    await session.send("error", error={"type": "rate_limit_error", "code": "session_limit_reached"})
    await session.close(1013)


def refused(refusal: Refused) -> tuple[int, object]:
    return refusal.status, {"error": refusal.body}


async def test_each_refusal_is_told_in_words_and_the_button_tries_again(browser: Browser) -> None:
    refusals = [refused(TooManySessions("")), refused(RateLimited("")), refused(OriginRefused("")), (500, {})]
    server = ScriptedServer(refuse_for_want_of_room, refusals=refusals)
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        for says in (
            "All places for conversations are taken.",
            "too many requests with this key",
            "does not talk to pages from this address",
            "The server refused the conversation.",
            "All places for conversations are taken.",
        ):
            await talk(page).click()
            await expect(page.get_by_role("alert")).to_contain_text(says)
            await expect(talk(page)).to_be_visible()


async def test_a_lost_connection_comes_back_and_the_server_is_told_what_was_said(browser: Browser) -> None:
    async def turn_then_crash(session: Session) -> None:
        await session.hear("My name is Peter.")
        await session.answer("Hello, Peter.", hum(0.2))
        await session.close(1011)

    server = ScriptedServer(turn_then_crash, listen)
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        await talk(page).click()
        await until_async(lambda: len(server.sessions) == 2)
        again = server.sessions[1]
        await again.until(lambda: len(again.events) >= 3)
        await again.microphone(0.2)
        told = [event["item"] for event in again.events if event["type"] == "conversation.item.create"]
        assert [(item["role"], item["content"][0]["text"]) for item in told] == [
            ("user", "My name is Peter."),
            ("assistant", "Hello, Peter."),
        ]
        await expect(page.locator("#words")).to_contain_text("Hello, Peter.")


async def test_a_secret_that_the_server_does_not_know_any_more_is_replaced(browser: Browser) -> None:
    async def refuse(session: Session) -> None:
        await session.send("error", error={"code": InvalidKey.code})
        await session.close(1008)

    server = ScriptedServer(refuse, listen)
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        await talk(page).click()
        await until_async(lambda: len(server.sessions) == 2)
        await expect(page.locator("#phase")).to_have_text("Listening")
    assert len(server.secrets_wanted) == 2


async def test_a_server_that_goes_away_is_waited_for(browser: Browser) -> None:
    async with AsyncExitStack() as stack:
        async with served(app(ScriptedServer(listen))) as port:
            page = await stack.enter_async_context(opened(browser, f"http://localhost:{port}"))
            await talk(page).click()
            await expect(page.locator("#phase")).to_have_text("Listening")
        await expect(page.get_by_role("alert")).to_contain_text("The connection was lost. Wait")
        await stack.enter_async_context(served(app(ScriptedServer(listen)), port))
        await expect(page.locator("#phase")).to_have_text("Listening")
        await expect(page.get_by_role("alert")).to_be_empty()


async def test_a_server_that_is_not_there_is_told(browser: Browser) -> None:
    async with AsyncExitStack() as stack:
        async with served(app(ScriptedServer(listen))) as port:
            page = await stack.enter_async_context(opened(browser, f"http://localhost:{port}"))
        await talk(page).click()
        await expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")


async def test_a_failed_answer_is_told_and_the_conversation_goes_on(browser: Browser) -> None:
    async def fail(session: Session) -> None:
        await session.hear("What is two plus two?")
        answer = await session.begin_answer()
        await answer.end("failed", error={"message": "The LLM timed out."})

    async with (
        served(app(ScriptedServer(fail))) as port,
        opened(browser, f"http://localhost:{port}") as page,
    ):
        await talk(page).click()
        await expect(page.get_by_role("alert")).to_contain_text("This answer failed. Say it again.")
        await expect(page.get_by_role("alert")).to_contain_text("The LLM timed out.")
        await expect(page.locator("#phase")).to_have_text("Listening")


async def test_a_microphone_that_is_not_allowed_is_told(browser: Browser) -> None:
    async with (
        served(app(ScriptedServer(listen))) as port,
        opened(browser, f"http://localhost:{port}", microphone_allowed=False) as page,
    ):
        await talk(page).click()
        await expect(page.get_by_role("alert")).to_contain_text("The microphone is not allowed.")


async def test_a_microphone_that_is_taken_away_ends_the_conversation(browser: Browser) -> None:
    server = ScriptedServer(listen)
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        await talk(page).click()
        await expect(page.locator("#phase")).to_have_text("Listening")
        await page.context.clear_permissions()
        await expect(page.get_by_role("alert")).to_contain_text("The microphone was disconnected.")
        await server.sessions[0].until(lambda: server.sessions[0].closed)
        await expect(talk(page)).to_be_visible()


async def test_an_answer_that_takes_long_is_explained_until_it_comes(browser: Browser) -> None:
    explained = asyncio.Event()

    async def slow_turn(session: Session) -> None:
        await session.hear("What is two plus two?")
        await explained.wait()
        await session.answer("It is four.", hum(0.5))

    async with (
        served(app(ScriptedServer(slow_turn))) as port,
        opened(browser, f"http://localhost:{port}") as page,
    ):
        await talk(page).click()
        await expect(page.get_by_role("alert")).to_contain_text("a model is probably being started")
        explained.set()
        await expect(page.locator("#words")).to_contain_text("It is four.")
        await expect(page.get_by_role("alert")).to_be_empty()


async def test_a_machine_without_a_microphone_is_told() -> None:
    async with (
        chromium() as browser,
        served(app(ScriptedServer(listen))) as port,
        opened(browser, f"http://localhost:{port}") as page,
    ):
        await talk(page).click()
        await expect(page.get_by_role("alert")).to_contain_text("No microphone was found.")


async def test_an_insecure_page_says_where_it_can_be_opened(browser: Browser) -> None:
    async with (
        served(app(ScriptedServer(listen))) as port,
        opened(browser, f"http://page.test:{port}") as page,
    ):
        await talk(page).click()
        await expect(page.get_by_role("alert")).to_contain_text("http://localhost")
