"""The browser of this folder's tests, and what they do with the page."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from bench.sounds import Samples
from gateway import page as gateway_page
from tests.support.chromium import chromium
from tests.support.noises import white_noise
from tests.support.realtime_script import HZ, ScriptedServer, Session
from tests.support.sounds import sound_file, tone

expect.set_options(timeout=30_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Its microphone hears noise like breath, for as long as a test takes."""
    file = tmp_path_factory.mktemp("microphone") / "noise.wav"
    file.write_bytes(sound_file(white_noise(60, -30), 16_000))
    async with chromium("--host-resolver-rules=MAP page.test 127.0.0.1", microphone=file) as browser:
        yield browser


async def listen(_: Session) -> None:
    """A session in which nobody says anything."""


def app(server: ScriptedServer) -> Any:
    """A server that has the page."""
    return server.app(*gateway_page.routes())


def talk(page: Page) -> Any:
    """The one button."""
    return page.get_by_role("button", name="Start talking")


def hum(duration_s: float) -> Samples:
    """What the answers sound like."""
    return tone(400, duration_s, HZ)
