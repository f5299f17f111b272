"""Programs that use the sound devices: each a process, as PortAudio looks for devices once a process.

    python -m tests.support.sound_programs NAME FOLDER

They say "ready" when the devices are open, and leave in the folder what they heard and told.
"""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np

from client.audio.device_microphone import DeviceMicrophone
from client.audio.device_speaker import DeviceSpeaker
from client.audio.sample_queue import Samples
from client.audio.sound_devices import SoundDeviceLost
from shared.audio.pcm import Pcm

MICROPHONE, LOUDSPEAKER = "table_mic", "Table_Loud"


async def hear(folder: Path) -> None:
    """Two microphones on one device, one of them at another rate, until the file `enough` is there."""

    async def one(name: str, sample_rate_hz: int) -> None:
        async with DeviceMicrophone(MICROPHONE, sample_rate_hz=sample_rate_hz) as microphone:
            windows = [await anext(microphone)]
            say_ready()
            while not (folder / "enough").exists():
                windows.append(await anext(microphone))
            assert all(window.shape == (512,) and window.dtype == np.float32 for window in windows)
            np.save(folder / f"{name}.npy", np.concatenate(windows))
            assert microphone.lost_samples == 0
            microphone.close()
            assert [window async for window in microphone] == []

    await asyncio.gather(one("same_rate", 16_000), one("other_rate", 48_000))


async def stall(folder: Path) -> None:
    """Nobody takes what the microphone hears for a second."""
    async with DeviceMicrophone(MICROPHONE, max_waiting_s=0.25) as microphone:
        await anext(microphone)
        heard = 0
        for _ in range(100):
            if not microphone.lost_samples:
                await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            while heard < 16_000:
                heard += (await anext(microphone)).size
        tell(folder, lost_samples=microphone.lost_samples)


async def say(folder: Path) -> None:
    """A reply in pieces that come while it is heard, and another at another rate."""
    played: list[Samples] = []
    pieces = [Pcm(np.load(folder / f"piece{index}.npy"), 16_000) for index in range(4)]
    speaker = DeviceSpeaker(LOUDSPEAKER, sample_rate_hz=16_000, latency_s=0.3, played=played.append)
    async with speaker:
        say_ready()
        for piece in pieces:
            speaker.play(piece)
            await asyncio.sleep(0.2)
        speaker.end_reply()
        await speaker.heard_out()
        speaker.play(Pcm(np.load(folder / "other_rate.npy"), 24_000))
        speaker.end_reply()
        await speaker.heard_out()
        tell(folder, underruns=speaker.underruns, xruns=speaker.xruns)
        assert [one.fraction for one in speaker.heard()] == [1.0]
    np.save(folder / "played.npy", np.concatenate(played))


async def pause(folder: Path) -> None:
    """A reply is paused in the middle, goes on, is paused again and cleared."""
    loop = asyncio.get_running_loop()
    async with DeviceSpeaker(LOUDSPEAKER, sample_rate_hz=16_000) as speaker:
        say_ready()
        speaker.play(Pcm(np.load(folder / "reply.npy"), 16_000))
        await asyncio.sleep(0.7)
        paused_at_s = loop.time()
        speaker.pause()
        assert speaker.first_sound_at_s is not None
        paused_after_s = paused_at_s - speaker.first_sound_at_s
        await asyncio.sleep(0.5)
        heard_before = speaker.heard()[0].heard_samples
        speaker.resume()
        await asyncio.sleep(0.5)
        [piece] = speaker.clear()
        await asyncio.sleep(0.5)
        tell(
            folder,
            paused_after_s=paused_after_s,
            heard_before=heard_before,
            heard_at_all=piece.heard_samples,
            xruns=speaker.xruns,
        )


async def lose(folder: Path) -> None:
    """The devices go away."""

    async def hear_on(microphone: DeviceMicrophone) -> str:
        try:
            async for _ in microphone:
                pass
        except SoundDeviceLost as error:
            return str(error)
        return "ended"

    async def say_on(speaker: DeviceSpeaker) -> str:
        try:
            while True:
                speaker.play(Pcm(np.zeros(1_600, np.float32), 16_000))
                await asyncio.sleep(0.1)
        except SoundDeviceLost as error:
            return str(error)

    async with DeviceMicrophone(MICROPHONE) as microphone, DeviceSpeaker(LOUDSPEAKER) as speaker:
        await anext(microphone)
        say_ready()
        errors = await asyncio.gather(hear_on(microphone), say_on(speaker))
        tell(folder, errors=errors)


def say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def tell(folder: Path, **figures: object) -> None:
    (folder / "told.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    asyncio.run({"hear": hear, "stall": stall, "say": say, "pause": pause, "lose": lose}[name](Path(folder)))
