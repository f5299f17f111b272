import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sounds import voice
from shared.audio.decode import decode_audio, to_pcm
from shared.audio.pcm import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ, Pcm, encode_wav, join, resample
from shared.errors import BadAudio
from shared.settings import Settings
from tests.support.sounds import likeness, tone

ANY_LENGTH = Settings(min_audio_s=0.0)

sample_rates = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000])


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(np.zeros(10, np.float64), id="float64"),
        pytest.param(np.zeros(10, np.int16), id="int16"),
        pytest.param(np.zeros((10, 1), np.float32), id="two dimensions"),
        pytest.param(np.array([0, np.nan], np.float32), id="NaN"),
        pytest.param(np.array([0, np.inf], np.float32), id="infinity"),
        pytest.param(np.array([0, 1.001], np.float32), id="above 1"),
        pytest.param(np.array([0, -1.001], np.float32), id="below -1"),
    ],
)
def test_what_is_not_mono_float32_between_minus_1_and_1_is_no_pcm(samples: np.ndarray) -> None:
    with pytest.raises(BadAudio):
        Pcm(samples, 16_000)


@pytest.mark.parametrize("sample_rate_hz", [-1, 0, 1, MIN_SAMPLE_RATE_HZ - 1, MAX_SAMPLE_RATE_HZ + 1, 2**32])
def test_an_absurd_sample_rate_is_no_pcm(sample_rate_hz: int) -> None:
    with pytest.raises(BadAudio, match="sample rate"):
        Pcm(tone(440, 0.1), sample_rate_hz)


def test_the_extremes_are_allowed() -> None:
    assert Pcm(np.array([-1, 0, 1], np.float32), 16_000).num_samples == 3
    assert Pcm(np.empty(0, np.float32), 16_000).duration_s == 0.0


def test_samples_cannot_be_changed_afterwards() -> None:
    pcm = Pcm(tone(440, 0.1), 16_000)
    with pytest.raises(ValueError, match="read-only"):
        pcm.samples[0] = 1.0


def test_pcm_stays_in_its_process() -> None:
    with pytest.raises(TypeError, match="encode"):
        pickle.dumps(Pcm(tone(440, 0.1), 16_000))


def test_segments_are_joined_in_order_with_nothing_between_them() -> None:
    whole = voice(5_000, 16_000)
    pieces = [Pcm(part.copy(), 16_000) for part in np.split(whole.samples, [1, 700, 4_000])]
    assert np.array_equal(join(pieces).samples, whole.samples)


def test_segments_of_another_rate_are_resampled_to_that_of_the_first() -> None:
    first, second = Pcm(tone(440, 0.5), 16_000), Pcm(tone(440, 0.5, 24_000), 24_000)
    joined = join([first, second])
    assert (joined.sample_rate_hz, joined.duration_s) == (16_000, 1.0)
    assert likeness(joined.samples[8_000:], tone(440, 0.5)) > 0.999


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="no segments"):
        join([])


def test_pcm_passes_to_pcm_untouched() -> None:
    pcm = voice(100, 16_000)
    assert to_pcm(pcm) is pcm


@given(st.integers(0, 20_000), sample_rates, sample_rates)
def test_resampling_keeps_the_duration_to_a_sample(num_samples: int, rate_hz: int, new_rate_hz: int) -> None:
    resampled = resample(voice(num_samples, rate_hz), new_rate_hz)
    assert resampled.sample_rate_hz == new_rate_hz
    assert abs(resampled.num_samples - num_samples * new_rate_hz / rate_hz) <= 1


@pytest.mark.parametrize(("rate_hz", "new_rate_hz"), [(44_100, 16_000), (8_000, 48_000), (24_000, 16_000)])
def test_resampling_keeps_the_sound(rate_hz: int, new_rate_hz: int) -> None:
    resampled = resample(Pcm(tone(1_000, 1.0, rate_hz), rate_hz), new_rate_hz)
    assert likeness(resampled.samples, tone(1_000, 1.0, new_rate_hz)) > 0.9999


def test_resampling_to_a_lower_rate_removes_what_that_rate_cannot_hold() -> None:
    resampled = resample(Pcm(tone(11_000, 1.0, 48_000), 48_000), 16_000)
    assert np.abs(resampled.samples[1_000:-1_000]).max() < 1e-4


def test_resampling_to_the_same_rate_is_no_work() -> None:
    pcm = voice(100, 16_000)
    assert resample(pcm, 16_000) is pcm


def test_what_overshoots_in_resampling_is_clipped() -> None:
    square = np.sign(tone(440, 0.5, 16_000, peak=1.0))
    assert np.abs(resample(Pcm(square, 16_000), 24_000).samples).max() == 1.0


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=500), sample_rates)
def test_a_wav_brings_every_sample_back_to_within_16_bits(values: list[float], rate_hz: int) -> None:
    pcm = Pcm(np.array(values, np.float32), rate_hz)
    decoded = decode_audio(encode_wav(pcm), ANY_LENGTH)
    assert decoded.sample_rate_hz == rate_hz
    assert np.abs(decoded.samples - pcm.samples).max() <= 1 / 32_768


def test_16_bit_samples_survive_a_wav_exactly() -> None:
    every_value = np.arange(-32_768, 32_768) / 32_768
    pcm = Pcm(every_value.astype(np.float32), 48_000)
    assert np.array_equal(decode_audio(encode_wav(pcm), ANY_LENGTH).samples, pcm.samples)
