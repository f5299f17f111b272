"""What the page does to sound: its resampler, and its worklets, rendered faster than real time."""

import base64
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
import soxr
from playwright.async_api import Browser, Page
from starlette.applications import Starlette

from bench.sounds import Samples
from gateway import page as gateway_page
from tests.support.chromium import opened
from tests.support.noises import white_noise
from tests.support.serving import served
from tests.support.sounds import strength, tone

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("chromium"), pytest.mark.devices]

WIRE_HZ = 24_000
HZ = 48_000  # of the rendered audio
PIECE = 2_400
LOUD = 0.01
HANDLED_WITHIN_MS = 500  # a message between the page and a worklet

HELPERS = """
  const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const worklet = async (name, length, options) => {
    const context = new OfflineAudioContext(1, length, 48000);
    await context.audioWorklet.addModule(`/page/${name}-worklet.js`);
    const node = new AudioWorkletNode(context, name, options);
    node.messages = [];
    node.port.onmessage = ({ data }) => node.messages.push(data);
    return [context, node];
  };
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with (
        served(Starlette(routes=gateway_page.routes())) as port,
        opened(browser, f"http://localhost:{port}") as page,
    ):
        yield page


def encoded(samples: Samples) -> str:
    return base64.b64encode(samples.astype(np.float32).tobytes()).decode()


@pytest.mark.parametrize(
    ("from_hz", "to_hz"),
    [(48_000, WIRE_HZ), (44_100, WIRE_HZ), (16_000, WIRE_HZ), (WIRE_HZ, 44_100), (WIRE_HZ, WIRE_HZ)],
)
async def test_the_sample_rate_is_changed_as_a_good_library_does_it(
    page: Page, from_hz: int, to_hz: int
) -> None:
    signal = soxr.resample(white_noise(0.5, -20), 16_000, 8_000)  # within the passband of all of these
    samples = soxr.resample(signal, 8_000, from_hz).astype(np.float32)
    changed = await page.evaluate(
        f"""async ([text, from, to]) => {{
          {HELPERS}
          const {{ Resampler }} = await import("/page/resampler.js");
          const resampler = new Resampler(from, to);
          const samples = floats(text);
          const parts = [];
          for (let at = 0; at < samples.length; at += 1001) {{
            parts.push(...resampler.push(samples.slice(at, at + 1001)));
          }}
          return [...parts, ...resampler.flush()];
        }}""",
        [encoded(samples), from_hz, to_hz],
    )
    expected = soxr.resample(samples, from_hz, to_hz, quality="VHQ")
    assert abs(len(changed) - len(expected)) <= 1
    length = min(len(changed), len(expected))
    error = np.asarray(changed[:length], np.float32) - expected[:length]
    assert np.sqrt(np.mean(error**2)) < 1e-3 * np.sqrt(np.mean(expected**2))


async def test_the_microphone_becomes_pieces_of_40_ms_at_24_khz(page: Page) -> None:
    pieces = await page.evaluate(
        f"""async (text) => {{
          {HELPERS}
          const samples = floats(text);
          const [context, node] = await worklet("capture", samples.length, {{ numberOfOutputs: 0 }});
          const buffer = new AudioBuffer({{ length: samples.length, sampleRate: 48000 }});
          buffer.copyToChannel(samples, 0);
          const source = new AudioBufferSourceNode(context, {{ buffer }});
          source.connect(node);
          source.start();
          await context.startRendering();
          await pause({HANDLED_WITHIN_MS});
          return node.messages.map(({{ pcm, capturedAt, level }}) => [[...pcm], capturedAt, level]);
        }}""",
        encoded(tone(1_000, 1.0, HZ)),
    )
    assert [captured_at for _, captured_at, _ in pieces] == pytest.approx(np.arange(1, 26) * 0.04)
    sound = np.concatenate([pcm for pcm, _, _ in pieces]).astype(np.float32) / np.float32(32_767)
    assert {len(pcm) for pcm, _, _ in pieces[1:]} == {960}
    assert WIRE_HZ - sound.size <= 20  # what the filter has yet to see
    assert strength(sound[: WIRE_HZ // 2], 1_000, WIRE_HZ) == pytest.approx(0.5, rel=0.01)
    assert pieces[10][2] == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


async def rendered(
    page: Page, sound: Samples, *, clear_at_s: float | None = None
) -> tuple[Samples, list[dict[str, object]]]:
    """Two seconds of the playback of a sound that comes in pieces, and what the worklet says."""
    output, messages = await page.evaluate(
        f"""async ([text, clearAt]) => {{
          {HELPERS}
          const [context, node] = await worklet("playback", 96000, {{ numberOfInputs: 0 }});
          node.connect(context.destination);
          const pcm = Int16Array.from(floats(text), (sample) => Math.round(32767 * sample));
          context.suspend(0).then(async () => {{
            for (let at = 0; at < pcm.length; at += {PIECE}) {{
              const piece = pcm.slice(at, at + {PIECE});
              node.port.postMessage({{ type: "play", itemId: "one", contentIndex: 0, pcm: piece }});
            }}
            node.port.postMessage({{ type: "end", itemId: "one" }});
            await pause({HANDLED_WITHIN_MS}); // nothing says that they have been
            context.resume();
          }});
          if (clearAt !== null) {{
            context.suspend(clearAt).then(async () => {{
              node.port.postMessage({{ type: "clear" }});
              await pause({HANDLED_WITHIN_MS});
              context.resume();
            }});
          }}
          const buffer = await context.startRendering();
          await pause({HANDLED_WITHIN_MS});
          return [[...buffer.getChannelData(0)], node.messages];
        }}""",
        [encoded(sound), clear_at_s],
    )
    return np.asarray(output, np.float32), messages


def steepest(sound: Samples) -> float:
    """How steep the sound gets, as a multiple of the tone that these tests play."""
    return float(np.abs(np.diff(sound)).max() / (0.5 * 2 * np.pi * 400 / HZ))


async def test_pieces_of_an_answer_are_played_without_a_seam(page: Page) -> None:
    played, messages = await rendered(page, tone(400, 1.0, WIRE_HZ))
    loud = np.flatnonzero(np.abs(played) > LOUD)
    assert np.ptp(loud) / HZ == pytest.approx(1.0, abs=0.005)
    expected = tone(400, 1.0, HZ)
    middle = slice(HZ // 100, HZ - HZ // 100)
    assert played[:HZ][middle] == pytest.approx(expected[middle], abs=0.002)
    assert steepest(played) < 1.3
    assert [(message["type"], message["at"]) for message in messages] == [
        ("started", 0.0),
        ("finished", pytest.approx(1.0, abs=0.001)),
    ]


async def test_an_interruption_is_heard_at_once_without_a_click_and_told_to_the_sample(page: Page) -> None:
    played, messages = await rendered(page, tone(400, 1.5, WIRE_HZ), clear_at_s=0.512)
    assert np.abs(played[round(0.512 * HZ) :][HZ // 100 :]).max() < LOUD  # 10 ms later
    assert steepest(played) < 1.3
    [cleared] = [message for message in messages if message["type"] == "cleared"]
    assert cleared["at"] == pytest.approx(0.512)
    assert cleared["played"] == [{"itemId": "one", "contentIndex": 0, "playedMs": 512}]
