"""Recordings as microphones and files as loudspeakers, on the virtual clock."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.sounds import voice
from client.audio.microphone import FileMicrophone, Microphone
from client.audio.speaker import FileSpeaker, Speaker
from client.errors import OutputNotWritten
from conversation.audio import Samples, SegmentPlayed
from shared.audio.pcm import Pcm, resample
from shared.errors import BadAudio
from shared.settings import Settings
from tests.support.sounds import likeness, sound_file
from tests.support.virtual_clock import play

HZ = 16_000


def sixteen_bit(num_samples: int, sample_rate_hz: int = HZ) -> Pcm:
    samples = np.rint(voice(num_samples, sample_rate_hz).samples * 32_768) / 32_768
    return Pcm(samples.astype(np.float32), sample_rate_hz)


def written(path: Path) -> Samples:
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == HZ
    return np.asarray(samples, np.float32)


def test_a_recording_is_heard_at_the_clocks_pace_without_drift_and_then_silence() -> None:
    said = sixteen_bit(100 * HZ)

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        heard: list[Samples] = []
        microphone: Microphone = FileMicrophone(said)
        async with microphone:
            async for frame in microphone:
                heard.append(frame.samples)
                assert loop.time() == pytest.approx(len(heard) * 0.032)
                assert frame.samples.shape == (512,)
                assert frame.samples.dtype == np.float32
                assert frame.lost_samples == 0
                await asyncio.sleep(0.01)  # what is done with it takes its time
                assert microphone.ended == (len(heard) >= 100 / 0.032)
                if loop.time() > 110:
                    break
        sound = np.concatenate(heard)
        assert np.array_equal(sound[: said.num_samples], said.samples)
        assert not sound[said.num_samples :].any()
        assert microphone.lost_samples == 0

    play(listen())


def test_who_comes_late_gets_at_once_what_is_due() -> None:
    async def listen() -> list[float]:
        loop = asyncio.get_running_loop()
        async with FileMicrophone(sixteen_bit(HZ)) as microphone:
            await asyncio.sleep(0.1)
            times = []
            for _ in range(5):
                await anext(microphone)
                times.append(loop.time())
            return times

    assert play(listen()) == pytest.approx([0.1, 0.1, 0.1, 0.128, 0.16])


def test_a_recording_of_another_rate_is_resampled(tmp_path: Path) -> None:
    original = voice(48_000, 48_000)
    (tmp_path / "said.wav").write_bytes(sound_file(original.samples, 48_000))

    async def listen() -> Samples:
        async with FileMicrophone.of(str(tmp_path / "said.wav"), Settings()) as microphone:
            return np.concatenate([(await anext(microphone)).samples for _ in range(32)])[:HZ]

    assert likeness(play(listen()), original.samples[::3]) > 0.99


def test_a_recording_may_be_longer_than_a_request(tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(sound_file(np.zeros(130 * 8_000, np.float32), 8_000))
    assert not FileMicrophone.of(str(tmp_path / "long.wav"), Settings(max_audio_s=120)).ended


def test_a_conversation_is_not_read_from_standard_input_which_would_have_to_end_first() -> None:
    with pytest.raises(BadAudio, match="name a file, or a device"):
        FileMicrophone.of("-", Settings())


def test_a_recording_that_is_not_there_is_an_error() -> None:
    with pytest.raises(BadAudio, match="no file"):
        FileMicrophone.of("nowhere.wav", Settings())


def test_everything_from_the_opening_on_is_written_each_sample_in_its_place(tmp_path: Path) -> None:
    first, second = sixteen_bit(12_345), sixteen_bit(5_000)
    played: list[Samples] = []

    async def speak() -> None:
        speaker: Speaker = FileSpeaker(tmp_path / "said.wav", sample_rate_hz=HZ, on_played=played.append)
        async with speaker:
            await asyncio.sleep(1.5)
            assert speaker.first_audio_at_s is None
            speaker.play(first)
            await asyncio.sleep(0.3)
            speaker.play(second)
            assert speaker.first_audio_at_s == pytest.approx(1.5)
            speaker.end_reply()
            await speaker.drain()
            assert asyncio.get_running_loop().time() == pytest.approx(1.5 + 17_345 / HZ, abs=0.02)
            assert speaker.underruns == 0
            assert speaker.clear() == (SegmentPlayed(12_345, 12_345), SegmentPlayed(5_000, 5_000))
            await asyncio.sleep(4 - asyncio.get_running_loop().time())

    play(speak())
    expected = np.zeros(4 * HZ, np.float32)
    expected[24_000 : 24_000 + 17_345] = np.concatenate([first.samples, second.samples])
    assert np.array_equal(written(tmp_path / "said.wav"), expected)
    assert np.array_equal(np.concatenate(played), expected)


def test_a_pause_acts_at_its_moment_and_clearing_tells_what_was_heard(tmp_path: Path) -> None:
    reply = sixteen_bit(2 * HZ)

    async def speak() -> float:
        async with FileSpeaker(tmp_path / "said.wav", sample_rate_hz=HZ) as speaker:
            speaker.play(reply)
            await asyncio.sleep(0.505)
            speaker.pause()
            await asyncio.sleep(0.5)
            speaker.resume()
            await asyncio.sleep(0.5)
            [segment] = speaker.clear()
            await asyncio.sleep(0.495)
            return segment.played_samples / HZ

    assert play(speak()) == pytest.approx(1.005)
    sound, fade = written(tmp_path / "said.wav"), 80
    assert sound.size == 2 * HZ
    assert np.array_equal(sound[:8_080], reply.samples[:8_080])
    assert not sound[8_080 + fade : 16_080].any()
    assert np.array_equal(sound[16_080 + fade : 24_080], reply.samples[8_080 + fade : 16_080])
    assert not sound[24_080 + fade :].any()


def test_a_segment_that_comes_too_late_is_an_underrun(tmp_path: Path) -> None:
    async def speak() -> int:
        async with FileSpeaker(tmp_path / "said.wav", sample_rate_hz=HZ) as speaker:
            speaker.play(sixteen_bit(HZ))
            await asyncio.sleep(1.25)
            speaker.play(sixteen_bit(HZ))
            return speaker.underruns

    assert play(speak()) == 1


def test_a_voice_of_another_rate_is_resampled_across_its_segments(tmp_path: Path) -> None:
    reply = voice(48_000, 24_000)

    async def speak() -> None:
        async with FileSpeaker(tmp_path / "said.wav", sample_rate_hz=HZ) as speaker:
            for start in range(0, 48_000, 7_000):
                speaker.play(Pcm(reply.samples[start : start + 7_000].copy(), 24_000))
            speaker.end_reply()
            await speaker.drain()
            assert sum(segment.num_samples for segment in speaker.clear()) == 2 * HZ

    play(speak())
    assert likeness(written(tmp_path / "said.wav")[0 : 2 * HZ : 2], reply.samples[::3]) > 0.99


def test_a_voice_that_changes_its_rate_within_a_reply_is_played_whole(tmp_path: Path) -> None:
    """As when another TTS model is deployed while a reply is being spoken."""
    first, second, third = voice(24_000, 24_000, 1), voice(22_050, 22_050, 2), voice(HZ, HZ, 3)

    async def speak() -> None:
        async with FileSpeaker(tmp_path / "said.wav", sample_rate_hz=HZ) as speaker:
            for pcm in (first, second, third):
                speaker.play(pcm)
            speaker.end_reply()
            await speaker.drain()
            assert speaker.underruns == 0
            assert [segment.num_samples for segment in speaker.clear()] == pytest.approx([HZ] * 3, abs=2)

    play(speak())
    sound = written(tmp_path / "said.wav")
    for index, pcm in enumerate((first, second, third)):
        part = sound[index * HZ : (index + 1) * HZ]
        assert likeness(part, resample(pcm, HZ).samples) > 0.98


def test_the_file_can_be_read_at_any_time(tmp_path: Path) -> None:
    """Whatever ends the program then: nothing is left to be done at the end."""

    async def speak() -> list[float]:
        async with FileSpeaker(tmp_path / "said.wav", sample_rate_hz=HZ) as speaker:
            speaker.play(sixteen_bit(HZ * 10))
            durations_s = []
            for _ in range(3):
                await asyncio.sleep(1.0)
                durations_s.append(soundfile.info(tmp_path / "said.wav").duration)
            return durations_s

    assert play(speak()) == pytest.approx([1.0, 2.0, 3.0], abs=0.03)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    async def speak(path: Path) -> None:
        async with FileSpeaker(path) as speaker:
            speaker.play(sixteen_bit(HZ * 10))
            speaker.end_reply()
            await speaker.drain()

    with pytest.raises(OutputNotWritten, match="no directory"):
        play(speak(tmp_path / "nowhere" / "said.wav"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "said.wav").symlink_to("/dev/full")

    async def speak() -> None:
        async with FileSpeaker(tmp_path / "said.wav") as speaker:
            speaker.play(sixteen_bit(HZ * 10))
            speaker.end_reply()
            await speaker.drain()

    with pytest.raises(OutputNotWritten, match="No space left"):
        play(speak())
