"""The browser of this folder's tests."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.chromium import chromium
from tests.support.noises import white_noise
from tests.support.sounds import sound_file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Its microphone hears noise like breath, for as long as a test takes."""
    file = tmp_path_factory.mktemp("microphone") / "noise.wav"
    file.write_bytes(sound_file(white_noise(60, -30), 16_000))
    async with chromium("--host-resolver-rules=MAP page.test 127.0.0.1", microphone=file) as browser:
        yield browser
