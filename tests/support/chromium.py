"""A browser without a screen, its microphone a file, its loudspeaker a list of samples."""

import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from playwright.async_api import Browser, Page, ViewportSize, async_playwright
from starlette.responses import Response
from starlette.routing import Route

from bench.sounds import Samples

_TAP = """
registerProcessor("tap", class extends AudioWorkletProcessor {
  process([[channel]]) {
    if (channel) this.port.postMessage(channel.slice());
    return true;
  }
});
"""
_INSERT_TAP = """
window.played = { pieces: [], sampleRate: 0 };
const addModule = AudioWorklet.prototype.addModule;
AudioWorklet.prototype.addModule = async function (url) {
  await addModule.call(this, "/tests/tap.js");
  return addModule.call(this, url);
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    const tap = new AudioWorkletNode(this.context, "tap");
    tap.port.onmessage = ({ data }) => window.played.pieces.push(data);
    window.played.sampleRate = this.context.sampleRate;
    connect.call(this, tap);
  }
  return connect.call(this, target, ...rest);
};
"""
_TAKE = """() => {
  const bytes = window.played.pieces.flatMap((piece) => Array.from(new Uint8Array(piece.buffer)));
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.slice(at, at + 4096));
  return [btoa(text), window.played.sampleRate];
}"""

TAP = Route(
    "/tests/tap.js", lambda _: Response(_TAP, media_type="text/javascript")
)  # the page loads scripts from its own server only


@asynccontextmanager
async def chromium(*arguments: str, microphone: Path | None = None) -> AsyncIterator[Browser]:
    """Debian's Chromium; its microphone plays the file once for each page that opens it."""
    if microphone:
        arguments = (
            *arguments,
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
        )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, *, microphone_allowed: bool = True, viewport: ViewportSize | None = None
) -> AsyncIterator[Page]:
    """A page of its own profile, whose sound is kept."""
    permissions = ["microphone"] if microphone_allowed else []
    context = await browser.new_context(permissions=permissions, viewport=viewport)
    page = await context.new_page()
    await page.add_init_script(_INSERT_TAP)
    await page.goto(url)
    yield page
    await context.close()


async def sound_played(page: Page) -> tuple[Samples, int]:
    """All that the page has played by now, and its sample rate."""
    encoded, sample_rate_hz = await page.evaluate(_TAKE)
    return np.frombuffer(base64.b64decode(encoded), np.float32), sample_rate_hz
