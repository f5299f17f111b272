"""A browser without a screen, its microphone a file, its loudspeaker a list of samples."""

import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from bench.sounds import Samples

_TAP = """
const tap = URL.createObjectURL(new Blob([`
  registerProcessor("tap", class extends AudioWorkletProcessor {
    process([[channel]]) {
      if (channel) this.port.postMessage(channel.slice());
      return true;
    }
  });
`], { type: "text/javascript" }));
window.played = { pieces: [], sampleRate: 0 };
const addModule = AudioWorklet.prototype.addModule;
AudioWorklet.prototype.addModule = async function (url) {
  await addModule.call(this, tap);
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


@asynccontextmanager
async def chromium(
    *arguments: str, microphone: Path | None = None, again: bool = False
) -> AsyncIterator[Browser]:
    """Debian's Chromium; its microphone plays the file, once or again and again, to each page."""
    if microphone:
        arguments = (
            *arguments,
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}{'' if again else '%noloop'}",
        )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser,
    url: str,
    *,
    microphone_allowed: bool = True,
    viewport: ViewportSize | None = None,
    recorded: bool = False,
) -> AsyncIterator[Page]:
    """A page of its own profile. If `recorded` its sound is kept, by a script that its policy forbids."""
    permissions = ["microphone"] if microphone_allowed else []
    context = await browser.new_context(permissions=permissions, viewport=viewport, bypass_csp=recorded)
    page = await context.new_page()
    if recorded:
        await page.add_init_script(_TAP)
    await page.goto(url)
    yield page
    await context.close()


async def sound_played(page: Page) -> tuple[Samples, int]:
    """All that a recorded page has played by now, and its sample rate."""
    encoded, sample_rate_hz = await page.evaluate(_TAKE)
    return np.frombuffer(base64.b64decode(encoded), np.float32), sample_rate_hz
