"""`s2s serve` on a bare machine, and somebody who talks to its page."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from playwright.async_api import expect

from bench.sounds import Samples, example
from tests.support.chromium import chromium, opened, sound_played
from tests.support.served_gateway import served
from tests.support.sounds import sound_file

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.devices]

HZ = 16_000
ANSWERED_WITHIN_MS = 60_000
INTERRUPTED_WITHIN_MS = 150
SILENCE_MS = 500  # that ends a turn: server_vad's default


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("server")) as address:
        yield address


def microphone(folder: Path, *sounds: Samples) -> Path:
    file = folder / "microphone.wav"
    file.write_bytes(sound_file(np.concatenate(sounds), HZ))
    return file


def silence(duration_s: float) -> Samples:
    return np.zeros(round(duration_s * HZ), np.float32)


def spoken(name: str) -> Samples:
    pcm = example(name)
    assert pcm.sample_rate_hz == HZ
    return pcm.samples


async def test_a_spoken_question_is_answered_aloud(address: str, tmp_path: Path) -> None:
    question = microphone(tmp_path, silence(1), spoken("what-is-two-plus-two"), silence(120))
    async with chromium(microphone=question) as browser, opened(browser, address, recorded=True) as page:
        await page.get_by_role("button", name="Start talking").click()
        log = page.get_by_role("log", name="Conversation").get_by_role("listitem")
        await expect(log).to_have_count(2, timeout=ANSWERED_WITHIN_MS)
        await expect(page.locator("#phase")).to_have_text("Listening", timeout=ANSWERED_WITHIN_MS)
        asked, answered = await log.all_inner_texts()
        cells = page.locator("#waterfall tr").first.get_by_role("cell")
        turn_end, transcript, words, audio = map(int, await cells.all_inner_texts())
        played, rate_hz = await sound_played(page)
    assert "2 plus 2" in asked or "two plus two" in asked.lower()
    assert "four" in answered.lower()
    assert SILENCE_MS - 100 <= turn_end <= audio  # from where the server says that speech ended
    assert transcript <= words <= audio
    recognized = httpx2.post(
        f"{address}/v1/audio/transcriptions",
        files={"file": ("played.wav", sound_file(played, rate_hz))},
        data={"model": "whisper-1"},
        timeout=60,
    ).json()["text"]
    assert "four" in recognized.lower() or "4" in recognized


async def test_an_answer_ends_at_once_when_it_is_spoken_over(address: str, tmp_path: Path) -> None:
    asked_again_and_again = microphone(tmp_path, silence(1), spoken("what-can-you-do"), silence(7))
    async with (
        chromium(microphone=asked_again_and_again, again=True) as browser,
        opened(browser, address) as page,
    ):
        await page.get_by_role("button", name="Start talking").click()
        note = page.locator("#waterfall small").first
        await expect(note).to_contain_text("interrupted: silent after", timeout=ANSWERED_WITHIN_MS)
        silent_after_ms = int((await note.inner_text()).split()[-2])
    assert silent_after_ms <= INTERRUPTED_WITHIN_MS
