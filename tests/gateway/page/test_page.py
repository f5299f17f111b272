"""The page in a browser, over a server of the Realtime protocol that follows a script: a conversation."""

from statistics import median

import numpy as np
import pytest
from playwright.async_api import Browser, ViewportSize, expect

from tests.gateway.page.conftest import app, hum, listen, talk
from tests.support.chromium import opened, sound_played
from tests.support.realtime_script import Event, ScriptedServer, Session
from tests.support.serving import served

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("chromium"), pytest.mark.devices]

PHONE = ViewportSize(width=360, height=740)
INTERRUPTED_WITHIN_MS = 150
LOUD = 0.01
SHARE_THAT_IS_LOUD = 1 - 2 / np.pi * np.arcsin(LOUD / 0.5)  # of a sine of peak 0.5


async def test_a_turn_shows_both_sides_words_and_where_the_time_went(browser: Browser) -> None:
    async def one_turn(session: Session) -> None:
        await session.hear("What is two", " plus two?")
        await session.answer("It is four.", hum(0.5))

    server = ScriptedServer(one_turn)
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        await talk(page).click()
        log = page.get_by_role("log", name="Conversation")
        await expect(log.get_by_role("listitem")).to_have_text(
            ["You: What is two plus two?", "Answer: It is four."]
        )
        await expect(page.locator("#phase")).to_have_text("Listening")
        row = page.get_by_role("table").get_by_role("row").nth(1)
        turn_end, transcript, words, audio = map(int, (await row.get_by_role("cell").all_inner_texts()))
        assert 500 <= turn_end <= transcript <= words <= audio
        await expect(page.get_by_role("status")).to_have_text("Connected. Speak now.")
        assert await page.locator("#voice-to-voice").inner_text() == f"{audio} ms"


async def test_its_key_is_a_client_secret_of_two_minutes_among_the_subprotocols(browser: Browser) -> None:
    server = ScriptedServer(listen)
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        await talk(page).click()
        await expect(page.locator("#phase")).to_have_text("Listening")
    assert server.secrets_wanted[0]["expires_after"] == {"anchor": "created_at", "seconds": 120}
    assert server.subprotocols == [["realtime", "openai-insecure-api-key.ek_scripted"]]


async def test_the_microphone_is_heard_until_the_button_is_pressed_again(browser: Browser) -> None:
    server = ScriptedServer(listen)
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        await talk(page).click()
        await expect(page.locator("#phase")).to_have_text("Listening")
        session = server.sessions[0]
        await session.microphone(1)
        assert np.frombuffer(bytes(session.audio), "<i2").any()
        await page.get_by_role("button", name="Stop").click()
        await session.until(lambda: session.closed)
        await expect(page.locator("#phase")).to_have_text("Ready")


async def test_an_interruption_ends_the_sound_and_the_server_is_told_what_was_heard(browser: Browser) -> None:
    async def long_answers(session: Session) -> None:
        for _ in range(3):
            await session.hear("Tell me a story.")
            answer = await session.begin_answer()
            await answer.words("Once upon a time there was")
            await answer.sound(hum(20))
            await session.microphone(0.7)
            await session.speech_started()
            await answer.sound(hum(1))  # was on its way
            await answer.end("cancelled", type="cancelled", reason="turn_detected")

    server = ScriptedServer(long_answers)
    async with (
        served(app(server)) as port,
        opened(browser, f"http://localhost:{port}", recorded=True) as page,
    ):
        await talk(page).click()
        notes = page.locator("#waterfall small")
        await expect(notes).to_have_count(3)
        silent_after_ms = [int(note.split()[-2]) for note in await notes.all_inner_texts()]
        session = server.sessions[0]
        await session.until(lambda: len(truncations(session)) == 3)
        await session.microphone(0.3)
        played, rate_hz = await sound_played(page)
    assert median(silent_after_ms) <= INTERRUPTED_WITHIN_MS
    assert [event["item_id"] for event in truncations(session)] == ["item_2", "item_4", "item_6"]
    told_ms = sum(event["audio_end_ms"] for event in truncations(session))
    played_ms = 1000 * np.count_nonzero(np.abs(played) > LOUD) / rate_hz / SHARE_THAT_IS_LOUD
    assert told_ms > 0
    assert 0 <= played_ms - told_ms < 1_000  # the output's latency each time, and nothing that was on its way


def truncations(session: Session) -> list[Event]:
    return [event for event in session.events if event["type"] == "conversation.item.truncate"]


async def test_escape_ends_an_answer(browser: Browser) -> None:
    async def long_answer(session: Session) -> None:
        answer = await session.begin_answer()
        await answer.words("Once upon a time")
        await answer.sound(hum(20))

    server = ScriptedServer(long_answer)
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        await page.keyboard.press("Tab")
        await expect(talk(page)).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#phase")).to_have_text("Speaking")
        await page.keyboard.press("Escape")
        await server.sessions[0].event("response.cancel")
        await server.sessions[0].event("conversation.item.truncate")
        await expect(page.locator("#words")).to_contain_text("Once upon a time")


async def test_a_server_with_keys_asks_for_one_until_it_is_right(browser: Browser) -> None:
    server = ScriptedServer(listen, key="the right one")
    async with served(app(server)) as port, opened(browser, f"http://localhost:{port}") as page:
        await talk(page).click()
        await expect(page.get_by_role("alert")).to_contain_text("This server wants a key.")
        field = page.get_by_label("Key of this server")
        await expect(field).to_be_focused()
        await field.fill("a wrong one")
        await field.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("does not know this key")
        await field.fill("the right one")
        await page.get_by_role("button", name="Use this key").click()
        await expect(page.locator("#phase")).to_have_text("Listening")
        await page.reload()
        await talk(page).click()
        await expect(page.locator("#phase")).to_have_text("Listening")


async def test_everything_comes_from_the_server_and_nothing_breaks_its_policy(browser: Browser) -> None:
    async def one_turn(session: Session) -> None:
        await session.hear("Hello.")
        await session.answer("Hello.", hum(0.2))

    async with served(app(ScriptedServer(one_turn))) as port:
        origin = f"http://localhost:{port}"
        async with opened(browser, origin) as page:
            complaints, urls = [], []
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: urls.append(request.url))
            await page.reload()
            await talk(page).click()
            await expect(page.locator("#words")).to_contain_text("Answer: Hello.")
    assert complaints == []
    assert len(urls) > 5
    assert all(url.startswith(origin) for url in urls)


async def test_it_fits_a_phone_and_follows_the_systems_colours(browser: Browser) -> None:
    async def one_turn(session: Session) -> None:
        await session.hear("What is two plus two?")
        await session.answer("It is four. " * 20, hum(0.2))

    async with (
        served(app(ScriptedServer(one_turn))) as port,
        opened(browser, f"http://localhost:{port}", viewport=PHONE) as page,
    ):
        await talk(page).click()
        await expect(page.locator("#waterfall tr")).to_have_count(2)
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        colours = []
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            colours.append(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert colours[0] != colours[1]
