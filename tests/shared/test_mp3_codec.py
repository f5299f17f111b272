import io
import logging
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.sounds import voice
from shared.audio.decode import (
    compress_wav_to_mp3,
    decode_audio,
    decode_mp3,
    decompress_mp3_to_wav,
    get_compression_ratio,
    to_pcm,
)
from shared.audio.mp3 import encode_mp3
from shared.audio.pcm import Pcm, encode_wav
from shared.errors import BadAudio, TooLong
from shared.payloads import Mp3Audio
from shared.settings import Settings
from tests.support.sounds import likeness, tone

MPEG_1 = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
MPEG_2 = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
LEGAL_KBPS = {
    **dict.fromkeys([8_000, 11_025, 12_000], MPEG_2[:8]),
    **dict.fromkeys([16_000, 22_050, 24_000], MPEG_2),
    **dict.fromkeys([32_000, 44_100, 48_000], MPEG_1),
}
SAMPLE_RATES_HZ = list(LEGAL_KBPS)


def frame_headers(mp3: bytes) -> Iterator[tuple[int, int]]:
    """Sample rate and bitrate (kbps) of every frame, by the tables of the MPEG standards."""
    at = 0
    while at < len(mp3):
        header = int.from_bytes(mp3[at : at + 4])
        assert header >> 21 == 0x7FF, f"no frame at byte {at} of {len(mp3)}"
        version, layer = header >> 19 & 3, header >> 17 & 3
        assert layer == 1, "not layer III"
        kbps = ([0, *MPEG_1] if version == 3 else [0, *MPEG_2])[header >> 12 & 15]
        rate_hz = [44_100, 48_000, 32_000][header >> 10 & 3] // {3: 1, 2: 2, 0: 4}[version]
        yield rate_hz, kbps
        at += (144 if version == 3 else 72) * kbps * 1000 // rate_hz + (header >> 9 & 1)


