import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.sounds import Samples, voice
from conversation.utterance import ENCODER_LAG_SAMPLES, UtteranceEncoder
from shared.audio.decode import decode_mp3
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm
from shared.errors import BadAudio
from tests.support.sounds import likeness

FRAME = 512


def encoder(samples: Samples, splits: list[int] | None = None, kbps: int = 64) -> UtteranceEncoder:
    """One that has been given the samples, cut at these places or into frames."""
    made = UtteranceEncoder(kbps)
    for part in np.split(samples, splits or range(FRAME, samples.size, FRAME)):
        made.write(part)
    return made


def spoken(duration_s: float, seed: int = 0) -> Samples:
    return voice(round(duration_s * 16_000), 16_000, seed).samples


def at_once(samples: Samples, kbps: int = 64) -> Samples:
    return decode_mp3(encode_mp3(Pcm(samples, 16_000), kbps)).samples


@settings(max_examples=40)
@given(st.data())
def test_however_it_is_cut_the_sound_is_that_of_the_whole_encoded_at_once(data: st.DataObject) -> None:
    samples = voice(data.draw(st.integers(1, 20_000)), 16_000, data.draw(st.integers(0, 99))).samples
    splits = sorted(data.draw(st.lists(st.integers(1, samples.size), max_size=20)))
    kbps = data.draw(st.sampled_from([8, 16, 32, 40, 64, 160]))
    audio = encoder(samples, splits, kbps).finished()
    assert (audio.sample_rate_hz, audio.num_samples) == (16_000, samples.size)
    assert np.allclose(decode_mp3(audio).samples, at_once(samples, kbps), atol=1e-6)


@settings(max_examples=15)
@given(st.data())
def test_any_beginning_can_be_taken_while_it_goes_on(data: st.DataObject) -> None:
    """Where it has come out of the encoder it is the sound of the whole; else it is encoded by itself."""
    samples = spoken(1.0, data.draw(st.integers(0, 99)))
    kbps = data.draw(st.sampled_from([8, 32, 64, 128]))
    growing = UtteranceEncoder(kbps)
    whole = at_once(samples, kbps)
    for frame in np.split(samples, range(FRAME, samples.size, FRAME)):
        growing.write(frame)
        if data.draw(st.integers(0, 4)) == 0:
            num_samples = data.draw(st.integers(1, growing.num_samples))
            audio = growing.so_far(num_samples)
            assert audio.num_samples == num_samples
            decoded, wanted = decode_mp3(audio).samples, whole[:num_samples]
            assert np.allclose(decoded, wanted, atol=1e-6) or np.allclose(
                decoded, at_once(samples[:num_samples], kbps), atol=1e-6
            )
    assert np.allclose(decode_mp3(growing.finished()).samples, whole, atol=1e-6)


@pytest.mark.parametrize("kbps", [64, 96, 160])
def test_what_is_behind_by_the_lag_has_come_out_of_the_encoder(kbps: int) -> None:
    chance = np.random.default_rng(0)
    loud = (0.2 * chance.standard_normal(16_000)).astype(np.float32).clip(-1, 1)
    samples = np.concatenate([spoken(1.0), np.zeros(8_000, np.float32), loud, np.zeros(8_000, np.float32)])
    growing, whole = UtteranceEncoder(kbps), at_once(samples, kbps)
    for end in range(FRAME, samples.size, FRAME):
        growing.write(samples[end - FRAME : end])
        if end > ENCODER_LAG_SAMPLES:
            num_samples = end - ENCODER_LAG_SAMPLES
            decoded = decode_mp3(growing.so_far(num_samples)).samples
            assert np.allclose(decoded, whole[:num_samples], atol=1e-6)


@settings(max_examples=30)
@given(st.integers(1, 16_000), st.sampled_from([8, 32, 64, 160]))
def test_a_finished_utterance_can_be_cut_to_any_length(num_samples: int, kbps: int) -> None:
    samples = spoken(1.0)
    audio = encoder(samples, kbps=kbps).finished(num_samples)
    assert audio.num_samples == num_samples
    assert np.allclose(decode_mp3(audio).samples, at_once(samples, kbps)[:num_samples], atol=1e-6)


def test_the_sound_is_what_was_said_and_not_shifted() -> None:
    samples = spoken(2.0)
    growing = encoder(samples)
    for audio in (growing.so_far(28_000), growing.finished(30_000)):
        assert likeness(decode_mp3(audio).samples, samples[: audio.num_samples]) > 0.98


def test_silence_stays_silence() -> None:
    growing = encoder(np.zeros(16_000, np.float32))
    assert np.abs(decode_mp3(growing.so_far(12_000)).samples).max() < 1e-4
    assert np.abs(decode_mp3(growing.finished()).samples).max() < 1e-4


@pytest.mark.parametrize("num_samples", [0, -1, 1_001])
def test_what_was_not_said_cannot_be_taken(num_samples: int) -> None:
    growing = encoder(spoken(1.0)[:1_000])
    for take in (growing.so_far, growing.finished):
        with pytest.raises(BadAudio, match="of an utterance of 1000"):
            take(num_samples)
    with pytest.raises(BadAudio):
        UtteranceEncoder().finished()


def test_an_utterance_that_comes_to_nothing_is_closed() -> None:
    dropped = encoder(spoken(0.5))
    dropped.close()
    dropped.close()
    with pytest.raises(RuntimeError, match="closed"):
        dropped.write(spoken(0.1))
    assert decode_mp3(dropped.finished()).num_samples == 8_000
