"""Programs that use the sound devices: each a process, as PortAudio looks for devices once a process.

    python -m tests.support.sound_programs NAME FOLDER

They print "ready" when the devices are open, and leave in the folder what they recorded and found out.
"""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np

from client.audio.device_microphone import DeviceMicrophone
from client.audio.device_speaker import DeviceSpeaker
from client.audio.sound_devices import SoundDeviceLost
from conversation.audio import Samples
from shared.audio.pcm import Pcm

MICROPHONE, LOUDSPEAKER = "table_mic", "Table_Loud"


async def hear(folder: Path) -> None:
    """Two microphones on one device, one of them at another rate, until the file `enough` is there."""

    async def one(name: str, sample_rate_hz: int) -> None:
        async with DeviceMicrophone(MICROPHONE, sample_rate_hz=sample_rate_hz) as microphone:
            frames = [(await anext(microphone)).samples]
            print_ready()
            while not (folder / "enough").exists():
                frames.append((await anext(microphone)).samples)
            assert all(frame.shape == (512,) and frame.dtype == np.float32 for frame in frames)
            np.save(folder / f"{name}.npy", np.concatenate(frames))
            assert microphone.lost_samples == 0

    await asyncio.gather(one("same_rate", 16_000), one("other_rate", 48_000))


async def stall(folder: Path) -> None:
    """Nobody takes what the microphone hears for a second."""
    async with DeviceMicrophone(MICROPHONE, max_waiting_s=0.25) as microphone:
        await anext(microphone)
        recorded = lost = 0
        for _ in range(100):
            if not microphone.lost_samples:
                await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            while recorded < 16_000:
                frame = await anext(microphone)
                recorded += frame.samples.size
                lost += frame.lost_samples
        report(folder, lost_samples=microphone.lost_samples, lost_before_frames=lost)


async def say(folder: Path) -> None:
    """A reply in segments that come while it is played, and another at another rate."""
    played: list[Samples] = []
    segments = [Pcm(np.load(folder / f"segment{index}.npy"), 16_000) for index in range(4)]
    speaker = DeviceSpeaker(LOUDSPEAKER, sample_rate_hz=16_000, latency_s=0.3, on_played=played.append)
    async with speaker:
        print_ready()
        for segment in segments:
            speaker.play(segment)
            await asyncio.sleep(0.2)
        speaker.end_reply()
        await speaker.drain()
        speaker.play(Pcm(np.load(folder / "other_rate.npy"), 24_000))
        speaker.end_reply()
        await speaker.drain()
        report(folder, underruns=speaker.underruns)
        [last] = speaker.clear()
        assert last.played_samples == last.num_samples
    np.save(folder / "played.npy", np.concatenate(played))


async def pause(folder: Path) -> None:
    """A reply is paused in the middle, goes on, is paused again and cleared."""
    loop = asyncio.get_running_loop()
    async with DeviceSpeaker(LOUDSPEAKER, sample_rate_hz=16_000) as speaker:
        print_ready()
        speaker.play(Pcm(np.load(folder / "reply.npy"), 16_000))
        await asyncio.sleep(0.7)
        paused_at_s = loop.time()
        speaker.pause()
        assert speaker.first_audio_at_s is not None
        paused_after_s = paused_at_s - speaker.first_audio_at_s
        await asyncio.sleep(0.5)
        speaker.resume()
        await asyncio.sleep(0.5)
        [segment] = speaker.clear()
        await asyncio.sleep(0.5)
        report(
            folder,
            paused_after_s=paused_after_s,
            played_samples=segment.played_samples,
            underruns=speaker.underruns,
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
        print_ready()
        errors = await asyncio.gather(hear_on(microphone), say_on(speaker))
        report(folder, errors=errors)


def print_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def report(folder: Path, **figures: object) -> None:
    (folder / "found.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    asyncio.run({"hear": hear, "stall": stall, "say": say, "pause": pause, "lose": lose}[name](Path(folder)))
