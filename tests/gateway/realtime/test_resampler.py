"""What clients send becomes 16 kHz: in time, without what that cannot hold, however it is cut."""

import numpy as np
import pytest

from bench.sounds import Samples
from gateway.realtime.resampler import STOPBAND_DB, LowDelayResampler

RATES_HZ = [8_000, 24_000]


def tone(frequency_hz: float, rate_hz: int, duration_s: float = 0.5) -> Samples:
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def level_db(samples: Samples) -> float:
    """Against `tone`, without its beginning and end."""
    inner = samples[1_000:-1_000]
    return float(20 * np.log10(max(1e-9, inner.std() * np.sqrt(8))))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_each_millisecond_comes_out_when_it_has_come_in(rate_hz: int) -> None:
    resampler = LowDelayResampler(rate_hz)
    for milliseconds in (1, 40, 3):
        samples = np.zeros(milliseconds * rate_hz // 1000, np.float32)
        assert resampler.resampled(samples).size == milliseconds * 16


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_it_is_at_most_two_milliseconds_late(rate_hz: int) -> None:
    click = np.zeros(rate_hz // 10, np.float32)
    click[rate_hz // 20] = 1.0
    assert np.abs(LowDelayResampler(rate_hz).resampled(click)).argmax() == pytest.approx(50 * 16 + 16, abs=16)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_however_it_is_cut_it_sounds_the_same(rate_hz: int) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, rate_hz).astype(np.float32)
    cut = LowDelayResampler(rate_hz)
    parts = np.split(noise, [1, 2, 7, 100, 101, 500, 3_000])
    assert np.allclose(
        np.concatenate([cut.resampled(part) for part in parts]),
        LowDelayResampler(rate_hz).resampled(noise),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("frequency_hz", "rate_hz"),
    [(200, 24_000), (3_000, 24_000), (6_500, 24_000), (200, 8_000), (3_200, 8_000)],
)
def test_speech_stays_as_loud_as_it_was(frequency_hz: float, rate_hz: int) -> None:
    heard = LowDelayResampler(rate_hz).resampled(tone(frequency_hz, rate_hz))
    assert level_db(heard) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("frequency_hz", [8_600, 10_000, 11_900])
def test_what_16_khz_cannot_hold_does_not_come_back_as_another_sound(frequency_hz: float) -> None:
    heard = LowDelayResampler(24_000).resampled(tone(frequency_hz, 24_000))
    assert level_db(heard) < 5 - STOPBAND_DB


def test_nothing_is_louder_than_full_scale() -> None:
    square = np.sign(tone(1_000, 24_000))
    assert np.abs(LowDelayResampler(24_000).resampled(square)).max() == 1.0
