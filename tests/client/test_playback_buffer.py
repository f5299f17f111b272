"""The playback buffer: what is read is what was put in, whenever that was and however it is read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.sounds import Samples
from client.audio.playback_buffer import PlaybackBuffer
from conversation.audio import SegmentPlayed
from shared.audio.pcm import Pcm

HZ = 16_000
FADE = 80
"""5 ms."""

sizes = st.lists(st.integers(0, 400), max_size=12)
deeds = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 600)),
        st.tuples(st.just("read"), st.integers(0, 300)),
        st.tuples(st.sampled_from(["pause", "resume", "clear"]), st.just(0)),
    ),
    max_size=30,
)


def segment(num_samples: int, level: float = 0.5) -> Pcm:
    return Pcm(np.full(num_samples, level, np.float32), HZ)


def ramp(num_samples: int, start: int = 0) -> Pcm:
    """Every sample tells its place."""
    return Pcm((np.arange(start + 1, start + num_samples + 1) / 2**20).astype(np.float32), HZ)


def read(buffer: PlaybackBuffer, block_sizes: list[int]) -> Samples:
    return np.concatenate([buffer.read(size) for size in block_sizes] or [np.empty(0, np.float32)])


@given(segment_sizes=sizes, block_sizes=sizes)
def test_segments_come_out_gapless_and_exact_in_blocks_of_any_size(
    segment_sizes: list[int], block_sizes: list[int]
) -> None:
    buffer = PlaybackBuffer(HZ)
    for index, size in enumerate(segment_sizes):
        buffer.append(ramp(size, sum(segment_sizes[:index])))
    buffer.end_reply()
    expected = np.zeros(max(sum(segment_sizes), sum(block_sizes)), np.float32)
    expected[: sum(segment_sizes)] = ramp(sum(segment_sizes)).samples
    assert np.array_equal(read(buffer, block_sizes), expected[: sum(block_sizes)])
    assert buffer.done == (sum(block_sizes) >= sum(segment_sizes))
    assert buffer.underruns == 0


@given(segment_sizes=sizes, block_sizes=sizes)
def test_what_was_heard_is_known_of_each_segment(segment_sizes: list[int], block_sizes: list[int]) -> None:
    buffer = PlaybackBuffer(HZ)
    for size in segment_sizes:
        buffer.append(segment(size))
    read(buffer, block_sizes)
    ends = np.cumsum(segment_sizes, dtype=int)
    played = [
        int(np.clip(sum(block_sizes) - (end - size), 0, size))
        for end, size in zip(ends, segment_sizes, strict=True)
    ]
    account = tuple(SegmentPlayed(size, count) for size, count in zip(segment_sizes, played, strict=True))
    assert buffer.clear() == account
    assert buffer.clear() == ()


@given(script=deeds)
def test_whatever_is_done_each_sample_is_counted_once(script: list[tuple[str, int]]) -> None:
    buffer = PlaybackBuffer(HZ)
    appended = 0
    for deed, size in script:
        if deed == "append":
            buffer.append(segment(size))
            appended += size
        elif deed == "read":
            assert buffer.read(size).shape == (size,)
        elif deed == "clear":
            assert sum(one.num_samples for one in buffer.clear()) == appended
            appended = 0
        else:
            getattr(buffer, deed)()
    buffer.resume()
    buffer.end_reply()
    buffer.read(FADE + appended)
    assert buffer.done
    assert sum(one.played_samples for one in buffer.clear()) == appended


@given(
    script=st.lists(st.tuples(st.sampled_from(["pause", "resume"]), st.integers(0, 300)), max_size=30),
    size_of_segment=st.integers(1, 500),
)
def test_neither_pausing_nor_going_on_nor_clearing_clicks(
    script: list[tuple[str, int]], size_of_segment: int
) -> None:
    buffer = PlaybackBuffer(HZ)
    for _ in range(10_000 // size_of_segment + 1):
        buffer.append(segment(size_of_segment))
    sound = [buffer.read(1)]
    for deed, size in script:
        getattr(buffer, deed)()
        sound.append(buffer.read(size))
    buffer.clear()
    sound.append(buffer.read(2 * FADE))
    steps = np.diff(np.concatenate(sound))
    assert np.abs(steps).max() <= 0.5 / FADE + 1e-6
    assert sound[-1][-1] == 0


@settings(max_examples=30)
@given(script=deeds)
def test_the_size_of_the_blocks_makes_no_difference(script: list[tuple[str, int]]) -> None:
    whole, bit_by_bit = PlaybackBuffer(HZ), PlaybackBuffer(HZ)
    for deed, size in script:
        if deed == "read":
            assert np.array_equal(whole.read(size), read(bit_by_bit, [1] * size))
        elif deed == "append":
            whole.append(ramp(size))
            bit_by_bit.append(ramp(size))
        else:
            assert getattr(whole, deed)() == getattr(bit_by_bit, deed)()
    assert whole.underruns == bit_by_bit.underruns
    assert whole.clear() == bit_by_bit.clear()


def test_a_pause_is_silent_after_the_fade_and_loses_nothing() -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.append(ramp(1_000))
    before = buffer.read(300)
    buffer.pause()
    fading, silence = buffer.read(FADE), buffer.read(5_000)
    assert 0 < fading[0] < ramp(1, 300).samples[0]
    assert fading[-1] == 0
    assert not silence.any()
    buffer.resume()
    after = buffer.read(700)
    assert np.array_equal(before, ramp(300).samples)
    assert 0 < after[0] < ramp(1, 300).samples[0]
    assert np.array_equal(after[FADE:], ramp(700 - FADE, 300 + FADE).samples)


def test_what_fades_in_a_pause_is_not_counted_as_played() -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.append(ramp(1_000))
    buffer.read(300)
    buffer.pause()
    buffer.read(5_000)
    assert buffer.clear() == (SegmentPlayed(1_000, 300),)


def test_a_cleared_reply_fades_and_the_next_one_begins_at_full_volume() -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.append(segment(1_000))
    buffer.read(300)
    assert buffer.clear() == (SegmentPlayed(1_000, 300),)
    assert not buffer.done, "its end still fades"
    assert np.allclose(np.diff(buffer.read(FADE)), -0.5 / FADE)
    assert buffer.done
    assert not buffer.read(100).any()
    buffer.append(segment(100, 0.25))
    assert np.array_equal(buffer.read(100), segment(100, 0.25).samples)


def test_a_reply_that_is_cleared_before_it_was_played_is_never_played() -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.read(10)
    buffer.append(segment(1_000))
    assert buffer.clear() == (SegmentPlayed(1_000, 0),)
    assert not buffer.read(1_000).any()


def test_clearing_ends_a_pause() -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.append(segment(1_000))
    buffer.pause()
    buffer.clear()
    buffer.append(segment(100))
    assert buffer.read(100).all()


def test_a_segment_that_comes_too_late_is_an_underrun() -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.append(segment(100))
    assert not buffer.read(250)[100:].any()
    assert buffer.underruns == 0, "the reply may have ended"
    buffer.append(segment(100))
    assert buffer.underruns == 1


@pytest.mark.parametrize("ended", [True, False])
def test_waiting_for_the_first_segment_and_what_follows_the_last_are_no_underruns(ended: bool) -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.read(1_000)
    buffer.append(segment(100))
    buffer.read(500)
    if ended:
        buffer.end_reply()
    else:
        buffer.clear()
    buffer.read(500)
    buffer.append(segment(100))
    buffer.read(100)
    assert buffer.underruns == 0


def test_a_pause_is_no_underrun() -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.append(segment(100))
    buffer.read(100)
    buffer.pause()
    buffer.read(1_000)
    buffer.resume()
    buffer.append(segment(100))
    assert buffer.underruns == 0


def test_it_says_where_in_the_stream_a_reply_began() -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.read(400)
    assert buffer.begun_at is None
    for begins_at in (400, 600):
        buffer.append(segment(100))
        buffer.end_reply()
        buffer.read(150)
        buffer.read(50)
        assert buffer.begun_at == begins_at
    assert buffer.position == 800


def test_what_was_held_back_of_a_segment_belongs_to_it() -> None:
    buffer = PlaybackBuffer(HZ)
    buffer.append(segment(100))
    buffer.extend(np.full(20, 0.5, np.float32))
    buffer.end_reply()
    buffer.extend(np.full(20, 0.5, np.float32))  # too late
    assert buffer.read(120).all()
    assert not buffer.read(20).any()
    assert buffer.clear() == (SegmentPlayed(120, 120),)


def test_another_sample_rate_is_an_error() -> None:
    with pytest.raises(ValueError, match="16000 Hz, not 24000 Hz"):
        PlaybackBuffer(HZ).append(Pcm(np.zeros(10, np.float32), 24_000))