@pytest.mark.parametrize("rate_hz", SAMPLE_RATES_HZ)
def test_every_bitrate_of_a_sample_rate_is_constant_and_exact(rate_hz: int) -> None:
    pcm = voice(rate_hz // 2, rate_hz)
    for kbps in LEGAL_KBPS[rate_hz]:
        assert set(frame_headers(encode_mp3(pcm, kbps).mp3)) == {(rate_hz, kbps)}


@pytest.mark.parametrize(
    ("rate_hz", "asked_kbps", "got_kbps"),
    [
        (8_000, 320, 64),
        (16_000, 320, 160),
        (48_000, 8, 32),
        (24_000, 60, 64),
        (44_100, 70, 64),
        (16_000, 1, 8),
    ],
)
def test_a_bitrate_that_the_sample_rate_lacks_becomes_the_nearest(
    rate_hz: int, asked_kbps: int, got_kbps: int
) -> None:
    mp3 = encode_mp3(voice(rate_hz // 2, rate_hz), asked_kbps).mp3
    assert {kbps for _, kbps in frame_headers(mp3)} == {got_kbps}


@pytest.mark.parametrize(
    ("rate_hz", "mp3_rate_hz"),
    [(4_000, 8_000), (12_345, 16_000), (48_001, 48_000), (96_000, 48_000), (384_000, 48_000)],
)
def test_a_sample_rate_that_mp3_lacks_is_resampled_to_one_that_it_has(rate_hz: int, mp3_rate_hz: int) -> None:
    mp3 = encode_mp3(Pcm(tone(440, 0.4, rate_hz), rate_hz))
    assert mp3.sample_rate_hz == mp3_rate_hz
    assert likeness(decode_mp3(mp3).samples, tone(440, 0.4, mp3_rate_hz)) > 0.99


@settings(max_examples=60)
@given(st.sampled_from(SAMPLE_RATES_HZ), st.floats(0, 2), st.integers(0, 1_000))
def test_speech_comes_back_at_its_exact_length_and_alike(rate_hz: int, duration_s: float, seed: int) -> None:
    pcm = voice(1 + int(duration_s * rate_hz), rate_hz, seed)
    decoded = decode_mp3(encode_mp3(pcm))
    assert (decoded.num_samples, decoded.sample_rate_hz) == (pcm.num_samples, rate_hz)
    # Seen at least 0.97 for a few samples, 0.99 from 0.1 s on.
    assert likeness(decoded.samples, pcm.samples) > (0.98 if pcm.duration_s > 0.1 else 0.9)


@settings(max_examples=60)
@given(st.sampled_from(SAMPLE_RATES_HZ), st.integers(1, 8_000), st.integers(8, 320))
def test_the_length_is_exact_at_every_bitrate(rate_hz: int, num_samples: int, kbps: int) -> None:
    mp3 = encode_mp3(voice(num_samples, rate_hz), kbps)
    assert mp3.num_samples == num_samples
    assert decode_mp3(mp3).num_samples == num_samples


@pytest.mark.parametrize("rate_hz", SAMPLE_RATES_HZ)
def test_the_sound_is_not_shifted_whether_or_not_a_frame_has_room_for_the_info_tag(rate_hz: int) -> None:
    noise = np.random.default_rng(0).standard_normal(rate_hz // 2).astype(np.float32)
    smooth = np.convolve(noise, np.hanning(rate_hz // 1_000), "same").astype(np.float32)
    pcm = Pcm(smooth / np.abs(smooth).max() / 2, rate_hz)
    for kbps in (LEGAL_KBPS[rate_hz][0], 64):
        decoded = decode_mp3(encode_mp3(pcm, kbps))
        by_lag = np.correlate(decoded.samples, pcm.samples[1_200:-1_200], "valid")
        assert int(np.argmax(by_lag)) == 1_200


@pytest.mark.parametrize("peak", [1e-5, 1e-3, 1.0])
def test_very_quiet_and_very_loud_sound_is_encoded(peak: float) -> None:
    decoded = decode_mp3(encode_mp3(Pcm(tone(300, 1.0, peak=peak), 16_000)))
    assert np.abs(decoded.samples[1_000:-1_000]).max() == pytest.approx(peak, rel=0.2)


def test_silence_stays_silence() -> None:
    assert np.abs(decode_mp3(encode_mp3(Pcm(np.zeros(5_000, np.float32), 16_000))).samples).max() < 1e-4


def test_nothing_cannot_be_encoded() -> None:
    with pytest.raises(BadAudio, match="no samples"):
        encode_mp3(Pcm(np.empty(0, np.float32), 16_000))


@pytest.mark.parametrize(("rate_hz", "kbps"), [(24_000, 32), (44_100, 64), (48_000, 56)])
def test_long_speech_has_no_dropouts(rate_hz: int, kbps: int) -> None:
    """Read in blocks with a seek after each, 48 kHz at 56 kbps lost up to 60 ms in every 65,536 samples."""
    pcm = voice(10 * rate_hz, rate_hz)
    decoded = decode_mp3(encode_mp3(pcm, kbps))
    windows = zip(np.array_split(decoded.samples, 400), np.array_split(pcm.samples, 400), strict=True)
    assert min(likeness(window, original) for window, original in windows) > 0.9


def claiming(original: Mp3Audio, **claims: object) -> Mp3Audio:
    return Mp3Audio.model_validate({**original.model_dump(), **claims})


@pytest.mark.parametrize("kbps", [16, 64], ids=["without Info tag", "with Info tag"])
@pytest.mark.parametrize("num_samples", [1, 8_000, 12_000, 20_000, 32_000, 1_000_000])
def test_an_mp3_of_another_length_than_it_claims_is_refused(kbps: int, num_samples: int) -> None:
    mp3 = encode_mp3(voice(16_000, 16_000), kbps)
    with pytest.raises(BadAudio, match=r"is not the .* that it claims"):
        decode_mp3(claiming(mp3, num_samples=num_samples))


def test_an_mp3_of_another_sample_rate_than_it_claims_is_refused() -> None:
    with pytest.raises(BadAudio, match="at 24000 Hz that it claims"):
        decode_mp3(claiming(encode_mp3(voice(16_000, 16_000)), sample_rate_hz=24_000))


@pytest.mark.parametrize(
    "data", [b"\0", b"ID3", b"\xff\xfb", b"RIFF....WAVEfmt ", b"x" * 10_000, bytes(10_000)]
)
def test_what_is_no_mp3_is_refused(data: bytes) -> None:
    with pytest.raises(BadAudio):
        decode_mp3(Mp3Audio(mp3=data, sample_rate_hz=16_000, num_samples=1_000))


def test_a_damaged_mp3_is_refused_where_its_length_is_promised() -> None:
    mp3 = encode_mp3(voice(32_000, 16_000))
    damaged = mp3.mp3[:5_000] + bytes(3_000) + mp3.mp3[8_000:]
    with pytest.raises(BadAudio, match="damaged"):
        decode_mp3(claiming(mp3, mp3=damaged))


def test_a_claim_above_the_limit_is_too_long_whatever_the_bytes_hold() -> None:
    mp3 = encode_mp3(voice(16_000, 16_000))
    with pytest.raises(TooLong, match="longer than 120 s"):
        to_pcm(claiming(mp3, num_samples=120 * 16_000 + 1), max_audio_s=120.0)
    with pytest.raises(TooLong, match=r"longer than 0\.5 s"):
        to_pcm(mp3, max_audio_s=0.5)
    assert to_pcm(mp3, max_audio_s=1.0).num_samples == 16_000


def test_a_reply_may_be_longer_than_a_request() -> None:
    assert Settings().max_audio_s == 120
    reply = encode_mp3(Pcm(np.zeros(130 * 8_000, np.float32), 8_000))
    assert decode_mp3(reply).duration_s == 130
    assert soundfile.info(io.BytesIO(decompress_mp3_to_wav(reply.mp3))).duration == 130


def test_no_more_is_decoded_than_is_claimed() -> None:
    hour_of_frames = encode_mp3(voice(16_000, 16_000)).mp3 * 3_600
    tracemalloc.start()
    with pytest.raises(BadAudio):
        decode_mp3(Mp3Audio(mp3=hour_of_frames, sample_rate_hz=16_000, num_samples=16_000))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 * 2**20


@given(st.data())
def test_mutated_mp3_is_decoded_to_its_claimed_length_or_refused(data: st.DataObject) -> None:
    mp3 = bytearray(encode_mp3(voice(8_000, 16_000)).mp3)
    for _ in range(data.draw(st.integers(1, 5))):
        mp3[data.draw(st.integers(0, len(mp3) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode_mp3(Mp3Audio(mp3=bytes(mp3), sample_rate_hz=16_000, num_samples=8_000))
    except BadAudio:
        return
    assert decoded.num_samples == 8_000


def test_several_threads_code_at_once_and_get_what_one_gets() -> None:
    voices = [voice(12_000 + 100 * seed, SAMPLE_RATES_HZ[seed % 9], seed) for seed in range(24)]

    def there_and_back(pcm: Pcm) -> bytes:
        return decode_mp3(encode_mp3(pcm)).samples.tobytes()

    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(there_and_back, voices))
    assert at_once == [there_and_back(pcm) for pcm in voices]


def test_a_wav_becomes_an_mp3_and_a_wav_again() -> None:
    pcm = voice(24_000, 16_000)
    mp3 = compress_wav_to_mp3(encode_wav(pcm), bitrate=48)
    assert set(frame_headers(mp3)) == {(16_000, 48)}
    decoded = decode_audio(decompress_mp3_to_wav(mp3), Settings())
    assert decoded.num_samples == pcm.num_samples
    assert likeness(decoded.samples, pcm.samples) > 0.98


def test_the_default_bitrate_makes_a_16_khz_wav_four_times_smaller() -> None:
    wav = encode_wav(voice(160_000, 16_000))
    assert get_compression_ratio(wav, compress_wav_to_mp3(wav)) == pytest.approx(0.25, abs=0.01)


def test_the_ratio_is_compressed_by_original() -> None:
    assert get_compression_ratio(b"12345678", b"12") == 0.25
    with pytest.raises(BadAudio, match="empty"):
        get_compression_ratio(b"", b"12")


def test_what_is_no_audio_is_neither_compressed_nor_decompressed() -> None:
    for convert in (compress_wav_to_mp3, decompress_mp3_to_wav):
        with pytest.raises(BadAudio):
            convert(b"<html>not found</html>")


def test_a_sound_mp3_is_decoded_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for rate_hz in SAMPLE_RATES_HZ:
            decode_mp3(encode_mp3(voice(rate_hz, rate_hz)))
    assert not caplog.records
