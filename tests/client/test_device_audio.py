"""Microphone and loudspeaker over a scripted PortAudio: lost audio, underruns, devices that go away."""

import asyncio
import sys
from collections.abc import Callable

import numpy as np
import pytest

from client.audio.device_microphone import DeviceMicrophone
from client.audio.device_speaker import DeviceSpeaker
from client.audio.sound_devices import SoundDeviceLost
from conversation.audio import Samples
from shared.audio.pcm import Pcm
from tests.support.scripted_portaudio import ScriptedPortAudio

HZ = 16_000
FRAME = 512
Plug = Callable[[str], ScriptedPortAudio]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Have devices that are reached by that host API."""

    def plug(host_api: str) -> ScriptedPortAudio:
        portaudio = ScriptedPortAudio(host_api)
        monkeypatch.setitem(sys.modules, "sounddevice", portaudio)
        return portaudio

    return plug


def numbered(first: int) -> Samples:
    """A block each of whose samples tells its place."""
    return (np.arange(first, first + FRAME) / 2**20).astype(np.float32)


async def test_a_backlog_is_delivered_whole_and_lets_other_tasks_run(plug: Plug) -> None:
    portaudio = plug("ALSA")
    steps = 0

    async def run_beside() -> None:
        nonlocal steps
        while True:
            await asyncio.sleep(0)
            steps += 1

    async with DeviceMicrophone() as microphone:
        for index in range(300):
            portaudio.streams[0].record(numbered(index * FRAME))
        beside = asyncio.create_task(run_beside())
        frames = [await anext(microphone) for _ in range(300)]
        beside.cancel()
    expected = np.concatenate([numbered(index * FRAME) for index in range(300)])
    assert np.array_equal(np.concatenate([frame.samples for frame in frames]), expected)
    assert steps >= 290


async def test_what_nobody_took_is_counted_where_it_is_missing(plug: Plug) -> None:
    portaudio = plug("ALSA")
    async with DeviceMicrophone(max_waiting_s=10 * FRAME / HZ) as microphone:
        portaudio.streams[0].record(numbered(0))
        assert (await anext(microphone)).lost_samples == 0
        for index in range(1, 16):
            portaudio.streams[0].record(numbered(index * FRAME))
        after_the_gap, next_one = await anext(microphone), await anext(microphone)
        assert np.array_equal(after_the_gap.samples, numbered(6 * FRAME))
        assert (after_the_gap.lost_samples, next_one.lost_samples) == (5 * FRAME, 0)
        assert microphone.lost_samples == 5 * FRAME


async def test_what_the_device_itself_lost_is_counted_by_at_least_a_block_each_time(plug: Plug) -> None:
    portaudio = plug("ALSA")
    async with DeviceMicrophone() as microphone:
        lost = []
        for overflow in (False, True, False, True):
            portaudio.streams[0].record(numbered(0), overflow=overflow)
            lost.append((await anext(microphone)).lost_samples)
        assert lost == [0, FRAME, 0, FRAME]
        assert microphone.lost_samples == 2 * FRAME


@pytest.mark.parametrize("device", [DeviceMicrophone, DeviceSpeaker])
async def test_who_is_cancelled_while_a_device_opens_leaves_it_closed(
    device: type[DeviceMicrophone | DeviceSpeaker], plug: Plug
) -> None:
    portaudio = plug("ALSA")
    portaudio.may_open.clear()

    async def use() -> None:
        async with device():
            raise AssertionError("it was cancelled")

    using = asyncio.create_task(use())
    await asyncio.to_thread(portaudio.is_opening.wait)
    using.cancel()
    await asyncio.sleep(0)
    portaudio.may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert [stream.closed for stream in portaudio.streams] == [True]


def blocks(portaudio: ScriptedPortAudio, underflows: list[bool], size: int) -> list[Samples]:
    """What the loudspeaker takes, block by block."""
    return [portaudio.streams[0].played(size, underflow=underflow) for underflow in underflows]


LATENCY_S, BLOCK = 0.04, 160
REPLY = Pcm(np.full(HZ, 0.5, np.float32), HZ)


async def test_a_device_of_alsa_that_underran_gets_a_buffer_of_silence_and_no_audio_is_lost(
    plug: Plug,
) -> None:
    portaudio = plug("ALSA")
    async with DeviceSpeaker(sample_rate_hz=HZ, latency_s=LATENCY_S) as speaker:
        speaker.play(REPLY)
        played = blocks(portaudio, [False, True, False, True] + [False] * 5, BLOCK)
        sounds = [bool(block.any()) for block in played]
        assert sounds == [True] + [False] * 6 + [True] * 2  # four blocks are 40 ms, counted from the last
        assert speaker.underruns == 1
        [segment] = speaker.clear()
        assert segment.played_samples == 3 * BLOCK


@pytest.mark.parametrize("host_api", ["Core Audio", "Windows WASAPI"])
async def test_a_device_of_another_host_api_that_underran_plays_on(host_api: str, plug: Plug) -> None:
    portaudio = plug(host_api)
    async with DeviceSpeaker(sample_rate_hz=HZ, latency_s=LATENCY_S) as speaker:
        speaker.play(REPLY)
        played = blocks(portaudio, [False, True, False], BLOCK)
        assert all(block.any() for block in played)
        assert speaker.underruns == 1


async def test_filling_the_device_at_the_start_is_no_underrun(plug: Plug) -> None:
    portaudio = plug("ALSA")
    async with DeviceSpeaker(sample_rate_hz=HZ, latency_s=LATENCY_S) as speaker:
        speaker.play(REPLY)
        assert portaudio.streams[0].played(BLOCK, priming=True).all()
        assert speaker.underruns == 0


async def test_a_loudspeaker_that_went_away_is_noticed_though_nothing_is_being_played(plug: Plug) -> None:
    portaudio = plug("ALSA")
    async with DeviceSpeaker(sample_rate_hz=HZ) as speaker:
        speaker.check()
        portaudio.streams[0].active = False
        with pytest.raises(SoundDeviceLost, match="the output takes no more audio"):
            speaker.check()
